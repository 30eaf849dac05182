"""The shared memory of a group of ranks on one host: counters, then three buffers per rank."""

from __future__ import annotations

import mmap
import shutil
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hardware_profiles.errors import TweelingError
from kernels.all_reduce.signals import counters_bytes

__all__ = ["RankError", "SharedRegion"]

KINDS = ("send", "receive", "scratch")
"""Input, output and partial sums."""
WIDEST_ELEMENT_BYTES = 8
FILE_SYSTEM = Path("/dev/shm")
"""Where Linux keeps shared memory."""

Vector = NDArray[np.floating[Any]]


class RankError(TweelingError):
    """A group of ranks cannot do what it was asked for, or one of its ranks has failed."""


class SharedRegion:
    """Layout of one block of shared memory; it can be handed to other processes."""

    def __init__(self, memory: SharedMemory, *, n_ranks: int, max_bytes: int) -> None:
        self.memory = memory
        self.n_ranks = n_ranks
        self._buffer_bytes = _buffer_bytes(n_ranks=n_ranks, max_bytes=max_bytes)

    @classmethod
    def create(cls, *, n_ranks: int, max_bytes: int) -> SharedRegion:
        """Reserve memory for so many ranks.

        Parameters
        ----------
        n_ranks
            Ranks of the group. [1]
        max_bytes
            Largest message, as nccl-tests counts it. [byte]

        Raises
        ------
        RankError
            When the system has not that much shared memory.
        """
        buffers = len(KINDS) * n_ranks * _buffer_bytes(n_ranks=n_ranks, max_bytes=max_bytes)
        size = _pages(counters_bytes(n_ranks)) + buffers
        # Pages are taken when they are first written; then it is too late for anything but SIGBUS.
        if FILE_SYSTEM.is_dir() and (free := shutil.disk_usage(FILE_SYSTEM).free) < size:
            msg = f"max_bytes={max_bytes}: {n_ranks} ranks need {size} bytes of {FILE_SYSTEM}"
            msg += f"; {free} are free"
            raise RankError(msg)
        try:
            memory = SharedMemory(create=True, size=size)
        except OSError as error:
            msg = f"no shared memory of {size} bytes for {n_ranks} ranks: {error.strerror}"
            raise RankError(msg) from None
        return cls(memory, n_ranks=n_ranks, max_bytes=max_bytes)

    def counters(self) -> memoryview:
        """Counters of all ranks as words of eight bytes."""
        return self._bytes()[: counters_bytes(self.n_ranks)].cast("Q")

    def vector(self, kind: Literal["send", "receive", "scratch"], rank: int, like: Like) -> Vector:
        """A rank's buffer as a vector; it must be gone before the memory can be closed."""
        n_elements, dtype = like
        i_buffer = KINDS.index(kind) * self.n_ranks + rank
        offset = _pages(counters_bytes(self.n_ranks)) + i_buffer * self._buffer_bytes
        return np.ndarray(n_elements, dtype=dtype, buffer=self._bytes(), offset=offset)

    def _bytes(self) -> memoryview:
        if self.memory.buf is None:
            msg = "the shared memory of this group of ranks is closed"
            raise RankError(msg)
        return self.memory.buf

    def holds(self, n_elements: int, dtype: str) -> bool:
        """Whether a vector fits into one buffer."""
        return n_elements * np.dtype(dtype).itemsize <= self._buffer_bytes


Like = tuple[int, str]
"""Elements and type of a vector."""


def _buffer_bytes(*, n_ranks: int, max_bytes: int) -> int:
    """Uneven shards can make a result longer than the message by one element per rank. [byte]."""
    return _pages(max_bytes + n_ranks * WIDEST_ELEMENT_BYTES)


def _pages(n_bytes: int) -> int:
    """Whole pages. [byte]."""
    return -(-n_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
