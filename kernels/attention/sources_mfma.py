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
    body: str, dtype: str, head_dim: int, *, n_blocks: int, blocks_per_tile: int = 1
) -> FlashEntry:
    """Entry of a template; `n_blocks` are to share the registers of a compute unit."""
    name, sizes = body.split("<")
    return FlashEntry(
        name=f"{name}_mfma_{dtype}_{head_dim}",
        n_threads=N_THREADS,
        macros=launch_macros(
            f"{name}<{ELEMENTS[dtype]}, {head_dim}, {sizes}",
            n_threads=N_THREADS,
            n_blocks=n_blocks,
        ),
        dtype=dtype,
        head_dim=head_dim,
        rows_per_block=ROWS,
        blocks_per_tile=blocks_per_tile,
    )


def _forward(dtype: str, head_dim: int) -> FlashEntry:
    # Two tiles of 64 wide rows would fill the local memory.
    n_keys, n_blocks = (32, 1) if head_dim > 128 else (64, 2)
    return _entry(f"flash_forward<{n_keys}>", dtype, head_dim, n_blocks=n_blocks)


def _d_kv(dtype: str, head_dim: int) -> FlashEntry:
    n_queries, n_blocks = 32, 1 if head_dim > 64 else 2
    n_columns = min(head_dim, 128)
    return _entry(
        f"flash_d_kv<{n_columns}, {n_queries}>",
        dtype,
        head_dim,
        n_blocks=n_blocks,
        blocks_per_tile=head_dim // n_columns,
    )


def _d_q(dtype: str, head_dim: int) -> FlashEntry:
    n_keys = 32 if head_dim > 64 else 64
    n_blocks = 1 if head_dim > 128 else 2
    return _entry(f"flash_d_q<{n_keys}>", dtype, head_dim, n_blocks=n_blocks)


MFMA_SOURCES = (
    KernelSource(
        name="flash_forward_mfma",
        folder="attention",
        architectures=ARCHITECTURES,
        entries=tuple(_forward(dtype, dim) for dim in HEAD_DIMS for dtype in ELEMENTS),
    ),
    KernelSource(
        name="flash_backward_mfma",
        folder="attention",
        architectures=ARCHITECTURES,
        entries=tuple(
            make(dtype, dim) for make in (_d_kv, _d_q) for dim in HEAD_DIMS for dtype in ELEMENTS
        ),
    ),
)
