"""Entries of the flash kernels on mma.sync, for sm_80 and later."""

from __future__ import annotations

from kernels.attention.flash_entry import (
    ELEMENT_BYTES,
    ELEMENTS,
    HEAD_DIMS,
    FlashEntry,
    launch_macros,
)
from kernels.gpu.kernel_source import KernelSource

__all__ = ["MMA_SOURCES"]

TENSOR_CORES = ("sm_80", "sm_90", "sm_100")
QUERIES_PER_WARP = 16
FLOAT_BYTES = 4


def _forward(dtype: str, head_dim: int) -> FlashEntry:
    # Wider heads leave registers for fewer keys; heads of 64 for three smaller blocks.
    n_warps, n_keys = 4 if head_dim == 64 else 8, 32 if head_dim > 128 else 64
    n_queries = QUERIES_PER_WARP * n_warps
    body = f"flash_forward<{ELEMENTS[dtype]}, {head_dim}, {n_keys}, {n_warps}>"
    return FlashEntry(
        name=f"flash_forward_{dtype}_{head_dim}",
        n_threads=32 * n_warps,
        dynamic_shared_bytes=ELEMENT_BYTES * head_dim * (n_queries + 2 * n_keys),
        macros=launch_macros(body, n_threads=32 * n_warps, n_blocks=3 if head_dim == 64 else 1),
        dtype=dtype,
        head_dim=head_dim,
        rows_per_block=n_queries,
    )


def _d_kv(dtype: str, head_dim: int) -> FlashEntry:
    n_warps, n_queries = 4, 64 if head_dim == 64 else 32
    n_keys, n_columns = QUERIES_PER_WARP * n_warps, min(head_dim, 128)
    body = f"flash_d_kv<{ELEMENTS[dtype]}, {head_dim}, {n_columns}, {n_queries}, {n_warps}>"
    tiles_bytes = ELEMENT_BYTES * head_dim * 2 * (n_keys + n_queries)
    return FlashEntry(
        name=f"flash_d_kv_{dtype}_{head_dim}",
        n_threads=32 * n_warps,
        dynamic_shared_bytes=tiles_bytes + 2 * FLOAT_BYTES * n_queries,
        macros=launch_macros(body, n_threads=32 * n_warps, n_blocks=1),
        dtype=dtype,
        head_dim=head_dim,
        rows_per_block=n_keys,
        blocks_per_tile=head_dim // n_columns,
    )


def _d_q(dtype: str, head_dim: int) -> FlashEntry:
    n_warps, n_keys = 4, 16 if head_dim > 128 else 64
    n_queries = QUERIES_PER_WARP * n_warps
    body = f"flash_d_q<{ELEMENTS[dtype]}, {head_dim}, {n_keys}, {n_warps}>"
    return FlashEntry(
        name=f"flash_d_q_{dtype}_{head_dim}",
        n_threads=32 * n_warps,
        dynamic_shared_bytes=ELEMENT_BYTES * head_dim * 2 * (n_queries + n_keys),
        macros=launch_macros(body, n_threads=32 * n_warps, n_blocks=1),
        dtype=dtype,
        head_dim=head_dim,
        rows_per_block=n_queries,
    )


MMA_SOURCES = (
    KernelSource(
        name="flash_forward",
        folder="attention",
        architectures=TENSOR_CORES,
        entries=tuple(_forward(dtype, dim) for dim in HEAD_DIMS for dtype in ELEMENTS),
    ),
    KernelSource(
        name="flash_backward",
        folder="attention",
        architectures=TENSOR_CORES,
        entries=(
            *(_d_kv(dtype, dim) for dim in HEAD_DIMS for dtype in ELEMENTS),
            *(_d_q(dtype, dim) for dim in HEAD_DIMS for dtype in ELEMENTS),
        ),
    ),
)
