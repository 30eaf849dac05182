"""The flash kernels themselves, on the host, against float64: lengths, masks, heads, orders."""

from __future__ import annotations

import pytest

from kernels.attention.mask import CAUSAL, FULL, Mask
from tests.kernels.gpu.emulated_flash import (
    FlashCase,
    FlashPasses,
    require_indifference_to_order,
    require_large_scores,
)
from tests.kernels.gpu.emulation import SCHEDULES, find_compiler

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


def test_the_order_of_threads_and_copies_changes_nothing(passes):
    require_indifference_to_order(passes, (1, 2, 1, 70, 140, 64))


def test_large_scores_neither_overflow_nor_vanish(passes):
    require_large_scores(passes)
