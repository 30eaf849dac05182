"""Collectives on the host: real processes as ranks, shared memory as their wires.

    with RankGroup(4, max_bytes=2**20) as group:
        sums = group.run("all_reduce", algorithm="ring", inputs=vectors)
        times = group.time("all_reduce", algorithm="ring", message_bytes=2**20)

Rounds cost microseconds, starting a group milliseconds; so a group is made once and used often.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np

from kernels.all_reduce.cpu_algorithms import ALGORITHMS, default_algorithm
from kernels.all_reduce.rank_process import Task
from kernels.all_reduce.rank_processes import RankProcesses, safe_start_method
from kernels.all_reduce.round_times import RoundTimes
from kernels.all_reduce.shards import output_elements
from kernels.all_reduce.shared_region import RankError, SharedRegion, Vector

__all__ = ["RankError", "RankGroup", "RoundTimes"]

DTYPES = ("float32", "float64")
N_WARMUP = 3
"""Rounds before those that are timed: the first ones touch new pages. [1]"""


class RankGroup:
    """Ranks on this host that do collectives; a context manager.

    Parameters
    ----------
    n_ranks
        Processes, at least 1; more than cores works and measures the scheduler. [1]
    max_bytes
        Largest message, as nccl-tests counts it. [byte]
    time_limit_s
        How long the ranks may stand still before the group is given up. [s]
    start_method
        ``fork`` or ``spawn``; by default what is safe here. ``spawn`` imports the caller's main
        module in each rank, so that a script needs the usual guard.
    """

    def __init__(
        self,
        n_ranks: int,
        *,
        max_bytes: int,
        time_limit_s: float = 30.0,
        start_method: str | None = None,
    ) -> None:
        if n_ranks < 1 or max_bytes < 0 or time_limit_s <= 0:
            msg = f"n_ranks={n_ranks}, max_bytes={max_bytes}, time_limit_s={time_limit_s}"
            msg += "; expected at least 1, 0 and a time above 0"
            raise RankError(msg)
        self.n_ranks = n_ranks
        self.max_bytes = max_bytes
        self._time_limit_s = time_limit_s
        self._start_method = start_method
        self._region: SharedRegion | None = None
        self._processes: RankProcesses | None = None

    def __enter__(self) -> Self:
        region = SharedRegion.create(n_ranks=self.n_ranks, max_bytes=self.max_bytes)
        self._region = region
        try:
            self._processes = RankProcesses(
                region,
                start_method=self._start_method or safe_start_method(),
                time_limit_s=self._time_limit_s,
            )
            self._processes.start()
        except BaseException:
            self._close(politely=False)
            raise
        finally:
            # Every rank has it mapped now, or never will: from here on nothing can be left over,
            # not even if this process is killed.
            region.memory.unlink()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close(politely=kind is None)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process numbers by rank; none once the group is closed."""
        return self._processes.pids if self._processes is not None else ()

    def run(
        self, operation: str, *, inputs: Sequence[Vector], algorithm: str | None = None
    ) -> list[Vector]:
        """Do an operation once on given data.

        Parameters
        ----------
        operation
            As in `collective_reference`, which also says what comes out.
        inputs
            Vector of each rank: float32 or float64, all of one length and type.
        algorithm
            ``ring`` or ``tree`` for an all-reduce; other operations have one.

        Returns
        -------
        list
            Vector of each rank, in the type of the inputs and summed in it.

        Raises
        ------
        RankError
            For what the group cannot do, and when a rank fails; the group is closed then.
        """
        region, processes = self._open()
        dtype, n_elements = self._common(inputs)
        task = self._task(operation, algorithm, dtype=dtype, n_elements=n_elements)
        lengths = [
            output_elements(operation, n_elements, rank=rank, n_ranks=self.n_ranks)
            for rank in range(self.n_ranks)
        ]
        self._require_room(max(n_elements, *lengths), dtype)
        for rank, vector in enumerate(inputs):
            region.vector("send", rank, (n_elements, dtype))[:] = vector
            # What no rank writes must not pass for a result.
            region.vector("receive", rank, (lengths[rank], dtype)).fill(np.nan)
            region.vector("scratch", rank, (n_elements, dtype)).fill(np.nan)
        self._give(processes, task)
        return [
            region.vector("receive", rank, (lengths[rank], dtype)).copy()
            for rank in range(self.n_ranks)
        ]

    def time(
        self,
        operation: str,
        *,
        message_bytes: int,
        algorithm: str | None = None,
        dtype: str = "float32",
        n_rounds: int = 20,
    ) -> RoundTimes:
        """Time an operation out of place, round by round, each begun by all ranks together.

        Parameters
        ----------
        operation
            A key of `kernels.all_reduce.groups.PATTERNS`.
        message_bytes
            Message as nccl-tests counts it, at least one element (of each rank, for an
            all-gather). [byte]
        algorithm
            ``ring`` or ``tree`` for an all-reduce; other operations have one.
        dtype
            ``float32`` or ``float64``.
        n_rounds
            Rounds to time, after some that are not. [1]

        Returns
        -------
        RoundTimes
            Slowest rank of each round.

        Raises
        ------
        RankError
            For what the group cannot do, and when a rank fails; the group is closed then.
        """
        _, processes = self._open()
        self._require_dtype(dtype)
        # Only an all-gather's message is not what one rank puts in: it is what comes out.
        n_inputs = self.n_ranks if operation == "all_gather" else 1
        element_bytes = np.dtype(dtype).itemsize
        n_elements = message_bytes // (element_bytes * n_inputs)
        if n_elements < 1 or n_rounds < 1:
            msg = f"message_bytes={message_bytes}, n_rounds={n_rounds}"
            msg += f"; expected {element_bytes * n_inputs} bytes or more, and 1"
            raise RankError(msg)
        task = self._task(operation, algorithm, dtype=dtype, n_elements=n_elements)
        self._require_room(n_elements * n_inputs, dtype)
        timed = task._replace(n_rounds=n_rounds, n_warmup=N_WARMUP, fills_input=True)
        by_rank = self._give(processes, timed)
        return RoundTimes(
            operation=operation,
            algorithm=task.algorithm,
            dtype=dtype,
            n_ranks=self.n_ranks,
            message_bytes=n_elements * n_inputs * element_bytes,
            times_s=tuple(max(times_s) for times_s in zip(*by_rank, strict=True)),
        )

    def _give(self, processes: RankProcesses, task: Task) -> list[list[float]]:
        """A group in which something went wrong is closed: its counters no longer agree."""
        try:
            return processes.give(task)
        except BaseException:
            self._close(politely=False)
            raise

    def _task(self, operation: str, algorithm: str | None, *, dtype: str, n_elements: int) -> Task:
        chosen = default_algorithm(operation) if algorithm is None else algorithm
        if (operation, chosen) not in ALGORITHMS:
            known = ", ".join(f"{name} by {how}" for name, how in ALGORITHMS)
            msg = f"operation {operation!r} by algorithm {algorithm!r} is unknown; expected {known}"
            raise RankError(msg)
        return Task(operation, chosen, dtype, n_elements, n_rounds=1, n_warmup=0, fills_input=False)

    def _common(self, inputs: Sequence[Vector]) -> tuple[str, int]:
        kinds = {(str(vector.dtype), vector.shape) for vector in inputs}
        if len(inputs) != self.n_ranks or len(kinds) != 1 or inputs[0].ndim != 1:
            shown = ", ".join(f"{dtype}{list(shape)}" for dtype, shape in sorted(kinds))
            msg = f"{len(inputs)} inputs of {shown or 'nothing'}"
            msg += f"; expected {self.n_ranks} vectors of one type and length"
            raise RankError(msg)
        self._require_dtype(str(inputs[0].dtype))
        return str(inputs[0].dtype), len(inputs[0])

    def _require_dtype(self, dtype: str) -> None:
        if dtype not in DTYPES:
            msg = f"dtype {dtype!r} is not summed here; expected {' or '.join(DTYPES)}"
            raise RankError(msg)

    def _require_room(self, n_elements: int, dtype: str) -> None:
        region, _ = self._open()
        if not region.holds(n_elements, dtype):
            msg = f"{n_elements} elements of {dtype} do not fit into max_bytes={self.max_bytes}"
            raise RankError(msg)

    def _open(self) -> tuple[SharedRegion, RankProcesses]:
        if self._region is None or self._processes is None:
            msg = "this group of ranks is not open; use it inside `with RankGroup(…) as group`"
            raise RankError(msg)
        return self._region, self._processes

    def _close(self, *, politely: bool) -> None:
        """End the ranks first: they would write into memory that is given back."""
        processes, self._processes = self._processes, None
        if processes is not None:
            processes.end(politely=politely)
        region, self._region = self._region, None
        if region is not None:
            region.memory.close()
