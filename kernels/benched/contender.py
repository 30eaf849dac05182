"""Who can run a case: implementations on shared operands, and why others cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hardware_profiles.own_version import tweeling_version
from kernels.backends import Device
from kernels.benched.case import KernelCase
from kernels.timing import RepeatPolicy, Samples, Timer

__all__ = [
    "COPY",
    "OWN_LIBRARY",
    "Arena",
    "Contender",
    "Contest",
    "keeping_results",
    "n_operand_sets",
    "own_library",
]

OWN_LIBRARY = "tweeling"
"""Beginning of the library column of the project's own kernels."""

COPY = "copy"
"""Name of the contender that copies instead of running the case."""

ROTATION_CACHES = 3
"""Rotating operands together are at least this many times the last-level cache. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One implementation, ready to be called."""

    call: Callable[[int], object]
    """Runs the kernel once; the index chooses the set of operands."""
    library: str
    """Library column of its rows: framework, version and routine."""
    framework: str
    """What runs it: numpy, numba, cupy or torch."""
    is_vendor: bool = False
    """Whether it is the vendor's library, or a framework's, to be measured up to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """A case with everyone who can run it here."""

    case: KernelCase
    contenders: Mapping[str, Contender]
    """Implementations by name."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Why others cannot, by name, in one line."""
    copy_bytes: float = 0.0
    """Traffic of the contender named copy, which memory-bound kernels are held against; 0 where
    there is none. [byte]"""

    def vendors(self) -> dict[str, Contender]:
        """Those that others are measured up to."""
        return {name: one for name, one in self.contenders.items() if one.is_vendor}


class Arena(Protocol):
    """A device with the means to run and time contests on it."""

    device: Device
    timer: Timer
    clock: str
    """What the timer reads, in words."""
    n_threads: int
    """Threads of the host that a kernel uses; 1 where a GPU does the work. [1]"""

    def contest(self, case: KernelCase) -> Contest:
        """Allocate operands of a case and say who can run it."""
        ...

    def measure(
        self, contest: Contest, names: tuple[str, ...], policy: RepeatPolicy
    ) -> dict[str, Samples]:
        """Time some contenders in turn. [s]."""
        ...

    def synchronize(self) -> None:
        """Wait until the device has done everything queued."""
        ...


def keeping_results(call: Callable[[int], object], *, n_sets: int) -> Callable[[int], object]:
    """The call with its latest results kept, one of each set of operands.

    A pool of memory would hand out the block that the last result has just left, and writing it
    anew would stay in the cache: while results are kept, they rotate as operands do.
    """
    kept: list[object] = [None] * n_sets

    def keep(index: int) -> object:
        kept[index % n_sets] = call(index)
        return kept[index % n_sets]

    return keep


def own_library(routine: str) -> str:
    """Library column of one of the project's own kernels."""
    return f"{OWN_LIBRARY}-{tweeling_version()}:{routine}"


def n_operand_sets(set_bytes: float, *, cache_bytes: int, room_bytes: float, n_max: int) -> int:
    """How many sets of operands to rotate among so that caches do not flatter. [1]

    Parameters
    ----------
    set_bytes
        Operands and results of one call. [byte]
    cache_bytes
        Last-level cache. [byte]
    room_bytes
        Memory that all sets together may take. [byte]
    n_max
        Most sets. [1]
    """
    size = max(1.0, set_bytes)
    wanted = int(ROTATION_CACHES * cache_bytes // size) + 2
    return max(1, min(wanted, n_max, int(room_bytes // size)))
