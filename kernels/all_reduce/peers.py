"""All-reduce by our own kernels, in which every rank reads its peers' memory.

One process per GPU, 2 to 8 on one machine::

    with Rendezvous(world, lambda: b"") as meeting, PeerRank(meeting, device_index=rank) as peers:
        total = peers.all_reduce(gradient)

Calls queue on CuPy's current stream and need no word between hosts. All ranks make the same calls
in the same order, of one length, type and algorithm; calls of one `PeerRank` go to one stream.
Results are the same on all ranks to the last bit. It has not run on a GPU; tests run the very
kernels on the host.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np

from kernels.all_reduce.gpu_tasks import GpuTask, TimedQueue, ones, round_times, task_elements
from kernels.all_reduce.meeting import Meeting
from kernels.all_reduce.peer_arguments import (
    CHUNK_BYTES,
    PeerCall,
    PeerTables,
    n_blocks_for,
    packed_call,
)
from kernels.all_reduce.peer_limits import limits_of_device
from kernels.all_reduce.peer_memory import PeerMemory, require_peer_access
from kernels.all_reduce.peer_model import PeerLimits
from kernels.all_reduce.round_times import RoundTimes
from kernels.all_reduce.sources import MOST_BLOCKS, MOST_RANKS, PEER_SOURCE, peer_entry_name
from kernels.backends import BackendError
from kernels.gpu.cupy_module import require_cupy
from kernels.gpu.launch import by_value, function_of

__all__ = ["ALGORITHMS", "PeerOptions", "PeerRank", "time_peers"]

Array = Any
"""CuPy's array."""

ALGORITHMS = ("one_shot", "two_shot")
DTYPES = {"float32": "fp32", "float16": "fp16", "uint16": "bf16", "bfloat16": "bf16"}
SIGNALS_BYTES = MOST_BLOCKS * MOST_RANKS * 8
"""One signal for each block and rank that may signal. [byte]"""
COUNTS_BYTES = MOST_BLOCKS * 8


class PeerOptions(NamedTuple):
    """What a user may choose; the same on all ranks."""

    most_bytes: int = 2**24
    """Largest message; there is room for three of them, or nearly, on every rank. [byte]"""
    limits: PeerLimits | None = None
    """Messages up to which each algorithm is taken; None: from the device's profile."""
    most_blocks: int = MOST_BLOCKS
    """Blocks of a call at most; what else runs on the device meanwhile has the others. [1]"""
    most_looks: int = 2**31
    """Looks at a signal before its rank counts as lost; 2**31 of them are a matter of tens of
    minutes at a microsecond or less each, which nobody has timed. [1]"""


class PeerRank:
    """One rank on one GPU; a context manager.

    Parameters
    ----------
    meeting
        How the ranks reach each other outside; all come here together.
    device_index
        This rank's device.
    options
        What may be chosen.

    Raises
    ------
    BackendError
        In one line, when CuPy or a GPU is missing, or ranks cannot read each other's memory.
    """

    def __init__(
        self, meeting: Meeting, *, device_index: int, options: PeerOptions | None = None
    ) -> None:
        self._options = options or PeerOptions()
        _require_options(meeting.n_ranks, self._options)
        self._meeting = meeting
        self._cupy = require_cupy()
        self._cupy.cuda.Device(device_index).use()
        require_peer_access(self._cupy, meeting, device_index)
        self._most_blocks, self.limits = self._agreed(device_index)
        self._shared: dict[int, PeerMemory] = {}
        self._allocate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close(is_orderly=kind is None)

    def close(self, *, is_orderly: bool = True) -> None:
        """Give all memory back; all ranks come here together unless something went wrong."""
        for memory in (*self._shared.values(), self._memory):
            memory.close(is_orderly=is_orderly)
        self._shared.clear()

    def all_reduce(self, x: Array, out: Array | None = None, *, algorithm: str = "auto") -> Array:
        """Queue one all-reduce on the current stream; every rank calls it.

        Parameters
        ----------
        x
            Contiguous array, float32, float16, or bfloat16 kept in uint16; sums are float32.
            Where it begins a `shared_array`, on every rank, it is not copied first.
        out
            Where the sum goes, the array itself among others; None makes a new one.
        algorithm
            ``one_shot`` or ``two_shot``; ``auto`` chooses by `limits`.

        Returns
        -------
        cupy.ndarray
            The sum, once the stream has come to it.

        Raises
        ------
        BackendError
            When a rank was lost in an earlier call, or the message has no place here.
        """
        self.check()
        out = self._cupy.empty_like(x) if out is None else out
        _require_arrays(x, out)
        if x.size == 0:
            return out
        chosen = self.algorithm_for(x.nbytes) if algorithm == "auto" else algorithm
        self._require_place(chosen, x.nbytes)
        is_in_place = x.data.ptr == out.data.ptr
        # In place, one shot would write over what others still read.
        is_direct = x.data.ptr in self._shared and not (is_in_place and chosen == "one_shot")
        call = PeerCall(
            algorithm=chosen,
            input_address=x.data.ptr,
            out_address=out.data.ptr,
            n_elements=x.size,
            direct_inputs=self._shared[x.data.ptr].addresses if is_direct else (),
            most_looks=self._options.most_looks,
        )
        self._launch(call, DTYPES[str(x.dtype)], x.nbytes)
        return out

    def algorithm_for(self, message_bytes: int) -> str:
        """What ``auto`` takes: ``one_shot``, ``two_shot`` or, beyond both, ``vendor``."""
        return self.limits.algorithm(message_bytes)

    def shared_array(self, n_elements: int, dtype: str) -> Array:
        """Array of zeros that peers read in place; all ranks make theirs together.

        All-reduces of the whole of it, or of what begins where it does, are not copied first.
        """
        n_bytes = n_elements * np.dtype(dtype).itemsize
        memory = PeerMemory(self._cupy, self._meeting, max(CHUNK_BYTES, _whole_chunks(n_bytes)))
        address = memory.addresses[self._meeting.rank]
        self._shared[address] = memory
        held = self._cupy.cuda.UnownedMemory(address, memory.n_bytes, memory)
        pointer = self._cupy.cuda.MemoryPointer(held, 0)
        return self._cupy.ndarray((n_elements,), dtype=dtype, memptr=pointer)

    def check(self) -> None:
        """Refuse to go on after a rank was lost; what has been queued is not waited for.

        Raises
        ------
        BackendError
            In one line, with the rank that did not come. Results since then are worthless.
        """
        lost = int(self._lost[0])
        if lost:
            msg = f"rank {lost - 1} of {self._meeting.n_ranks} did not come to an all-reduce"
            msg += f" within {self._options.most_looks} looks; results since then are worthless"
            raise BackendError(msg)

    def _agreed(self, device_index: int) -> tuple[int, PeerLimits]:
        """Blocks at most, and limits, the same on every rank or they would wait for each other."""
        cupy, meeting, options = self._cupy, self._meeting, self._options
        limits = options.limits or limits_of_device(
            _device_name(cupy, device_index), meeting.n_ranks, most_bytes=options.most_bytes
        )
        units = float(cupy.cuda.Device(device_index).attributes["MultiProcessorCount"])
        own = [float(options.most_bytes), float(options.most_blocks), units, *limits]
        by_rank = meeting.gather(own)
        rooms = {(found[0], found[1]) for found in by_rank}
        if len(rooms) > 1:
            msg = f"most_bytes and most_blocks differ between ranks: {sorted(rooms)}"
            raise BackendError(msg)
        # All blocks of a call must run at once on the smallest device.
        least_units = min(found[2] for found in by_rank)
        return int(min(options.most_blocks, least_units)), PeerLimits(*by_rank[0][3:])

    def _allocate(self) -> None:
        n_ranks = self._meeting.n_ranks
        inputs_bytes = _whole_chunks(self._options.most_bytes)
        shards_bytes = -(-inputs_bytes // CHUNK_BYTES // n_ranks) * CHUNK_BYTES
        start = SIGNALS_BYTES + COUNTS_BYTES
        shards_start = start + 2 * inputs_bytes
        self._memory = PeerMemory(self._cupy, self._meeting, shards_start + 2 * shards_bytes)
        # In the host's memory, so that it can look without waiting for the device.
        self._pinned = self._cupy.cuda.alloc_pinned_memory(8)
        self._lost = np.frombuffer(self._pinned, dtype=np.uint64, count=1)
        self._lost[0] = 0
        addresses = self._memory.addresses
        self._tables = PeerTables(
            rank=self._meeting.rank,
            inputs=tuple(address + start for address in addresses),
            shards=tuple(address + shards_start for address in addresses),
            signals=addresses,
            calls=addresses[self._meeting.rank] + SIGNALS_BYTES,
            lost=self._pinned.ptr,
            inputs_half_bytes=inputs_bytes,
            shards_half_bytes=shards_bytes,
        )

    def _require_place(self, algorithm: str, message_bytes: int) -> None:
        if algorithm not in (*ALGORITHMS, "vendor"):
            msg = f"algorithm {algorithm!r} is unknown; expected auto, {', '.join(ALGORITHMS)}"
            raise ValueError(msg)
        if algorithm == "vendor" or message_bytes > self._options.most_bytes:
            most_bytes = min(self._options.most_bytes, self.limits.peer_bytes)
            msg = f"message of {message_bytes} bytes; our own kernels take up to {most_bytes:.0f}"
            msg += " here: name an algorithm, or take NCCL or RCCL"
            raise BackendError(msg)

    def _launch(self, call: PeerCall, dtype: str, message_bytes: int) -> None:
        n_ranks = self._meeting.n_ranks
        entry = PEER_SOURCE.entry(peer_entry_name(call.algorithm, dtype, n_ranks))
        function = function_of(self._cupy, PEER_SOURCE, entry)
        n_blocks = n_blocks_for(
            call.algorithm,
            message_bytes=message_bytes,
            n_ranks=n_ranks,
            most_blocks=self._most_blocks,
        )
        given = by_value(self._cupy, packed_call(self._tables, call))
        function((n_blocks, 1, 1), (entry.n_threads, 1, 1), (given,))


def _whole_chunks(n_bytes: int) -> int:
    return -(-n_bytes // CHUNK_BYTES) * CHUNK_BYTES


def _device_name(cupy: Any, device_index: int) -> str:  # noqa: ANN401 -- module
    name = cupy.cuda.runtime.getDeviceProperties(device_index)["name"]
    return name.decode() if isinstance(name, bytes) else str(name)


def _require_options(n_ranks: int, options: PeerOptions) -> None:
    if not 2 <= n_ranks <= MOST_RANKS:
        msg = f"{n_ranks} ranks; kernels that read peers' memory are for 2 to {MOST_RANKS}"
        raise BackendError(msg)
    if options.most_bytes < 1 or not 1 <= options.most_blocks <= MOST_BLOCKS:
        msg = f"most_bytes={options.most_bytes}, most_blocks={options.most_blocks}"
        msg += f"; expected 1 or more, and 1 to {MOST_BLOCKS}"
        raise BackendError(msg)


def _require_arrays(x: Array, out: Array) -> None:
    if str(x.dtype) not in DTYPES or out.dtype != x.dtype or out.shape != x.shape:
        msg = f"x is {x.dtype} {x.shape}, out {out.dtype} {out.shape}"
        msg += f"; expected one shape and one type of {', '.join(DTYPES)}"
        raise ValueError(msg)
    if not (x.flags.c_contiguous and out.flags.c_contiguous):
        msg = "x and out; expected contiguous arrays"
        raise ValueError(msg)
    distance = abs(x.data.ptr - out.data.ptr)
    if 0 < distance < x.nbytes:
        msg = f"x and out overlap by {x.nbytes - distance} bytes; expected the same array or none"
        raise ValueError(msg)


def time_peers(meeting: Meeting, peers: PeerRank, task: GpuTask) -> RoundTimes:
    """Time all-reduces of one rank by events on a stream; every rank calls this.

    Arrays are staged, as in any call that has not asked for a `shared_array`.

    Parameters
    ----------
    meeting
        That of the ranks.
    peers
        This rank.
    task
        An all-reduce by ``one_shot`` or ``two_shot``; the same on every rank.

    Returns
    -------
    RoundTimes
        Slowest rank of each round, on every rank.
    """
    cupy = require_cupy()
    n_elements, _ = task_elements(task, meeting.n_ranks)
    x = ones(cupy, n_elements, task.dtype)
    out = cupy.empty_like(x)
    cupy.cuda.get_current_stream().synchronize()
    stream = cupy.cuda.Stream(non_blocking=True)

    def queue() -> None:
        with stream:
            peers.all_reduce(x, out, algorithm=task.algorithm)

    timed = TimedQueue(cupy, stream, queue, task.rounds_per_graph)
    times = round_times(task, task.algorithm, timed, meeting)
    peers.check()
    return times
