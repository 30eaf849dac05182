"""Which of a kernel's tiles suits a product on a device: the least waves by their cost."""

from __future__ import annotations

from kernels.gemm.sources import GemmEntry

__all__ = ["relative_time"]

RELATIVE_COST = {128: 0.55, 192: 0.77, 256: 1.0}
"""Time of a tile by its columns, over that of the widest. [1]

An estimate, not a measurement: half the columns are half the products, but each row of a is read
for fewer of them, and the beginning and the end of a tile cost the same.
"""


def relative_time(entry: GemmEntry, *, m: int, n: int, n_batches: int, n_units: int) -> float:
    """Estimated time of products with an entry's tiles, in tiles of the widest. [1].

    Blocks take tiles in turn, so the last wave takes as long as a full one, however few units have
    a tile of it.

    Parameters
    ----------
    entry
        Kernel with one size of tile.
    m, n
        Rows and columns of a result. [1]
    n_batches
        Results. [1]
    n_units
        Multiprocessors, each with one tile at a time. [1]
    """
    n_tiles = -(-m // entry.tile_m) * -(-n // entry.tile_n) * n_batches
    return -(-n_tiles // n_units) * RELATIVE_COST[entry.tile_n]
