"""One process per GPU of this machine: started together, ended together."""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from hardware_profiles.errors import TweelingError
from kernels.all_reduce.bootstrap import LOOPBACK, BootstrapError, World

__all__ = ["RankBody", "run_local_ranks"]

RankBody = Callable[[World, socket.socket | None], Any]
"""What each rank does; it gets its place, and on rank 0 the socket that listens there. It is
handed to a new process, so it has to be a function of a module or a partial of one."""


def run_local_ranks(n_ranks: int, body: RankBody, *, time_limit_s: float = 600.0) -> list[Any]:
    """Run a body once per rank in processes of their own, introduced over loopback.

    Processes are spawned, because a forked one cannot use a GPU of which its parent has a context.

    Parameters
    ----------
    n_ranks
        Processes, at least 1. [1]
    body
        What each does.
    time_limit_s
        Time until all must be done. [s]

    Returns
    -------
    list
        What the body returned, by rank.

    Raises
    ------
    BootstrapError
        In one line, when a rank fails, dies or is not done in time; all are ended then.
    """
    context = multiprocessing.get_context("spawn")
    processes: list[SpawnProcess] = []
    answers: list[Connection[Any, Any]] = []
    # The system chooses a free port, and nobody can take it before rank 0 does.
    with socket.create_server((LOOPBACK, 0), backlog=n_ranks) as listener:
        port = listener.getsockname()[1]
        try:
            for rank in range(n_ranks):
                world = World(rank=rank, n_ranks=n_ranks, port=port)
                ours, theirs = context.Pipe(duplex=False)
                answers.append(ours)
                process = context.Process(
                    target=_work,
                    args=(body, world, listener if rank == 0 else None, theirs),
                    daemon=True,
                )
                process.start()
                processes.append(process)
                theirs.close()
            return _collect(answers, time_limit_s=time_limit_s)
        finally:
            for process in processes:
                process.kill()
                process.join()
                process.close()
            for connection in answers:
                connection.close()


def _work(
    body: RankBody, world: World, listener: socket.socket | None, answer: Connection[Any, Any]
) -> None:
    # At the edge of a process: whatever fails becomes one line in the owner.
    with contextlib.suppress(OSError, KeyboardInterrupt):
        try:
            answer.send((True, body(world, listener)))
        except TweelingError as error:
            answer.send((False, str(error)))
        except Exception as error:  # noqa: BLE001, RUF100 - the owner has to know
            answer.send((False, f"{type(error).__name__}: {error}"))


def _collect(answers: list[Connection[Any, Any]], *, time_limit_s: float) -> list[Any]:
    results: dict[int, Any] = {}
    deadline_s = time.monotonic() + time_limit_s
    while len(results) < len(answers):
        waiting = {answers[rank]: rank for rank in range(len(answers)) if rank not in results}
        ready = wait(list(waiting), timeout=max(0.0, deadline_s - time.monotonic()))
        if not ready:
            late = ", ".join(map(str, sorted(waiting.values())))
            msg = f"not done within {time_limit_s:g} s: rank {late} of {len(answers)}"
            raise BootstrapError(msg)
        for connection in ready:
            if isinstance(connection, Connection):
                rank = waiting[connection]
                results[rank] = _result(connection, rank, len(answers))
    return [results[rank] for rank in sorted(results)]


def _result(connection: Connection[Any, Any], rank: int, n_ranks: int) -> Any:  # noqa: ANN401
    try:
        is_done, result = connection.recv()
    except (EOFError, OSError):
        is_done, result = False, "its process ended without a word"
    if not is_done:
        msg = f"rank {rank} of {n_ranks}: {result}"
        raise BootstrapError(msg)
    return result
