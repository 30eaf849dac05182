"""How ranks on one host tell each other how far they are: counters in shared memory.

Every rank owns one counter per lane, which only it writes and which only grows; others wait until
it has reached a value. A value holds the round in its upper bits and the step within the round
below, so that no counter is ever set back and a late reader cannot mistake an old step for a new
one.

An aligned store of eight bytes is one store, and x86 keeps stores in order and loads in order, so
that whoever sees the counter sees the data written before it. Other architectures (Arm among
them) do not; there a fence goes between data and counter. That path has not run on such a
machine.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable

__all__ = ["DONE", "LANES", "READY", "Signals", "counters_bytes"]

LANES = 5
"""Counters of each rank: one for rings and rounds, and up and down in each of two trees. [1]"""
LINE_BYTES = 128
"""Counters lie this far apart: two cache lines, since processors fetch lines in pairs. [byte]"""
WORDS_PER_LINE = LINE_BYTES // 8
STEPS_PER_ROUND = 2**20
"""Steps that a round can count. [1]"""
READY = 1
"""Step at which a rank's input may be read."""
DONE = STEPS_PER_ROUND - 1
"""Step at which a rank has its result and reads nobody's memory any more."""

SPINS = 200
"""Looks at a counter before the core is offered to others: some 10 µs, a small step. [1]"""
YIELDS_PER_CHECK = 512
"""Offers of the core between two looks whether the owner of the ranks still lives. [1]"""
ORDERED_MACHINES = frozenset({"x86_64", "AMD64", "i386", "i686"})
"""Architectures that keep stores in order and loads in order."""


def counters_bytes(n_ranks: int) -> int:
    """Shared memory that the counters of so many ranks take. [byte]."""
    return LANES * n_ranks * LINE_BYTES


def _yield_core() -> Callable[[], object]:
    """What offers the core to whoever waits for it; not every system has sched_yield."""
    offer: Callable[[], object] | None = getattr(os, "sched_yield", None)
    return offer if offer is not None else lambda: time.sleep(0)


def _no_fence() -> None:
    """Nothing to do where the hardware keeps the order."""


class _LockFence:
    """Orders memory by taking and leaving a lock twice.

    Data stored before the first release cannot pass it, and what follows cannot precede the
    second acquisition: together that is a full fence, of about 0.1 µs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self) -> None:
        for _ in range(2):
            self._lock.acquire()
            self._lock.release()


def memory_fence(machine: str | None = None) -> Callable[[], None]:
    """Fence that this architecture needs between data and counter."""
    known = platform.machine() if machine is None else machine
    return _no_fence if known in ORDERED_MACHINES else _LockFence()


class OwnerGoneError(Exception):
    """The process that owns the ranks has ended."""


class Signals:
    """One rank's view of the counters of all."""

    def __init__(
        self, counters: memoryview, *, rank: int, n_ranks: int, n_spins: int, owner: int
    ) -> None:
        self._counters = counters
        self._rank = rank
        self._n_ranks = n_ranks
        self._n_spins = n_spins
        self._round = 0
        self._fence = memory_fence()
        self._offer_core = _yield_core()
        self._owner = owner

    def publish(self, step: int, *, lane: int = 0) -> None:
        """Tell that this rank has done a step of the current round."""
        self._fence()
        index = (lane * self._n_ranks + self._rank) * WORDS_PER_LINE
        self._counters[index] = self._round + step

    def wait(self, rank: int, step: int, *, lane: int = 0) -> None:
        """Wait until another rank has done a step of the current round.

        Raises
        ------
        OwnerGoneError
            When the process that owns the ranks has ended meanwhile.
        """
        counters, value = self._counters, self._round + step
        index = (lane * self._n_ranks + rank) * WORDS_PER_LINE
        for _ in range(self._n_spins):
            if counters[index] >= value:
                self._fence()
                return
        n_yields = 0
        while counters[index] < value:
            self._offer_core()
            n_yields += 1
            # No time limit here: the owner watches the counters and ends ranks that stand still.
            if n_yields % YIELDS_PER_CHECK == 0 and os.getppid() != self._owner:
                raise OwnerGoneError
        self._fence()

    def begin_round(self) -> None:
        """Count the next round; every rank does so once per round."""
        self._round += STEPS_PER_ROUND

    def end_round(self) -> None:
        """Wait until all ranks are done with the round, so that buffers may be written again."""
        self.publish(DONE)
        for rank in range(self._n_ranks):
            self.wait(rank, DONE)


def furthest_step(counters: memoryview, rank: int, n_ranks: int) -> int:
    """How far a rank is over all its lanes; for whoever watches that it moves. [1]."""
    lanes = ((lane * n_ranks + rank) * WORDS_PER_LINE for lane in range(LANES))
    return max(int(counters[index]) for index in lanes)
