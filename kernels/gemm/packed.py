"""Performance model of a matrix product on one thread of a processor.

There are no waves of tiles: one unit works through the product. What costs beside arithmetic is
moving operands: both are copied into blocks that fit caches (packing), each element once for each
pass over the other operand that the cache sizes ask for, which for the shapes of training is close
to once; and the result is loaded, added to and stored. All of that is faster where a cache holds
the product than where memory does. Reading an operand that is stored transposed waits for its many
short strides too, so it has a cost of its own and gains less from the cache. A kernel
that works on whole tiles in registers pads the last rows and columns to one, and computes with the
zeros. Nothing of it overlaps, so the parts add up.

References
----------
K. Goto, R. van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS 34(3), 2008
(packing, and that its cost falls with the sizes it is spread over).
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PackedMachine", "PackedTime", "packed_gemm_time"]

FLOP_PER_MULTIPLY_ADD = 2.0


class PackedMachine(NamedTuple):
    """What the model knows of one thread and a library."""

    flop_per_s: float
    """Rate that long products approach. [flop/s]"""
    launch_s: float
    fill_depth: float
    """Loading and storing a result in memory, as extra depth of the reduction. [elements]"""
    pack_a_s: float
    """Copying one element of A from memory. [s]"""
    pack_b_s: float
    """Copying one element of B from memory. [s]"""
    cached_pack_ratio: float
    """Speed of packing what the cache holds over that. [1]"""
    cached_fill_ratio: float
    """The same of loading and storing a result. [1]"""
    cache_bytes: float
    """Caches that a product finds: the second level, and a share of the third. [byte]"""
    is_a_transposed: float = 0.0
    """1 where A is stored transposed, which `pack_a_s` then holds. [1]"""
    is_b_transposed: float = 0.0
    cached_transposed_ratio: float = 1.0
    """Speed of packing what is transposed from the cache over that from memory. [1]"""
    tile_rows: float = 1.0
    """Rows of a tile in registers, to which rows are padded. [1]"""
    tile_columns: float = 1.0
    """The same of columns. [1]"""


class PackedTime(NamedTuple):
    """Time of a product and its parts."""

    time_s: float
    arithmetic_s: float
    pack_s: float


def packed_gemm_time(
    sizes: tuple[float, float, float, float], footprint_bytes: float, machine: PackedMachine
) -> PackedTime:
    """Time of one call.

    Parameters
    ----------
    sizes
        m, n, k and batch. [elements], [1]
    footprint_bytes
        Operands and result of one product of the batch. [byte]
    machine
        Thread and library.

    Returns
    -------
    PackedTime
        Launch, arithmetic and packing, one after the other. [s]
    """
    m, n, k, batch = sizes
    missing = footprint_bytes / (footprint_bytes + machine.cache_bytes)
    fill_share = missing + (1.0 - missing) / machine.cached_fill_ratio
    depth = k + fill_share * machine.fill_depth
    rows = -(-m // machine.tile_rows) * machine.tile_rows
    columns = -(-n // machine.tile_columns) * machine.tile_columns
    arithmetic_s = FLOP_PER_MULTIPLY_ADD * rows * columns * depth / machine.flop_per_s
    share = missing + (1.0 - missing) / machine.cached_pack_ratio
    transposed_share = missing + (1.0 - missing) / machine.cached_transposed_ratio
    share_a = share + machine.is_a_transposed * (transposed_share - share)
    share_b = share + machine.is_b_transposed * (transposed_share - share)
    pack_s = share_a * m * k * machine.pack_a_s + share_b * k * n * machine.pack_b_s
    return PackedTime(
        machine.launch_s + batch * (arithmetic_s + pack_s), batch * arithmetic_s, batch * pack_s
    )
