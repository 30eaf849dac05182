"""Kernels of several ranks on the host, all under way together, with delays drawn from a seed."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kernels.all_reduce.peer_arguments import PEER_ARGUMENTS
from kernels.all_reduce.sources import PEER_SOURCE
from tests.kernels.gpu.emulated_entries import EmulatedSource

__all__ = ["COPY", "N_THREADS", "EmulatedRanks", "Launched", "Run"]

COPY = ""
"""In the place of an entry's name: a kernel that copies n bytes from input to out."""
N_THREADS = 32
"""Threads of an emulated block; a device has more, and indices do not depend on how many."""
CALL = np.dtype(
    [("entry", np.int32), ("n_blocks", np.int32), ("arguments", PEER_ARGUMENTS)], align=True
)
FLEET = np.dtype(
    [
        *((name, np.int32) for name in ("n_ranks", "n_threads", "are_stores_late", "most_idle")),
        ("seed", np.uint32),
        ("n_calls", np.int32, (8,)),
    ],
    align=True,
)


class Launched(NamedTuple):
    """One call on a rank's stream."""

    entry: str
    n_blocks: int
    arguments: np.ndarray


class Run(NamedTuple):
    """One of many orders in which ranks might go on."""

    seed: int
    are_stores_late: bool
    """Whether stores for peers are seen only when a signal is set after them, or at once."""
    most_idle_rounds: int = 2
    """Rounds in which nobody goes on before all count as stuck."""


class EmulatedRanks:
    """The entries of the peer-to-peer source that are named, or all."""

    def __init__(self, folder: Path, *, names: tuple[str, ...] = ()) -> None:
        self.source = EmulatedSource(
            PEER_SOURCE,
            folder,
            arguments="PeerArguments",
            names=names,
            harness="ranks.cpp",
            n_threads=N_THREADS,
        )

    def run(self, streams: list[list[Launched]], run: Run) -> bool:
        """Run the calls of all ranks; False when they wait for each other for ever."""
        calls = np.zeros(max(1, sum(map(len, streams))), dtype=CALL)
        for place, launched in enumerate(call for stream in streams for call in stream):
            calls[place]["entry"] = self.source.numbers.get(launched.entry, -1)
            calls[place]["n_blocks"] = launched.n_blocks
            calls[place]["arguments"] = launched.arguments
        fleet = np.zeros((), dtype=FLEET)
        fleet["n_ranks"], fleet["n_threads"] = len(streams), N_THREADS
        fleet["are_stores_late"], fleet["most_idle"] = run.are_stores_late, run.most_idle_rounds
        fleet["seed"], fleet["n_calls"][: len(streams)] = run.seed, list(map(len, streams))
        pointers = (ctypes.c_void_p(array.ctypes.data) for array in (fleet, calls))
        return int(self.source.library.run_ranks(*pointers)) == 0
