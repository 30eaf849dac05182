"""Starting, watching and ending the processes of a group of ranks."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from kernels.all_reduce.rank_process import Failure, RankPlace, Task, serve
from kernels.all_reduce.shared_region import RankError, SharedRegion
from kernels.all_reduce.signals import SPINS, furthest_step

__all__ = ["RankProcesses", "safe_start_method"]

LOOK_S = 0.1
"""How often the watch looks whether the ranks advance. [s]"""
START_LIMIT_S = 60.0
"""Time that ranks get to start: spawned ones import NumPy, on a busy machine. [s]"""
FAREWELL_S = 2.0
"""Time that ranks get to end by themselves. [s]"""


def safe_start_method() -> str:
    """``fork`` where that is safe and quick, else ``spawn``.

    Four ranks on two busy cores were ready after 0.1 s when forked and after 5 s when spawned:
    a fork inherits NumPy, a spawned rank imports it again.
    But a fork copies the locks that other threads hold at that moment and not the threads, so
    that it is only for a process with a single Python thread, and for Linux, where the system's
    own libraries survive it.
    """
    is_safe = sys.platform == "linux" and threading.active_count() == 1
    return "fork" if is_safe else "spawn"


class RankProcesses:
    """The processes of one group; whatever goes wrong, `end` leaves none of them behind."""

    def __init__(self, region: SharedRegion, *, start_method: str, time_limit_s: float) -> None:
        self._region = region
        self._counters = region.counters()
        self._time_limit_s = time_limit_s
        self._processes: list[BaseProcess] = []
        self._orders: list[Connection[Any, Any]] = []
        self._start_method = start_method

    @property
    def pids(self) -> tuple[int, ...]:
        """Process numbers by rank."""
        return tuple(process.pid or 0 for process in self._processes)

    def start(self) -> None:
        """Start all ranks and wait until each has the shared memory."""
        context = multiprocessing.get_context(self._start_method)
        n_ranks = self._region.n_ranks
        cores = _cores_of_their_own(n_ranks)
        # Who shares a core gains nothing by looking at a counter that cannot move meanwhile.
        n_spins = SPINS if cores[0] is not None else 1
        with _interrupts_blocked(), _fork_warning_ignored():
            for rank in range(n_ranks):
                ours, theirs = context.Pipe()
                place = RankPlace(rank, n_ranks, n_spins, cores[rank], owner=os.getpid())
                process = context.Process(  # type: ignore[attr-defined]
                    target=serve,
                    args=(place, self._region, theirs),
                    name=f"rank {rank} of {n_ranks}",
                    daemon=True,
                )
                self._orders.append(ours)
                process.start()
                self._processes.append(process)
                theirs.close()
        self._answers("the start", limit_s=START_LIMIT_S)

    def give(self, task: Task) -> list[list[float]]:
        """Let all ranks do a task; returns each rank's time of each round. [s]."""
        for rank in range(len(self._orders)):
            if not self._tell(rank, task):
                raise RankError(self._how_it_ended(rank, task.operation))
        return self._answers(task.operation, limit_s=self._time_limit_s)

    def _answers(self, what: str, *, limit_s: float) -> list[Any]:
        """Wait for an answer of every rank, while they advance.

        Raises
        ------
        RankError
            In one line, when a rank ends, fails or stands still for too long.
        """
        answers: dict[int, object] = {}
        progress = self._progress()
        moved_at_s = time.monotonic()
        while len(answers) < len(self._orders):
            self._collect(answers, what)
            now_s = time.monotonic()
            if (latest := self._progress()) != progress:
                progress, moved_at_s = latest, now_s
            elif now_s - moved_at_s > limit_s:
                raise RankError(self._who_stands_still(answers, progress, what, limit_s))
        return [answers[rank] for rank in sorted(answers)]

    def end(self, *, politely: bool) -> None:
        """End all ranks; `politely` lets idle ones leave by themselves."""
        if politely:
            for rank in range(len(self._orders)):
                self._tell(rank, None)
            for process in self._processes:
                process.join(FAREWELL_S)
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
            process.close()
        for orders in self._orders:
            orders.close()
        self._processes.clear()
        self._orders.clear()
        self._counters.release()

    def _tell(self, rank: int, order: Task | None) -> bool:
        """Send an order; False when the rank is gone.

        The error of the pipe is not passed on as the cause of another: it would keep the message
        alive until a collection of garbage that frees its parts in the wrong order (Python 3.13).
        """
        try:
            self._orders[rank].send(order)
        except OSError:
            return False
        return True

    def _collect(self, answers: dict[int, object], what: str) -> None:
        """Take what has come within a short wait."""
        missing = [rank for rank in range(len(self._orders)) if rank not in answers]
        sources = {self._orders[rank]: rank for rank in missing}
        ends = {self._processes[rank].sentinel: rank for rank in missing}
        ready = wait([*sources, *ends], timeout=LOOK_S)
        for source in ready:
            if isinstance(source, Connection):
                self._take(sources[source], answers, what)
        for source in ready:
            if isinstance(source, int) and ends[source] not in answers:
                raise RankError(self._how_it_ended(ends[source], what))

    def _take(self, rank: int, answers: dict[int, object], what: str) -> None:
        answer = None
        with contextlib.suppress(EOFError, OSError):
            answer = self._orders[rank].recv()
        if answer is None:
            raise RankError(self._how_it_ended(rank, what))
        if isinstance(answer, Failure):
            msg = f"rank {rank} of {len(self._orders)} failed during {what}: {answer.message}"
            raise RankError(msg)
        answers[rank] = answer

    def _progress(self) -> list[int]:
        n_ranks = self._region.n_ranks
        return [furthest_step(self._counters, rank, n_ranks) for rank in range(n_ranks)]

    def _how_it_ended(self, rank: int, what: str) -> str:
        process = self._processes[rank]
        process.join(FAREWELL_S)
        code = process.exitcode
        how = (
            f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"with {code}"
        )
        return f"rank {rank} of {len(self._orders)} ended {how} during {what}; the group is closed"

    def _who_stands_still(
        self, answers: dict[int, object], progress: list[int], what: str, limit_s: float
    ) -> str:
        missing = [rank for rank in range(len(progress)) if rank not in answers]
        last = min(missing, key=lambda rank: progress[rank])
        who = f"rank {last} of {len(self._orders)}"
        return f"{who} stands still during {what} for {limit_s:g} s; the group is closed"


def _cores_of_their_own(n_ranks: int) -> list[int | None]:
    """One core for each rank, where there are enough and the system can bind processes.

    Left alone, the scheduler may keep two ranks on one core for seconds while the other is busy
    with something else; an all-reduce of 1 KiB then took 50 µs instead of 10.
    """
    if not hasattr(os, "sched_setaffinity"):
        return [None] * n_ranks
    cores = sorted(os.sched_getaffinity(0))
    return [*cores[:n_ranks]] if len(cores) >= n_ranks else [None] * n_ranks


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Hold back an interrupt from the keyboard until each new process ignores it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _fork_warning_ignored() -> Iterator[None]:
    """Python 3.12 warns of threads in C libraries too; those of a BLAS take care of forks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
        yield
