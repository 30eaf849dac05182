"""The flash kernels for AMD's matrix cores, on the host, against float64: lengths, masks, heads."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.attention.mask import CAUSAL, FULL, Mask
from tests.kernels.gpu.emulated_flash import FlashCase, FlashPasses
from tests.kernels.gpu.emulation import SCHEDULES, find_compiler

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler for the host")

# (batch, heads, kv heads, query_len, key_len, head_dim), mask, type
FORWARD = [
    ((1, 2, 1, 130, 130, 64), CAUSAL, "bf16"),
    ((2, 2, 2, 33, 150, 40), CAUSAL, "bf16"),
    ((1, 1, 1, 150, 33, 64), CAUSAL, "bf16"),  # the first queries see no key
    ((1, 1, 1, 140, 140, 64), Mask(is_causal=True, window=50), "bf16"),
    ((1, 2, 1, 80, 140, 128), CAUSAL, "fp16"),
    ((1, 1, 1, 65, 130, 96), Mask(window=20), "fp16"),
    ((1, 2, 1, 40, 70, 256), CAUSAL, "fp16"),
    ((1, 1, 1, 17, 35, 200), FULL, "fp16"),
]


@pytest.fixture(scope="module")
def passes(tmp_path_factory):
    return FlashPasses("mfma", tmp_path_factory.mktemp("flash_mfma"))


@pytest.mark.parametrize(("sizes", "mask", "dtype"), FORWARD)
def test_the_forward_pass_agrees_with_float64(passes, sizes, mask, dtype):
    FlashCase(sizes, mask, dtype).run_forward(passes, SCHEDULES[sum(sizes) % len(SCHEDULES)])


BACKWARD = [
    ((2, 2, 1, 130, 140, 40), CAUSAL, "bf16"),
    ((1, 1, 1, 140, 140, 64), Mask(is_causal=True, window=50), "bf16"),
    ((1, 2, 1, 50, 140, 128), CAUSAL, "fp16"),
    ((1, 1, 1, 65, 130, 96), Mask(window=20), "fp16"),
    ((1, 2, 1, 40, 70, 256), CAUSAL, "fp16"),
    ((1, 1, 1, 17, 35, 200), FULL, "fp16"),
]


@pytest.mark.parametrize(("sizes", "mask", "dtype"), BACKWARD)
def test_the_gradients_agree_with_float64(passes, sizes, mask, dtype):
    schedule = SCHEDULES[sum(sizes) % len(SCHEDULES)]
    case = FlashCase(sizes, mask, dtype)
    case.run_forward(passes, schedule)
    case.run_backward(passes, schedule)
