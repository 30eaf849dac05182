"""Sizes at which memory-bound operations are measured: of layers, and what tells effects apart.

Rows are tokens of a micro-batch, columns the widths of known models, split over tensor-parallel
ranks or not. One column of sizes does not tell what a row costs from what a byte costs, so every
operation has several of both.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

__all__ = ["operation_sizes"]

Size = tuple[int, str, int, int, str | None]
"""Priority, operation, rows, columns, and a type other than the operation's usual one."""

N_ELEMENTS_MAX = 32768 * 16384
"""Larger matrices tell nothing new and take long to fill. [1]"""

LOSSES = ("cross_entropy", "cross_entropy_fp32")
STREAMS = ("adamw", "grad_accumulate", "cast")
NORMS = ("rmsnorm", "layernorm", "residual_add")
ACTIVATIONS = ("swiglu", "gelu")
ALL = (*NORMS, *ACTIVATIONS, "softmax", *LOSSES, *STREAMS)

TOKENS = (2048, 4096, 8192, 16384, 32768)
HIDDEN = (2048, 3072, 4096, 5120, 6144, 7168, 8192, 12288, 16384)
FFN_HIDDEN = (1792, 3584, 6144, 7168, 11008, 12288, 14336, 24576, 28672)
"""Llama 3 8B and 70B, GPT-3 and Llama 2 7B, split over one to eight ranks. [1]"""
VOCABULARIES = (4000, 8000, 16032, 25600, 32000, 50304, 64128, 128256)
"""Llama 2 and 3 and GPT-3, split over one to eight ranks. [1]"""
KEYS = (512, 1024, 2048, 4096, 8192)


def operation_sizes(*, is_gpu: bool) -> Iterator[Size]:
    """Every operation with its sizes, the coarse survey's first; some come more than once."""
    if not is_gpu:
        yield from ((0, name, 64, 256, None) for name in ALL)
        yield 0, "layernorm", 64, 256, "fp32"
        return
    yield from _coarse()
    yield from _usual()
    for priority, name, rows, cols, dtype in _rest():
        if rows * cols <= N_ELEMENTS_MAX:
            yield priority, name, rows, cols, dtype


def _coarse() -> Iterator[Size]:
    for name in ALL:
        if name in LOSSES:
            yield 0, name, 4096, 128256, None
        elif name in STREAMS:
            yield 0, name, 8192, 16384, None
        else:
            yield 0, name, 8192, 14336 if name in ACTIVATIONS else 4096, None


def _usual() -> Iterator[Size]:
    for rows, cols in product((2048, 8192, 32768), (4096, 8192, 12288, 16384)):
        yield from ((1, name, rows, cols, None) for name in NORMS)
    for rows, cols in product((2048, 8192, 32768), (3584, 7168, 14336, 28672)):
        yield from ((1, name, rows, cols, None) for name in ACTIVATIONS)
    for rows, cols in ((2048, 128256), (8192, 128256), (8192, 32000), (8192, 16032)):
        yield from ((1, name, rows, cols, None) for name in LOSSES)
    for cols in (1024, 4096, 65536):
        yield from ((1, name, 4096, cols, None) for name in STREAMS)
    for rows, cols in ((65536, 2048), (65536, 4096)):
        yield 1, "softmax", rows, cols, None


def _rest() -> Iterator[Size]:
    for rows, cols in product(TOKENS, HIDDEN):
        yield from ((2, name, rows, cols, None) for name in NORMS)
    for rows, cols in product(TOKENS, FFN_HIDDEN):
        yield from ((2, name, rows, cols, None) for name in ACTIVATIONS)
    for rows, cols in product((2048, 4096, 8192), VOCABULARIES):
        yield from ((2, name, rows, cols, None) for name in LOSSES)
    for rows, cols in product((16384, 65536, 131072), KEYS):
        yield from ((2, "softmax", rows, cols, dtype) for dtype in (None, "fp32"))
    for rows, cols in product((2048, 8192, 16384), (1024, 2048, 3072, 4096, 8192, 12288)):
        yield 2, "layernorm", rows, cols, "fp32"
    for rows, cols in product((4096, 8192), (256, 512, 1024, 2048, 4096, 8192, 16384, 32768)):
        yield from ((2, name, rows, cols, None) for name in STREAMS)
