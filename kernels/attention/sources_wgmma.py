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
BACKWARD_HEAD_DIMS = (64, 128)
"""Two sums of 64 x 256 are more than a warp group has registers for. [1]"""
ALIGNMENT_BYTES = 1024
"""Of tiles under the swizzle; the block looks for the place itself. [byte]"""
BARRIER_BYTES = 8
FLOAT_BYTES = 4


def _entry(
    body: str, dtype: str, head_dim: int, *, shared_bytes: int, mapped: tuple[tuple[str, int], ...]
) -> FlashEntry:
    name, sizes = body.split("<")
    return FlashEntry(
        name=f"{name}_wgmma_{dtype}_{head_dim}",
        n_threads=N_THREADS,
        dynamic_shared_bytes=ALIGNMENT_BYTES + shared_bytes,
        macros=launch_macros(
            f"{name}<{ELEMENTS[dtype]}, {head_dim}, {sizes}", n_threads=N_THREADS, n_blocks=1
        ),
        dtype=dtype,
        head_dim=head_dim,
        rows_per_block=ROWS,
        mapped=mapped,
    )


def _forward(dtype: str, head_dim: int) -> FlashEntry:
    # Sums of 64 x 256 leave registers for half of the scores.
    n_keys, n_stages = 64 if head_dim > 128 else 128, 2
    return _entry(
        f"flash_forward<{n_keys}, {n_stages}>",
        dtype,
        head_dim,
        shared_bytes=ELEMENT_BYTES * head_dim * (ROWS + 2 * n_stages * n_keys)
        + (1 + 4 * n_stages) * BARRIER_BYTES,
        mapped=(("q", ROWS), ("k", n_keys), ("v", n_keys)),
    )


def _d_kv(dtype: str, head_dim: int) -> FlashEntry:
    # Two sums of 64 x 128 leave registers for scores of 64 x 64.
    n_queries, n_stages = 64, 3
    return _entry(
        f"flash_d_kv<{n_queries}, {n_stages}>",
        dtype,
        head_dim,
        shared_bytes=ELEMENT_BYTES * head_dim * 2 * (ROWS + n_stages * n_queries)
        + (1 + 2 * n_stages) * BARRIER_BYTES
        + n_stages * 2 * FLOAT_BYTES * n_queries,
        mapped=(("q", n_queries), ("k", ROWS), ("v", ROWS), ("d_out", n_queries)),
    )


def _d_q(dtype: str, head_dim: int) -> FlashEntry:
    n_keys, n_stages = 128, 2
    return _entry(
        f"flash_d_q<{n_keys}, {n_stages}>",
        dtype,
        head_dim,
        shared_bytes=ELEMENT_BYTES * head_dim * 2 * (ROWS + n_stages * n_keys)
        + (1 + 2 * n_stages) * BARRIER_BYTES,
        mapped=(("q", ROWS), ("k", n_keys), ("v", n_keys), ("d_out", ROWS)),
    )


WGMMA_SOURCES = (
    KernelSource(
        name="flash_forward_wgmma",
        folder="attention",
        architectures=("sm_90a",),
        entries=tuple(_forward(dtype, dim) for dim in HEAD_DIMS for dtype in ELEMENTS),
    ),
    KernelSource(
        name="flash_backward_wgmma",
        folder="attention",
        architectures=("sm_90a",),
        entries=tuple(
            make(dtype, dim)
            for make in (_d_kv, _d_q)
            for dim in BACKWARD_HEAD_DIMS
            for dtype in ELEMENTS
        ),
    ),
)
