"""One rank: a process that waits for tasks, does them with its peers and reports its times."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from kernels.all_reduce.cpu_algorithms import ALGORITHMS, Exchange
from kernels.all_reduce.shards import output_elements
from kernels.all_reduce.shared_region import SharedRegion
from kernels.all_reduce.signals import READY, Signals

__all__ = ["Failure", "RankPlace", "Task", "serve"]

IDLE_CHECK_S = 1.0
"""How often a rank without a task looks whether its owner still lives. [s]"""


class Task(NamedTuple):
    """Rounds of one operation, which every rank does."""

    operation: str
    algorithm: str
    dtype: str
    n_elements: int
    """Length of each rank's input. [1]"""
    n_rounds: int
    n_warmup: int
    """Rounds before those that are reported. [1]"""
    fills_input: bool
    """Whether each rank makes its own input, since nobody looks at the result."""


class Failure(NamedTuple):
    """What a rank answers instead of its times."""

    message: str


class RankPlace(NamedTuple):
    """Where a rank stands among its peers."""

    rank: int
    n_ranks: int
    n_spins: int
    """Looks at a counter before the core is offered to others. [1]"""
    core: int | None
    """The only core that it may run on, or None for any."""
    owner: int
    """Process that started it. Asked for later, it could be gone already."""


def serve(place: RankPlace, region: SharedRegion, orders: Connection[Any, Any]) -> None:
    """Body of a rank's process: do tasks until None comes or the owner is gone.

    A failure is reported and ends the process at once: an exception on its way out would keep
    views of the shared memory alive, and a traceback would say nothing to the user.
    """
    # An interrupt from the keyboard reaches every process; the owner ends its ranks.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    status = 1
    try:
        _serve(place, region, orders)
        status = 0
    except Exception as error:  # noqa: BLE001, RUF100 - whatever it is, the owner has to know
        _report(orders, Failure(f"{type(error).__name__}: {error}"))
    finally:
        os._exit(status)


def _report(orders: Connection[Any, Any], failure: Failure) -> None:
    try:
        orders.send(failure)
    except OSError:
        return  # the owner is gone; nobody is left to be told


def _serve(place: RankPlace, region: SharedRegion, orders: Connection[Any, Any]) -> None:
    if place.core is not None:
        os.sched_setaffinity(0, {place.core})
    signals = Signals(
        region.counters(),
        rank=place.rank,
        n_ranks=place.n_ranks,
        n_spins=place.n_spins,
        owner=place.owner,
    )
    orders.send([])
    while True:
        # The end of a pipe does not tell that the owner died: forked peers hold it open too.
        while not orders.poll(IDLE_CHECK_S):
            if os.getppid() != place.owner:
                return
        task = orders.recv()
        if task is None:
            return
        orders.send(_perform(task, place, region, signals))


def _perform(task: Task, place: RankPlace, region: SharedRegion, signals: Signals) -> list[float]:
    """Do all rounds of a task; returns this rank's time of each. [s]."""
    exchange = _exchange(task, place, region, signals)
    if task.fills_input:
        exchange.send[place.rank].fill(1.0 + place.rank)
    algorithm = ALGORITHMS[task.operation, task.algorithm]
    # An empty round: tasks reach the ranks one after the other, the first real round must not.
    signals.begin_round()
    signals.end_round()
    times_s = []
    for _ in range(task.n_warmup + task.n_rounds):
        signals.begin_round()
        start = time.perf_counter()
        signals.publish(READY)
        algorithm(exchange)
        times_s.append(time.perf_counter() - start)
        signals.end_round()
    return times_s[task.n_warmup :]


def _exchange(task: Task, place: RankPlace, region: SharedRegion, signals: Signals) -> Exchange:
    ranks = range(place.n_ranks)
    like = (task.n_elements, task.dtype)
    lengths = [
        output_elements(task.operation, task.n_elements, rank=rank, n_ranks=place.n_ranks)
        for rank in ranks
    ]
    return Exchange(
        rank=place.rank,
        send=[region.vector("send", rank, like) for rank in ranks],
        receive=[region.vector("receive", rank, (lengths[rank], task.dtype)) for rank in ranks],
        scratch=[region.vector("scratch", rank, like) for rank in ranks],
        signals=signals,
    )
