"""The device sources of collectives: entries for each algorithm, type and number of ranks."""

from __future__ import annotations

from kernels.gpu.kernel_source import Entry, KernelSource

__all__ = ["ALL_REDUCE_SOURCES", "MOST_BLOCKS", "MOST_RANKS", "PEER_SOURCE", "peer_entry_name"]

MOST_RANKS = 8
"""Ranks that a table of the kernels holds. [1]"""
MOST_BLOCKS = 64
"""Blocks for which there are signals; all of them must run at once. [1]"""
N_THREADS = 512
PLACES = (2, 4, 8)
"""Entries are compiled for so many ranks, and serve fewer as well. [1]"""
ELEMENTS = {"bf16": "Bf16", "fp16": "Fp16", "fp32": "float"}
"""Type in the source."""


def peer_entry_name(algorithm: str, dtype: str, n_ranks: int) -> str:
    """Name of an entry: ``one_shot`` or ``two_shot``, element type, places for ranks."""
    n_places = next(places for places in PLACES if places >= n_ranks)
    return f"{algorithm}_{dtype}_{n_places}"


def _entry(algorithm: str, dtype: str, n_places: int) -> Entry:
    macros = {
        "ENTRY_THREADS": str(N_THREADS),
        "ENTRY_BODY": f"{algorithm}<{ELEMENTS[dtype]}, {n_places}>",
    }
    name = peer_entry_name(algorithm, dtype, n_places)
    return Entry(name=name, n_threads=N_THREADS, macros=macros)


PEER_SOURCE = KernelSource(
    name="peer_reduce",
    folder="all_reduce",
    architectures=("sm_80", "sm_90", "sm_90a", "sm_100", "gfx90a", "gfx942"),
    entries=tuple(
        _entry(algorithm, dtype, n_places)
        for n_places in PLACES
        for dtype in ELEMENTS
        for algorithm in ("one_shot", "two_shot")
    ),
)
ALL_REDUCE_SOURCES = (PEER_SOURCE,)
