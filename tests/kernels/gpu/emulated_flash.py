"""One attention problem for the emulated flash kernels, and the truth about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kernels.attention.flash_arguments import FlashCall, n_blocks, placed
from kernels.attention.flash_entry import FlashEntry
from kernels.attention.gpu import attention_backward_gpu, attention_gpu
from kernels.attention.mask import CAUSAL
from kernels.attention.operands import softmax_scale
from kernels.attention.reference import attention_backward_reference, attention_reference
from kernels.attention.sources import ATTENTION_SOURCES, flash_entry
from kernels.gemm.reference import relative_error_fraction
from kernels.gpu.kernel_source import KernelSource
from tests.kernels.gpu.emulated_entries import EmulatedSource, HostFunction, emulated_map
from tests.kernels.gpu.emulated_gemm import aligned
from tests.kernels.gpu.emulation import SCHEDULES, bf16_bits, bf16_values, loaded, round_to, stored
from tests.kernels.gpu.fake_cupy import on_device

__all__ = [
    "TOLERANCE",
    "FlashCase",
    "FlashPasses",
    "agree_with_float64",
    "flash_call_form",
    "require_indifference_to_order",
    "require_large_scores",
]

TOLERANCE = {"bf16": 1e-2, "fp16": 2e-3}
LSE_TOLERANCE = 1e-5
Sizes = tuple[int, int, int, int, int, int]
"""batch, heads, kv heads, query_len, key_len, head_dim"""


def flash_call_form(source: KernelSource[FlashEntry]) -> str:
    """How an entry is called: with its tensor maps, with shared memory, or with neither."""
    maps = [f"maps[{i}]" for i in range(len(source.entries[0].mapped))]
    is_static = source.name == "flash_delta" or source.name.endswith("mfma")
    return f"{{body}}({', '.join(['g', *maps, *([] if is_static else ['shared'])])})"


class FlashPasses:
    """The sources of one kernel (mma, wgmma or mfma), each built when it is first asked for."""

    def __init__(self, kernel: str, folder: Path, *, kinds: tuple[str, ...] = ("",)) -> None:
        """`kinds` are the types and head dims to build, as names of entries end; all by default."""
        self.kernel, self.folder, self.kinds = kernel, folder, kinds
        self.built: dict[str, EmulatedSource] = {}

    def of(self, source: KernelSource[FlashEntry]) -> EmulatedSource:
        if source.name not in self.built:
            kinds = ("",) if source.name == "flash_delta" else self.kinds
            self.built[source.name] = EmulatedSource(
                source,
                self.folder,
                arguments="FlashArguments",
                call=flash_call_form(source),
                names=tuple(e.name for e in source.entries if e.name.endswith(kinds)),
            )
        return self.built[source.name]

    def function(self, name: str) -> HostFunction:
        """What a launch takes for a loaded entry."""
        source = next(
            source
            for source in ATTENTION_SOURCES
            if any(entry.name == name for entry in source.entries)
        )
        return HostFunction(self.of(source), name)


def require_indifference_to_order(passes: FlashPasses, sizes: Sizes) -> None:
    """Both directions give the same bits in every order of threads, copies and products."""
    found = []
    for schedule in SCHEDULES:
        case = FlashCase(sizes, CAUSAL, "bf16")
        case.run(passes, "forward", schedule)
        case.run_gradients(passes, schedule)
        found.append([case.arrays[name] for name in ("out", "d_q", "d_k", "d_v")])
    for others in found[1:]:
        for first, second in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(first, second)


def require_large_scores(passes: FlashPasses) -> None:
    """Scores of thousands neither overflow nor vanish, and equal values come out as they are."""
    case = FlashCase((1, 1, 1, 64, 64, 64), CAUSAL, "bf16", size=40.0)
    case.run_forward(passes, SCHEDULES[0])
    assert np.abs(case.lse).max() > 1e3
    case = FlashCase((1, 2, 1, 50, 90, 64), CAUSAL, "bf16", size=40.0)
    case.arrays["v"][...] = stored(np.full(case.arrays["v"].shape, 0.75), "bf16")
    case.run(passes, "forward", SCHEDULES[0])
    np.testing.assert_array_equal(loaded(case.arrays["out"], "bf16"), 0.75)


def agree_with_float64(*, has_backward: bool = True) -> None:
    """From the call to the result, on a device that a test has pretended."""
    random = np.random.default_rng(3)
    shapes = ((2, 2, 70, 48), (2, 1, 90, 48), (2, 1, 90, 48), (2, 2, 70, 48))
    # Sequences before heads, as many programs have them.
    bits = [
        on_device(bf16_bits(random.standard_normal(shape).astype(np.float32)).swapaxes(1, 2))
        for shape in shapes
    ]
    *operands, d_out = (array.swapaxes(1, 2) for array in bits)
    q, k, v, gradient = (
        bf16_values(np.asarray(array)).astype(np.float64) for array in (*operands, d_out)
    )
    result = attention_gpu(*operands, mask=CAUSAL)
    truth = attention_reference(q, k, v, mask=CAUSAL)
    assert relative_error_fraction(bf16_values(np.asarray(result.out)), truth.out) < 1e-2
    assert relative_error_fraction(np.asarray(result.lse), truth.lse) < LSE_TOLERANCE
    if not has_backward:
        return
    found = attention_backward_gpu(tuple(operands), result, d_out, mask=CAUSAL)
    expected = attention_backward_reference(q, k, v, gradient, mask=CAUSAL)
    for ours, theirs in zip(found, expected, strict=True):
        assert relative_error_fraction(bf16_values(np.asarray(ours)), theirs) < 1e-2


class FlashCase:
    """Operands and results of one problem; memory that a kernel is to write holds NaN."""

    def __init__(self, sizes, mask, dtype, *, size=1.0):
        batch, heads, kv_heads, query_len, key_len, head_dim = sizes
        random = np.random.default_rng(sum(sizes))
        self.mask, self.dtype = mask, dtype
        shapes = {"q": (heads, query_len), "k": (kv_heads, key_len), "v": (kv_heads, key_len)}
        shapes |= {"d_out": shapes["q"], "out": shapes["q"]}
        shapes |= {f"d_{name}": shapes[name] for name in "qkv"}
        self.exact, self.arrays = {}, {}
        for name, (n_heads, length) in shapes.items():
            shape = (batch, n_heads, length, head_dim)
            if name in {"q", "k", "v", "d_out"}:
                values = size * random.standard_normal(shape).astype(np.float32)
                self.exact[name] = round_to(values, dtype).astype(np.float64)
            else:
                values = np.full(shape, np.nan, dtype=np.float32)
            self.arrays[name] = aligned(stored(values, dtype))
        self.lse = np.full((batch, heads, query_len), np.nan, dtype=np.float32)
        self.delta = np.full_like(self.lse, np.nan)

    def call(self):
        return FlashCall(
            query_shape=self.arrays["q"].shape,
            key_shape=self.arrays["k"].shape,
            mask=self.mask,
            scale=softmax_scale(None, self.arrays["q"].shape[3]),
            heads={name: placed(array) for name, array in self.arrays.items()},
            lse=self.lse.ctypes.data,
            delta=self.delta.ctypes.data,
        )

    def run(self, passes, kind, schedule):
        call = self.call()
        source, entry = flash_entry(
            kind, kernel=passes.kernel, dtype=self.dtype, head_dim=call.query_shape[3]
        )
        passes.of(source).run(
            entry.name,
            call.arguments(),
            n_blocks=n_blocks(call, entry, over_keys=kind == "d_kv"),
            schedule=schedule,
            maps=[emulated_map(tensor) for tensor in call.tensors(entry)],
        )

    def run_forward(self, passes, schedule):
        """Forward alone, against float64: output and log-sum-exp."""
        q, k, v = (self.exact[name] for name in "qkv")
        truth = attention_reference(q, k, v, mask=self.mask)
        self.run(passes, "forward", schedule)
        assert self.error("out", truth.out) < TOLERANCE[self.dtype]
        np.testing.assert_array_equal(np.isneginf(self.lse), np.isneginf(truth.lse))
        seen = np.isfinite(truth.lse)
        assert relative_error_fraction(self.lse[seen], truth.lse[seen]) < LSE_TOLERANCE

    def run_gradients(self, passes, schedule):
        if passes.kernel == "mma":
            self.run(passes, "delta", schedule)
        else:  # the same kernel for all; it is built and tested with those on mma.sync
            out, gradient = (loaded(self.arrays[name], self.dtype) for name in ("out", "d_out"))
            self.delta[...] = (out.astype(np.float64) * gradient).sum(axis=-1)
        for kind in ("d_kv", "d_q"):
            self.run(passes, kind, schedule)

    def run_backward(self, passes, schedule):
        """All gradients against float64, from what the forward pass left."""
        self.run_gradients(passes, schedule)
        q, k, v, gradient = (self.exact[name] for name in ("q", "k", "v", "d_out"))
        gradients = attention_backward_reference(q, k, v, gradient, mask=self.mask)
        for name, expected in zip(("d_q", "d_k", "d_v"), gradients, strict=True):
            assert self.error(name, expected) < TOLERANCE[self.dtype], name

    def error(self, name, truth):
        return relative_error_fraction(loaded(self.arrays[name], self.dtype), truth)
