"""The device sources of attention: entries for each type and head dim."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.gpu.kernel_source import Entry, KernelSource

__all__ = ["ATTENTION_SOURCES", "HEAD_DIMS", "FlashEntry", "flash_entry", "flash_source"]

TENSOR_CORES = ("sm_80", "sm_90", "sm_100")
ELEMENTS = {"bf16": "Bf16", "fp16": "Fp16"}
HEAD_DIMS = (64, 128, 256)
"""Head dims that kernels are built for; smaller ones are filled up with zeros. [1]"""

QUERIES_PER_WARP = 16
ELEMENT_BYTES = 2
FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashEntry(Entry):
    """A kernel for one type and head dim."""

    dtype: str
    """bf16 or fp16."""
    head_dim: int
    """Columns that it is built for; 0 where any will do. [1]"""
    rows_per_block: int
    """Queries or keys that a block owns. [1]"""
    blocks_per_tile: int = 1
    """Blocks that share the columns of one tile. [1]"""


def _macros(body: str, *, n_threads: int, n_blocks: int) -> dict[str, str]:
    return {
        "ENTRY_THREADS": str(n_threads),
        "ENTRY_BLOCKS": str(n_blocks),
        "ENTRY_BODY": body,
    }


def _forward(dtype: str, head_dim: int) -> FlashEntry:
    # Wider heads leave registers for fewer keys; heads of 64 for three smaller blocks.
    n_warps, n_keys = 4 if head_dim == 64 else 8, 32 if head_dim > 128 else 64
    n_queries = QUERIES_PER_WARP * n_warps
    body = f"flash_forward<{ELEMENTS[dtype]}, {head_dim}, {n_keys}, {n_warps}>"
    return FlashEntry(
        name=f"flash_forward_{dtype}_{head_dim}",
        n_threads=32 * n_warps,
        dynamic_shared_bytes=ELEMENT_BYTES * head_dim * (n_queries + 2 * n_keys),
        macros=_macros(body, n_threads=32 * n_warps, n_blocks=3 if head_dim == 64 else 1),
        dtype=dtype,
        head_dim=head_dim,
        rows_per_block=n_queries,
    )


def _delta(dtype: str) -> FlashEntry:
    n_warps = 4
    body = f"flash_delta<{ELEMENTS[dtype]}, {n_warps}>"
    return FlashEntry(
        name=f"flash_delta_{dtype}",
        n_threads=32 * n_warps,
        macros=_macros(body, n_threads=32 * n_warps, n_blocks=1),
        dtype=dtype,
        head_dim=0,
        rows_per_block=n_warps,
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
        macros=_macros(body, n_threads=32 * n_warps, n_blocks=1),
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
        macros=_macros(body, n_threads=32 * n_warps, n_blocks=1),
        dtype=dtype,
        head_dim=head_dim,
        rows_per_block=n_queries,
    )


ATTENTION_SOURCES = (
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
            *(_delta(dtype) for dtype in ELEMENTS),
            *(_d_kv(dtype, dim) for dim in HEAD_DIMS for dtype in ELEMENTS),
            *(_d_q(dtype, dim) for dim in HEAD_DIMS for dtype in ELEMENTS),
        ),
    ),
)


def flash_source(name: str) -> KernelSource[FlashEntry]:
    """Look a source up by its name."""
    return next(source for source in ATTENTION_SOURCES if source.name == name)


def flash_entry(
    kind: str, *, dtype: str, head_dim: int
) -> tuple[KernelSource[FlashEntry], FlashEntry]:
    """Source and entry of a pass: forward, delta, d_kv or d_q.

    Parameters
    ----------
    kind
        The pass.
    dtype
        bf16 or fp16.
    head_dim
        Columns of a head; the smallest kernel that holds them is taken.

    Raises
    ------
    ValueError
        When no kernel is wide enough.
    """
    source = flash_source("flash_forward" if kind == "forward" else "flash_backward")
    if kind == "delta":
        return source, source.entry(f"flash_delta_{dtype}")
    built = next((dim for dim in HEAD_DIMS if dim >= head_dim), None)
    if built is None:
        msg = f"head_dim {head_dim}: expected at most {HEAD_DIMS[-1]}"
        raise ValueError(msg)
    return source, source.entry(f"flash_{kind}_{dtype}_{built}")
