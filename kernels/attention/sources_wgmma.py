"""Entries of the flash kernels on wgmma, for Hopper."""

from __future__ import annotations

from kernels.attention.flash_entry import (
    ELEMENT_BYTES,
    ELEMENTS,
    HEAD_DIMS,
    FlashEntry,
    launch_macros,
)
from kernels.gpu.kernel_source import KernelSource

__all__ = ["WGMMA_SOURCES"]

N_THREADS = 3 * 128
"""A warp group that copies, and two that multiply. [1]"""
ROWS = 2 * 64
"""Rows of both products. [1]"""
STAGES = 2
ALIGNMENT_BYTES = 1024
"""Of tiles under the swizzle; the block looks for the place itself. [byte]"""
BARRIER_BYTES = 8


def _forward(dtype: str, head_dim: int) -> FlashEntry:
    # Sums of 64 x 256 leave registers for half of the scores.
    n_keys = 64 if head_dim > 128 else 128
    tiles_bytes = ELEMENT_BYTES * head_dim * (ROWS + 2 * STAGES * n_keys)
    return FlashEntry(
        name=f"flash_forward_wgmma_{dtype}_{head_dim}",
        n_threads=N_THREADS,
        dynamic_shared_bytes=ALIGNMENT_BYTES + tiles_bytes + (1 + 4 * STAGES) * BARRIER_BYTES,
        macros=launch_macros(
            f"flash_forward<{ELEMENTS[dtype]}, {head_dim}, {n_keys}, {STAGES}>",
            n_threads=N_THREADS,
            n_blocks=1,
        ),
        dtype=dtype,
        head_dim=head_dim,
        rows_per_block=ROWS,
        mapped=(("q", ROWS), ("k", n_keys), ("v", n_keys)),
    )


WGMMA_SOURCES = (
    KernelSource(
        name="flash_forward_wgmma",
        folder="attention",
        architectures=("sm_90a",),
        entries=tuple(_forward(dtype, dim) for dim in HEAD_DIMS for dtype in ELEMENTS),
    ),
)
