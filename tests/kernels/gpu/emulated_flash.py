"""One attention problem for the emulated flash kernels, and the truth about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kernels.attention.flash_arguments import FlashCall, n_blocks, placed
from kernels.attention.flash_entry import FlashEntry
from kernels.attention.operands import softmax_scale
from kernels.attention.reference import attention_backward_reference, attention_reference
from kernels.attention.sources import flash_entry
from kernels.gemm.reference import relative_error_fraction
from kernels.gpu.kernel_source import KernelSource
from tests.kernels.gpu.emulated_entries import EmulatedSource, emulated_map
from tests.kernels.gpu.emulated_gemm import aligned
from tests.kernels.gpu.emulation import loaded, round_to, stored

__all__ = ["BACKWARD", "TOLERANCE", "FlashCase", "FlashPasses", "flash_call_form"]

TOLERANCE = {"bf16": 1e-2, "fp16": 2e-3}
LSE_TOLERANCE = 1e-5
BACKWARD = ("delta", "d_kv", "d_q")


def flash_call_form(source: KernelSource[FlashEntry]) -> str:
    """How an entry is called: with its tensor maps, with shared memory, or with neither."""
    maps = [f"maps[{i}]" for i in range(len(source.entries[0].mapped))]
    is_static = source.name == "flash_delta" or source.name.endswith("mfma")
    return f"{{body}}({', '.join(['g', *maps, *([] if is_static else ['shared'])])})"


class FlashPasses:
    """The sources of one kernel (mma, wgmma or mfma), each built when it is first asked for."""

    def __init__(self, kernel: str, folder: Path, *, names: tuple[str, ...] = ()) -> None:
        self.kernel, self.folder, self.names = kernel, folder, names
        self.built: dict[str, EmulatedSource] = {}

    def of(self, source: KernelSource[FlashEntry]) -> EmulatedSource:
        if source.name not in self.built:
            self.built[source.name] = EmulatedSource(
                source,
                self.folder,
                arguments="FlashArguments",
                call=flash_call_form(source),
                names=tuple(e.name for e in source.entries if e.name in self.names),
            )
        return self.built[source.name]


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

    def run_backward(self, passes, schedule):
        """All gradients against float64, from what the forward pass left."""
        for kind in BACKWARD:
            self.run(passes, kind, schedule)
        q, k, v, gradient = (self.exact[name] for name in ("q", "k", "v", "d_out"))
        gradients = attention_backward_reference(q, k, v, gradient, mask=self.mask)
        for name, expected in zip(("d_q", "d_k", "d_v"), gradients, strict=True):
            assert self.error(name, expected) < TOLERANCE[self.dtype], name

    def error(self, name, truth):
        return relative_error_fraction(loaded(self.arrays[name], self.dtype), truth)
