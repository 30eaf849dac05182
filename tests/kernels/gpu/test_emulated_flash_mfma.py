"""The flash kernels for AMD's matrix cores, on the host, against float64: lengths, masks, heads."""

from __future__ import annotations

import pytest

from kernels.attention.mask import CAUSAL, FULL, Mask
from kernels.gpu import launch as device_launch
from tests.kernels.gpu.emulated_flash import (
    FlashCase,
    FlashPasses,
    agree_with_float64,
    require_indifference_to_order,
    require_large_scores,
)
from tests.kernels.gpu.emulation import SCHEDULES, find_compiler
from tests.kernels.gpu.fake_cupy import install_fake_cupy

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler for the host")
KINDS = ("bf16_64", "fp16_128", "fp16_256")

# (batch, heads, kv heads, query_len, key_len, head_dim), mask, type
PROBLEMS = [
    ((2, 2, 1, 30, 140, 40), CAUSAL, "bf16"),
    ((1, 1, 1, 150, 33, 64), CAUSAL, "bf16"),  # the first queries see no key
    ((1, 1, 1, 140, 140, 64), Mask(is_causal=True, window=50), "bf16"),
    ((1, 1, 1, 50, 140, 128), CAUSAL, "fp16"),
    ((1, 1, 1, 65, 130, 96), Mask(window=20), "fp16"),
    ((1, 1, 1, 40, 70, 256), CAUSAL, "fp16"),
    ((1, 1, 1, 17, 35, 200), FULL, "fp16"),
]


@pytest.fixture(scope="module")
def passes(tmp_path_factory):
    return FlashPasses("mfma", tmp_path_factory.mktemp("flash_mfma"), kinds=KINDS)


@pytest.mark.parametrize(("sizes", "mask", "dtype"), PROBLEMS)
def test_both_directions_agree_with_float64(passes, sizes, mask, dtype):
    schedule = SCHEDULES[sum(sizes) % len(SCHEDULES)]
    case = FlashCase(sizes, mask, dtype)
    case.run_forward(passes, schedule)
    case.run_backward(passes, schedule)


def test_the_order_of_threads_changes_nothing(passes):
    require_indifference_to_order(passes, (1, 1, 1, 40, 140, 64))


def test_large_scores_neither_overflow_nor_vanish(passes):
    require_large_scores(passes)


def test_a_call_on_cdna_takes_its_kernels(monkeypatch, passes):
    install_fake_cupy(monkeypatch, passes.function, capability="gfx942")
    agree_with_float64(has_backward=False)
    device_launch._function.cache_clear()
