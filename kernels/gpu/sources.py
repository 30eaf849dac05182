"""All device sources of the package."""

from __future__ import annotations

from kernels.all_reduce.sources import ALL_REDUCE_SOURCES
from kernels.attention.sources import ATTENTION_SOURCES
from kernels.gemm.sources import GEMM_SOURCES
from kernels.gpu.kernel_source import Entry, KernelSource
from kernels.memory_bound.sources import MEMORY_BOUND_SOURCES

__all__ = ["SOURCES", "source_of"]

SOURCES: tuple[KernelSource[Entry], ...] = (
    *GEMM_SOURCES,
    *ATTENTION_SOURCES,
    *MEMORY_BOUND_SOURCES,
    *ALL_REDUCE_SOURCES,
)


def source_of(name: str) -> KernelSource[Entry]:
    """Look a source up by its name."""
    return next(source for source in SOURCES if source.name == name)
