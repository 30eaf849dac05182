"""The flash kernels themselves, on the host, against float64: lengths, masks, heads, orders."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.attention.mask import CAUSAL, FULL, Mask
from kernels.attention.reference import attention_reference
from tests.kernels.gpu.emulated_flash import BACKWARD, TOLERANCE, FlashCase, FlashPasses
from tests.kernels.gpu.emulation import SCHEDULES, find_compiler, loaded, stored

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
    return FlashPasses("mma", tmp_path_factory.mktemp("flash"))


@pytest.mark.parametrize(("sizes", "mask", "dtype"), PROBLEMS)
def test_both_passes_agree_with_float64(passes, sizes, mask, dtype):
    schedule = SCHEDULES[sum(sizes) % len(SCHEDULES)]
    case = FlashCase(sizes, mask, dtype)
    case.run_forward(passes, schedule)
    case.run_backward(passes, schedule)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_order_of_threads_and_copies_changes_nothing(passes, schedule):
    found = []
    for chosen in (SCHEDULES[0], schedule):
        case = FlashCase((1, 2, 1, 70, 140, 64), CAUSAL, "bf16")
        for kind in ("forward", *BACKWARD):
            case.run(passes, kind, chosen)
        found.append([case.arrays[name].copy() for name in ("out", "d_q", "d_k", "d_v")])
    for first, second in zip(*found, strict=True):
        np.testing.assert_array_equal(first, second)


def test_large_scores_neither_overflow_nor_vanish(passes):
    case = FlashCase((1, 1, 1, 64, 64, 64), CAUSAL, "bf16", size=40.0)
    q, k, v = (case.exact[name] for name in "qkv")
    case.run(passes, "forward", SCHEDULES[0])
    truth = attention_reference(q, k, v, mask=CAUSAL)
    assert np.abs(truth.lse).max() > 1e3
    assert case.error("out", truth.out) < TOLERANCE["bf16"]


def test_values_that_are_all_equal_come_out_as_they_are(passes):
    case = FlashCase((1, 2, 1, 50, 90, 64), CAUSAL, "bf16")
    case.arrays["v"][...] = stored(np.full(case.arrays["v"].shape, 0.75), "bf16")
    case.run(passes, "forward", SCHEDULES[0])
    np.testing.assert_array_equal(loaded(case.arrays["out"], "bf16"), 0.75)
