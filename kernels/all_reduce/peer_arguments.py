"""What the peer-to-peer kernels are given: the structure of `peers.h`, field by field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.all_reduce.sources import MOST_RANKS, N_THREADS

__all__ = [
    "CHUNK_BYTES",
    "PEER_ARGUMENTS",
    "PeerCall",
    "PeerTables",
    "first_visited",
    "n_blocks_for",
    "packed_call",
]

CHUNK_BYTES = 16
"""What a thread reads at a time. [byte]"""

_TABLES = ("inputs", "shards", "signals")
_ADDRESSES = ("own_inputs", "own_shards", "own_signals", "calls", "lost")
_SIZES = ("n", "inputs_half_bytes", "shards_half_bytes")
_FLAGS = ("rank", "n_ranks", "first_peer", "is_direct", "is_input_aligned", "is_out_aligned")

PEER_ARGUMENTS = np.dtype(
    [
        ("input", np.uint64),
        ("out", np.uint64),
        *((name, np.uint64, (MOST_RANKS,)) for name in _TABLES),
        *((name, np.uint64) for name in _ADDRESSES),
        *((name, np.int64) for name in _SIZES),
        ("most_looks", np.uint64),
        *((name, np.int32) for name in _FLAGS),
    ],
    align=True,
)


class PeerTables(NamedTuple):
    """Where a rank finds the memory of all ranks, and its own, in its own addresses."""

    rank: int
    inputs: tuple[int, ...]
    """Staged inputs of each rank: two halves."""
    shards: tuple[int, ...]
    """Summed shards of each rank: two halves."""
    signals: tuple[int, ...]
    """Signals to each rank."""
    calls: int
    """Own counts of calls."""
    lost: int
    """Own word that names a lost rank."""
    inputs_half_bytes: int
    shards_half_bytes: int


class PeerCall(NamedTuple):
    """One all-reduce of a rank."""

    algorithm: str
    """``one_shot`` or ``two_shot``."""
    input_address: int
    out_address: int
    n_elements: int
    direct_inputs: tuple[int, ...] = ()
    """Inputs of all ranks where peers read them in place; else they are staged."""
    most_looks: int = 2**31


def first_visited(algorithm: str, rank: int) -> int:
    """The peer that a rank reads first.

    Each starts elsewhere so that nobody's wires are asked by all at once; but where every rank
    computes the same sums, all add in one order, or their results would differ in the last bit.
    """
    return 0 if algorithm == "one_shot" else rank


def n_blocks_for(algorithm: str, *, message_bytes: int, n_ranks: int, most_blocks: int) -> int:
    """Blocks of a call, the same on every rank: a chunk of each peer for each thread. [1]."""
    n_chunks = -(-message_bytes // CHUNK_BYTES)
    n_items = n_chunks if algorithm == "one_shot" else -(-n_chunks // n_ranks)
    return max(1, min(most_blocks, -(-n_items // N_THREADS)))


def packed_call(tables: PeerTables, call: PeerCall) -> NDArray[np.void]:
    """A call as the kernel takes it."""
    n_ranks = len(tables.signals)
    first = first_visited(call.algorithm, tables.rank)

    def visited(addresses: Sequence[int]) -> list[int]:
        return [addresses[(first + i) % n_ranks] for i in range(n_ranks)]

    is_direct = bool(call.direct_inputs)
    found = np.zeros((), dtype=PEER_ARGUMENTS)
    found["input"], found["out"], found["n"] = call.input_address, call.out_address, call.n_elements
    found["inputs"][:n_ranks] = visited(call.direct_inputs or tables.inputs)
    found["shards"][:n_ranks] = visited(tables.shards)
    found["signals"][:n_ranks] = visited(tables.signals)
    values: dict[str, Any] = {
        "own_inputs": tables.inputs[tables.rank],
        "own_shards": tables.shards[tables.rank],
        "own_signals": tables.signals[tables.rank],
        "calls": tables.calls,
        "lost": tables.lost,
        "inputs_half_bytes": 0 if is_direct else tables.inputs_half_bytes,
        "shards_half_bytes": tables.shards_half_bytes,
        "most_looks": call.most_looks,
        "rank": tables.rank,
        "n_ranks": n_ranks,
        "first_peer": first,
        "is_direct": is_direct,
        "is_input_aligned": call.input_address % CHUNK_BYTES == 0,
        "is_out_aligned": call.out_address % CHUNK_BYTES == 0,
    }
    for name, value in values.items():
        found[name] = value
    return found
