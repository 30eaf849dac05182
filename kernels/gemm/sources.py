"""The device sources of GEMM: entries, launch sizes and architectures they are for."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.gpu.kernel_source import Entry, KernelSource

__all__ = ["ELEMENTS", "GEMM_SOURCES", "LAYOUTS", "GemmEntry", "gemm_source"]

LAYOUTS = ("nn", "nt", "tn", "tt")
"""Transposition of a and of b: n as stored, t transposed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmEntry(Entry):
    """A kernel for one type and one transposition of the operands."""

    element: str
    """Type of the operands in the source: Bf16, Fp16, Tf32 or float."""
    layout: str
    """One of `LAYOUTS`."""
    tile_m: int
    """Rows of the result that a block owns. [1]"""
    tile_n: int
    """Columns of the result that a block owns. [1]"""


ELEMENTS = {"bf16": "Bf16", "fp16": "Fp16", "tf32": "Tf32", "fp32": "float"}
"""Types of operands as the sources call them."""


def _entries(
    prefix: str, dtypes: tuple[str, ...], *, n_threads: int, shared_bytes: int, tile_n: int = 128
) -> tuple[GemmEntry, ...]:
    truth = {"n": "false", "t": "true"}
    return tuple(
        GemmEntry(
            name=f"{prefix}_{dtype}_{layout}",
            macros={
                "ENTRY_TYPE": ELEMENTS[dtype],
                "ENTRY_TRANSPOSE_A": truth[layout[0]],
                "ENTRY_TRANSPOSE_B": truth[layout[1]],
                "ENTRY_TILE_N": str(tile_n),
            },
            element=ELEMENTS[dtype],
            layout=layout,
            n_threads=n_threads,
            dynamic_shared_bytes=shared_bytes,
            tile_m=128,
            tile_n=tile_n,
        )
        for dtype in dtypes
        for layout in LAYOUTS
    )


RING_BYTES = 192 * 1024 + 1024 + 128
"""Stages of the wgmma kernel, room to align them, and their barriers. [byte]"""

GEMM_SOURCES = (
    KernelSource(
        name="gemm_simt",
        folder="gemm",
        architectures=("sm_80", "sm_90", "sm_100", "gfx90a", "gfx942"),
        entries=_entries("gemm_simt", ("fp32",), n_threads=256, shared_bytes=0),
    ),
    KernelSource(
        name="gemm_wgmma",
        folder="gemm",
        architectures=("sm_90a",),
        entries=(
            *_entries("gemm_wgmma", ("bf16", "fp16"), n_threads=384, shared_bytes=RING_BYTES),
            *(
                entry
                for tile_n in (192, 256)
                for entry in _entries(
                    f"gemm_wgmma{tile_n}",
                    ("bf16", "fp16"),
                    n_threads=384,
                    shared_bytes=RING_BYTES,
                    tile_n=tile_n,
                )
            ),
        ),
    ),
    KernelSource(
        name="gemm_mma",
        folder="gemm",
        architectures=("sm_80", "sm_90", "sm_100"),
        entries=_entries(
            "gemm_mma", ("bf16", "fp16", "tf32"), n_threads=256, shared_bytes=4 * 2 * 128 * 64
        ),
    ),
    KernelSource(
        name="gemm_mfma",
        folder="gemm",
        architectures=("gfx90a", "gfx942"),
        entries=_entries("gemm_mfma", ("bf16", "fp16"), n_threads=256, shared_bytes=0),
    ),
)


def gemm_source(name: str) -> KernelSource[GemmEntry]:
    """Look a source up by its name."""
    return next(source for source in GEMM_SOURCES if source.name == name)
