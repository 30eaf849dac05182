"""Which of a kernel's tiles suits a product on a device: the least waves by their cost."""

from __future__ import annotations

from kernels.gemm.sources import GemmEntry

__all__ = ["relative_time"]

RELATIVE_COST = {128: 0.545, 192: 0.77, 256: 1.0}
"""Time of a tile by its columns, over that of the widest. [1]

Measured on an H100, bf16, k of 4,096 and 8,192 and all widths of 26 products: 0.535 to 0.545 and
0.77 over several waves; 0.60 and 0.80 in a single one, where nothing hides the beginning of a tile.
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
