"""The flash kernels themselves, on the host, against float64: lengths, masks, heads, orders."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.attention.flash_arguments import FlashCall, n_blocks, placed
from kernels.attention.mask import CAUSAL, FULL, Mask
from kernels.attention.operands import softmax_scale
from kernels.attention.reference import attention_backward_reference, attention_reference
from kernels.attention.sources import flash_entry, flash_source
from kernels.gemm.reference import relative_error_fraction
from tests.kernels.gpu.emulated_entries import EmulatedSource
from tests.kernels.gpu.emulated_gemm import aligned
from tests.kernels.gpu.emulation import SCHEDULES, find_compiler, loaded, round_to, stored

TOLERANCE = {"bf16": 1e-2, "fp16": 2e-3}
LSE_TOLERANCE = 1e-5
pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler for the host")

# (batch, heads, kv heads, query_len, key_len, head_dim), mask, type
PROBLEMS = [
    ((1, 1, 1, 64, 64, 64), FULL, "bf16"),
    ((1, 2, 1, 130, 130, 64), CAUSAL, "bf16"),
    ((2, 4, 2, 33, 150, 40), CAUSAL, "bf16"),
    ((1, 1, 1, 150, 33, 64), CAUSAL, "bf16"),  # the first queries see no key
    ((1, 2, 2, 140, 140, 64), Mask(is_causal=True, window=50), "fp16"),
    ((1, 2, 1, 80, 140, 128), CAUSAL, "fp16"),
    ((1, 1, 1, 65, 130, 96), Mask(window=20), "bf16"),
    ((1, 2, 1, 40, 70, 256), CAUSAL, "fp16"),
    ((1, 1, 1, 17, 35, 200), FULL, "bf16"),
]


@pytest.fixture(scope="module")
def passes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flash")
    return {
        name: EmulatedSource(
            flash_source(name), folder, arguments="FlashArguments", call="{body}(g, shared)"
        )
        for name in ("flash_forward", "flash_backward")
    }


class Case:
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
        source, entry = flash_entry(kind, dtype=self.dtype, head_dim=call.query_shape[3])
        blocks = n_blocks(call, entry, over_keys=kind == "d_kv")
        passes[source.name].run(entry.name, call.arguments(), n_blocks=blocks, schedule=schedule)

    def error(self, name, truth):
        return relative_error_fraction(loaded(self.arrays[name], self.dtype), truth)


@pytest.mark.parametrize(("sizes", "mask", "dtype"), PROBLEMS)
def test_both_passes_agree_with_float64(passes, sizes, mask, dtype):
    schedule = SCHEDULES[sum(sizes) % len(SCHEDULES)]
    case = Case(sizes, mask, dtype)
    q, k, v, gradient = (case.exact[name] for name in ("q", "k", "v", "d_out"))
    truth = attention_reference(q, k, v, mask=mask)
    case.run(passes, "forward", schedule)
    assert case.error("out", truth.out) < TOLERANCE[dtype]
    np.testing.assert_array_equal(np.isneginf(case.lse), np.isneginf(truth.lse))
    seen = np.isfinite(truth.lse)
    assert relative_error_fraction(case.lse[seen], truth.lse[seen]) < LSE_TOLERANCE
    for kind in ("delta", "d_kv", "d_q"):
        case.run(passes, kind, schedule)
    gradients = attention_backward_reference(q, k, v, gradient, mask=mask)
    for name, expected in zip(("d_q", "d_k", "d_v"), gradients, strict=True):
        assert case.error(name, expected) < TOLERANCE[dtype], name


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_order_of_threads_and_copies_changes_nothing(passes, schedule):
    found = []
    for chosen in (SCHEDULES[0], schedule):
        case = Case((1, 2, 1, 70, 140, 64), CAUSAL, "bf16")
        for kind in ("forward", "delta", "d_kv", "d_q"):
            case.run(passes, kind, chosen)
        found.append([case.arrays[name].copy() for name in ("out", "d_q", "d_k", "d_v")])
    for first, second in zip(*found, strict=True):
        np.testing.assert_array_equal(first, second)


def test_large_scores_neither_overflow_nor_vanish(passes):
    case = Case((1, 1, 1, 64, 64, 64), CAUSAL, "bf16", size=40.0)
    q, k, v = (case.exact[name] for name in "qkv")
    case.run(passes, "forward", SCHEDULES[0])
    truth = attention_reference(q, k, v, mask=CAUSAL)
    assert np.abs(truth.lse).max() > 1e3
    assert case.error("out", truth.out) < TOLERANCE["bf16"]


def test_values_that_are_all_equal_come_out_as_they_are(passes):
    case = Case((1, 2, 1, 50, 90, 64), CAUSAL, "bf16")
    case.arrays["v"][...] = stored(np.full(case.arrays["v"].shape, 0.75), "bf16")
    case.run(passes, "forward", SCHEDULES[0])
    np.testing.assert_array_equal(loaded(case.arrays["out"], "bf16"), 0.75)
