"""The device sources of attention, and which entry of which one does a pass."""

from __future__ import annotations

from kernels.attention.flash_entry import ELEMENTS, HEAD_DIMS, FlashEntry, launch_macros
from kernels.attention.sources_mfma import MFMA_SOURCES
from kernels.attention.sources_mma import MMA_SOURCES
from kernels.attention.sources_wgmma import WGMMA_SOURCES
from kernels.gpu.kernel_source import KernelSource

__all__ = ["ATTENTION_SOURCES", "find_flash_entry", "flash_entry", "flash_source"]


def _delta(dtype: str) -> FlashEntry:
    n_warps = 4
    body = f"flash_delta<{ELEMENTS[dtype]}, {n_warps}>"
    return FlashEntry(
        name=f"flash_delta_{dtype}",
        n_threads=32 * n_warps,
        macros=launch_macros(body, n_threads=32 * n_warps, n_blocks=1),
        dtype=dtype,
        head_dim=0,
        rows_per_block=n_warps,
    )


DELTA_SOURCE = KernelSource(
    name="flash_delta",
    folder="attention",
    architectures=("sm_80", "sm_90", "sm_100", "gfx90a", "gfx942"),
    entries=tuple(_delta(dtype) for dtype in ELEMENTS),
)

ATTENTION_SOURCES: tuple[KernelSource[FlashEntry], ...] = (
    *MMA_SOURCES,
    *WGMMA_SOURCES,
    *MFMA_SOURCES,
    DELTA_SOURCE,
)


def flash_source(name: str) -> KernelSource[FlashEntry]:
    """Look a source up by its name."""
    return next(source for source in ATTENTION_SOURCES if source.name == name)


def find_flash_entry(
    kind: str, *, kernel: str, dtype: str, head_dim: int
) -> tuple[KernelSource[FlashEntry], FlashEntry] | None:
    """Source and entry of a pass, or None where a kernel has none that is wide enough.

    Parameters
    ----------
    kind
        The pass: forward, delta, d_kv or d_q.
    kernel
        What multiplies: mma, wgmma or mfma; delta is the same for all.
    dtype
        bf16 or fp16.
    head_dim
        Columns of a head; the smallest kernel that holds them is taken. [1]
    """
    family = "" if kernel == "mma" or kind == "delta" else f"_{kernel}"
    fitting = (
        (source, entry)
        for source in ATTENTION_SOURCES
        for entry in source.entries
        if entry.name.startswith(f"flash_{kind}{family}_{dtype}")
        and (entry.head_dim == 0 or entry.head_dim >= head_dim)
    )
    return min(fitting, key=lambda found: found[1].head_dim, default=None)


def flash_entry(
    kind: str, *, kernel: str = "mma", dtype: str, head_dim: int
) -> tuple[KernelSource[FlashEntry], FlashEntry]:
    """Source and entry of a pass; parameters as for `find_flash_entry`.

    Raises
    ------
    ValueError
        When no kernel is wide enough.
    """
    found = find_flash_entry(kind, kernel=kernel, dtype=dtype, head_dim=head_dim)
    if found is None:
        msg = f"head_dim {head_dim}: expected at most {HEAD_DIMS[-1]}"
        raise ValueError(msg)
    return found
