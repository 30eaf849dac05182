"""The device sources of memory-bound operations: entries for each type."""

from __future__ import annotations

from kernels.gpu.kernel_source import Entry, KernelSource

__all__ = ["MEMORY_BOUND_SOURCES", "memory_bound_source"]

EVERYWHERE = ("sm_80", "sm_90", "sm_100", "gfx90a", "gfx942")
ELEMENTS = {"bf16": ("Bf16", 8), "fp16": ("Fp16", 8), "fp32": ("float", 4)}
"""Type in the source, and elements of a vector of 16 bytes."""


def _entry(name: str, body: str, *, n_threads: int = 256) -> Entry:
    # Backward passes of norms keep sums in registers; two blocks must fit into a unit all the same,
    # where that takes no memory: conversions from fp16 leave LayerNorm's too few.
    n_blocks = 2 if "norm_backward" in name and name != "layer_norm_backward_fp16" else 1
    macros = {
        "ENTRY_THREADS": str(n_threads),
        "ENTRY_BLOCKS": str(n_blocks),
        "ENTRY_BODY": body,
    }
    return Entry(name=name, n_threads=n_threads, macros=macros)


def _by_row(name: str, body: str, *, rest: str = "", n_threads: int = 256) -> tuple[Entry, ...]:
    """Entries for rows that begin on 16 bytes, and for those that do not."""
    aligned = (
        _entry(f"{name}_{dtype}", f"{body}<{element}, {n}{rest}>", n_threads=n_threads)
        for dtype, (element, n) in ELEMENTS.items()
    )
    unaligned = (
        _entry(f"{name}_{dtype}_unaligned", f"{body}<{element}, 1{rest}>", n_threads=n_threads)
        for dtype, (element, _n) in ELEMENTS.items()
    )
    return (*aligned, *unaligned)


def _by_element(name: str, body: str, *, rest: str = "") -> tuple[Entry, ...]:
    return tuple(
        _entry(f"{name}_{dtype}", f"{body}<{element}, {n}{rest}>")
        for dtype, (element, n) in ELEMENTS.items()
    )


def _by_type(name: str, body: str, *, rest: dict[str, str] | None = None) -> tuple[Entry, ...]:
    return tuple(
        _entry(f"{name}_{dtype}", f"{body}<{element}{(rest or {}).get(dtype, '')}>")
        for dtype, (element, _n) in ELEMENTS.items()
    )


MEMORY_BOUND_SOURCES = (
    KernelSource(
        name="norms",
        folder="memory_bound",
        architectures=EVERYWHERE,
        entries=(
            *_by_row("rms_norm_forward", "forward", rest=", false"),
            *_by_row("rms_norm_backward", "backward", rest=", false"),
            *_by_row("layer_norm_forward", "forward", rest=", true"),
            *_by_row("layer_norm_backward", "backward", rest=", true"),
        ),
    ),
    KernelSource(
        name="sum_rows",
        folder="memory_bound",
        architectures=EVERYWHERE,
        entries=_by_type("sum_rows", "sum_rows"),
    ),
    KernelSource(
        name="elementwise",
        folder="memory_bound",
        architectures=EVERYWHERE,
        entries=(
            *_by_element("swiglu_forward", "swiglu_forward"),
            *_by_element("swiglu_backward", "swiglu_backward"),
            *_by_element("gelu_forward", "gelu_forward"),
            *_by_element("gelu_backward", "gelu_backward"),
            *_by_element("copy", "stream", rest=", false"),
            *_by_element("triad", "stream", rest=", true"),
        ),
    ),
    KernelSource(
        name="adamw",
        folder="memory_bound",
        architectures=EVERYWHERE,
        # Weights of 32 bits need no copy in the gradient's type.
        entries=_by_type(
            "adamw", "adamw", rest={"bf16": ", true", "fp16": ", true", "fp32": ", false"}
        ),
    ),
    KernelSource(
        name="cross_entropy",
        folder="memory_bound",
        architectures=EVERYWHERE,
        entries=(
            *_by_row("cross_entropy_forward", "forward", n_threads=512),
            *_by_row("cross_entropy_backward", "backward", n_threads=512),
        ),
    ),
)


def memory_bound_source(name: str) -> KernelSource[Entry]:
    """Look a source up by its name."""
    return next(source for source in MEMORY_BOUND_SOURCES if source.name == name)
