"""What to time on GPUs, and how rounds on a stream are timed; not yet run on several GPUs."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from kernels.all_reduce.bootstrap import BootstrapError
from kernels.all_reduce.meeting import Meeting
from kernels.all_reduce.nccl_operations import CALLS
from kernels.all_reduce.round_times import RoundTimes
from kernels.backends import BackendError

__all__ = [
    "ELEMENT_BYTES",
    "TASK_ALGORITHMS",
    "GpuTask",
    "TimedQueue",
    "largest_peer_bytes",
    "ones",
    "round_times",
    "task_elements",
]

N_WARMUP = 5
"""Rounds before those that are timed: NCCL connects ranks in the first. [1]"""
ELEMENT_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
"""Types; bfloat16 is kept in uint16, which NumPy has. [byte]"""
BF16_ONE = 0x3F80
TASK_ALGORITHMS = ("nccl", "one_shot", "two_shot", "auto")
"""NCCL or RCCL, one of our own kernels, or whatever is predicted to be the fastest."""
DEFAULT_PEER_BYTES = 2**24
"""Room for messages of our own kernels where no task asks for more. [byte]"""


class GpuTask(NamedTuple):
    """Rounds of one operation."""

    operation: str
    message_bytes: int
    """Message as nccl-tests counts it. [byte]"""
    dtype: str = "float32"
    """float16, bfloat16, float32 or float64; our own kernels have no float64."""
    n_rounds: int = 20
    algorithm: str = "nccl"
    """One of `TASK_ALGORITHMS`; others than ``nccl`` are for all-reduces within one machine."""
    rounds_per_graph: int = 0
    """Rounds in one CUDA graph, whose launch the host does not slow down: a time is then the mean
    over a graph's rounds. 0 launches each by itself, and a round shorter than its launch, some
    10 µs from Python, is timed as the launch. [1]"""


class TimedQueue(NamedTuple):
    """A stream and what is queued on it in every round."""

    cupy: Any
    stream: Any
    queue: Callable[[], None]
    rounds_per_graph: int = 0

    def times_s(self, n_rounds: int) -> Iterator[float]:
        """Time of a round on this rank, so many times, after those that warm up. [s]."""
        launch = self._captured() if self.rounds_per_graph else self.queue
        events = [self.cupy.cuda.Event() for _ in range(N_WARMUP + n_rounds + 1)]
        events[0].record(self.stream)
        for event in events[1:]:
            launch()
            event.record(self.stream)
        self.stream.synchronize()
        n_in_launch = max(1, self.rounds_per_graph)
        for before, after in itertools.islice(itertools.pairwise(events), N_WARMUP, None):
            yield self.cupy.cuda.get_elapsed_time(before, after) * 1e-3 / n_in_launch

    def _captured(self) -> Callable[[], None]:
        """Launch of a graph of several rounds."""
        if self.cupy.cuda.runtime.is_hip:
            msg = "rounds_per_graph: CuPy captures graphs with CUDA only; expected 0 with ROCm"
            raise BackendError(msg)
        self.queue()  # what is compiled or connected in the first call cannot be captured
        self.stream.synchronize()
        self.stream.begin_capture()
        for _ in range(self.rounds_per_graph):
            self.queue()
        graph = self.stream.end_capture()
        return functools.partial(graph.launch, self.stream)


def round_times(task: GpuTask, algorithm: str, timed: TimedQueue, meeting: Meeting) -> RoundTimes:
    """Time the rounds of a task, begun together; every rank gets the slowest of each round."""
    _, message_bytes = task_elements(task, meeting.n_ranks)
    meeting.barrier()
    by_rank = meeting.gather(list(timed.times_s(task.n_rounds)))
    return RoundTimes(
        operation=task.operation,
        algorithm=algorithm,
        dtype=task.dtype,
        n_ranks=meeting.n_ranks,
        message_bytes=message_bytes,
        times_s=tuple(max(times_s) for times_s in zip(*by_rank, strict=True)),
    )


def ones(cupy: Any, n_elements: int, dtype: str) -> Any:  # noqa: ANN401 -- module, its array
    """Array of ones of a task's type."""
    if dtype == "bfloat16":
        return cupy.full(n_elements, BF16_ONE, dtype="uint16")
    return cupy.ones(n_elements, dtype=dtype)


def largest_peer_bytes(tasks: Sequence[GpuTask]) -> int:
    """Largest message that our own kernels are asked for by name. [byte]."""
    named = (task.message_bytes for task in tasks if task.algorithm in ("one_shot", "two_shot"))
    return max(named, default=DEFAULT_PEER_BYTES)


def task_elements(task: GpuTask, n_ranks: int) -> tuple[int, int]:
    """Length of each rank's input, and the message that it amounts to. [1], [byte].

    Where the message is shared out, it is rounded down to equal shards, as in nccl-tests.

    Raises
    ------
    BootstrapError
        In one line, when there is no such operation, type or algorithm, or no room for a shard.
    """
    known = (("operation", CALLS), ("dtype", ELEMENT_BYTES), ("algorithm", TASK_ALGORITHMS))
    for name, choices in known:
        value = getattr(task, name)
        if value not in choices:
            msg = f"{name} {value!r} is unknown; expected {', '.join(choices)}"
            raise BootstrapError(msg)
    if task.algorithm != "nccl" and (task.operation != "all_reduce" or task.dtype == "float64"):
        msg = f"{task.operation} in {task.dtype} by {task.algorithm}; expected nccl"
        msg += ", or an all_reduce in float16, bfloat16 or float32"
        raise BootstrapError(msg)
    element_bytes = ELEMENT_BYTES[task.dtype]
    n_shards = 1 if task.operation in {"all_reduce", "point_to_point"} else n_ranks
    shard_elements = task.message_bytes // (element_bytes * n_shards)
    if shard_elements < 1 or task.n_rounds < 1 or task.rounds_per_graph < 0:
        msg = f"message_bytes={task.message_bytes}, n_rounds={task.n_rounds}"
        msg += f", rounds_per_graph={task.rounds_per_graph}"
        msg += f"; expected {element_bytes * n_shards} bytes or more, 1 and 0"
        raise BootstrapError(msg)
    n_elements = shard_elements if task.operation == "all_gather" else shard_elements * n_shards
    return n_elements, shard_elements * n_shards * element_bytes
