"""Entries of the flash kernels on matrix cores of AMD's CDNA."""

from __future__ import annotations

from kernels.attention.flash_entry import ELEMENTS, HEAD_DIMS, FlashEntry, launch_macros
from kernels.gpu.kernel_source import KernelSource

__all__ = ["MFMA_SOURCES"]

ARCHITECTURES = ("gfx90a", "gfx942")
N_THREADS = 4 * 64
ROWS = 4 * 32
"""Queries or keys of the four waves of a block. [1]"""


def _entry(
    kind: str, dtype: str, head_dim: int, *sizes: int, blocks_per_tile: int = 1
) -> FlashEntry:
    # As many registers as two blocks leave each other; wide heads need those of both.
    n_blocks = 1 if head_dim > 128 else 2
    arguments = ", ".join((ELEMENTS[dtype], str(head_dim), *map(str, sizes)))
    return FlashEntry(
        name=f"flash_{kind}_mfma_{dtype}_{head_dim}",
        n_threads=N_THREADS,
        macros=launch_macros(f"flash_{kind}<{arguments}>", n_threads=N_THREADS, n_blocks=n_blocks),
        dtype=dtype,
        head_dim=head_dim,
        rows_per_block=ROWS,
        blocks_per_tile=blocks_per_tile,
    )


def _forward(dtype: str, head_dim: int) -> FlashEntry:
    # Two tiles of 64 wide rows would fill the local memory.
    return _entry("forward", dtype, head_dim, 32 if head_dim > 128 else 64)


MFMA_SOURCES = (
    KernelSource(
        name="flash_forward_mfma",
        folder="attention",
        architectures=ARCHITECTURES,
        entries=tuple(_forward(dtype, dim) for dim in HEAD_DIMS for dtype in ELEMENTS),
    ),
)
