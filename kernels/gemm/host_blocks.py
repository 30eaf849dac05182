"""Sizes of the blocks of the host's GEMM: what stays in which cache, and who computes what.

References
----------
T. Low, F. Igual, T. Smith and E. Quintana-Orti, Analytical Modeling Is Enough for High-Performance
BLIS, 2016.
"""

from __future__ import annotations

from functools import cache
from math import gcd
from pathlib import Path
from typing import NamedTuple

__all__ = ["Blocks", "Caches", "choose_blocks", "host_caches"]

CACHE_FOLDER = Path("/sys/devices/system/cpu/cpu0/cache")
MAX_COLUMNS = 4096
"""Columns of a block of B beyond which nothing is won; they bound the memory that is needed. [1]"""


class Caches(NamedTuple):
    """Data caches that a core reaches; what is not known has the size of small ones."""

    l1_bytes: int = 32 * 2**10
    """First level. [byte]"""
    l2_bytes: int = 512 * 2**10
    """Second level. [byte]"""
    l3_bytes: int = 2 * 2**20
    """Share of a core in the third level. [byte]"""


class Blocks(NamedTuple):
    """Sizes of blocks and tasks; rows and columns are multiples of a tile's."""

    n_rows: int
    """Rows of a block of A, which stays in the second-level cache. [1]"""
    n_depths: int
    """Depths of a panel of B, which stays in the first-level cache. [1]"""
    n_columns: int
    """Columns of a block of B, which stays in the third-level cache. [1]"""
    task_rows: int
    """Rows of the rectangle that a task computes. [1]"""
    task_columns: int
    """Columns of it. [1]"""


@cache
def host_caches(folder: Path = CACHE_FOLDER) -> Caches:
    """Read the sizes of the caches that the first core reaches, from Linux."""
    sizes = {}
    for index in folder.glob("index[0-9]*"):
        if (index / "type").read_text(encoding="utf-8").strip() != "Instruction":
            level = (index / "level").read_text(encoding="utf-8").strip()
            sizes[level] = _bytes(index / "size") // (_n_sharing(index) if level == "3" else 1)
    known = {f"l{level}_bytes": size for level, size in sizes.items() if level in {"1", "2", "3"}}
    return Caches(**known)


def _bytes(file: Path) -> int:
    """Size as Linux writes it, such as ``1024K``. [byte]."""
    return int(file.read_text(encoding="utf-8").strip().removesuffix("K")) * 2**10


def _n_sharing(index: Path) -> int:
    """Processors that share a cache, from a mask of hexadecimal digits. [1]."""
    mask = (index / "shared_cpu_map").read_text(encoding="utf-8").strip().replace(",", "")
    return max(1, int(mask, 16).bit_count())


def choose_blocks(
    sizes: tuple[int, int, int],
    *,
    tile: tuple[int, int],
    itemsize_bytes: int,
    n_threads: int,
    caches: Caches,
) -> Blocks:
    """Blocks for a batch of products, and rectangles of which each thread gets as many.

    Parameters
    ----------
    sizes
        Number of products, m and n. [1]
    tile
        Rows and columns of a tile in registers. [1]
    itemsize_bytes
        Size of a number. [byte]
    n_threads
        Threads among which the rectangles are divided. [1]
    caches
        A panel of B fills the first, a block of A half of the second, a block of B half of the
        third: what passes by needs room as well.
    """
    rows, columns = tile
    n_depths = max(1, caches.l1_bytes // (columns * itemsize_bytes))
    line_bytes = n_depths * itemsize_bytes
    down, across = _grid(sizes, tile=tile, n_threads=n_threads)
    return Blocks(
        n_rows=max(1, caches.l2_bytes // 2 // line_bytes // rows) * rows,
        n_depths=n_depths,
        n_columns=max(1, min(caches.l3_bytes // 2 // line_bytes, MAX_COLUMNS) // columns) * columns,
        task_rows=-(-max(1, sizes[1]) // (down * rows)) * rows,
        task_columns=-(-max(1, sizes[2]) // (across * columns)) * columns,
    )


def _grid(sizes: tuple[int, int, int], *, tile: tuple[int, int], n_threads: int) -> tuple[int, int]:
    """Rectangles of a product, down and across: as few as keep all threads, and as square. [1]."""
    n_batches, m, n = sizes
    tiles = (max(1, -(-m // tile[0])), max(1, -(-n // tile[1])))
    n_parts = n_threads // gcd(max(1, n_batches), n_threads)
    pairs = [(down, n_parts // down) for down in range(1, n_parts + 1) if n_parts % down == 0]
    fitting = [pair for pair in pairs if pair[0] <= tiles[0] and pair[1] <= tiles[1]]
    if not fitting:
        return min(tiles[0], n_parts), min(tiles[1], max(1, n_parts // tiles[0]))
    # What a task packs is as long as the edges of its rectangle.
    return min(fitting, key=lambda pair: m / pair[0] + n / pair[1])
