"""The flash kernels for Hopper, on the host, against float64: lengths, masks, heads, orders."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from kernels.attention import launch
from kernels.attention.gpu import attention_backward_gpu, attention_gpu
from kernels.attention.launch import BACKWARD, FORWARD, resolve_kernel
from kernels.attention.mask import CAUSAL, FULL, Mask
from kernels.attention.operands import Result
from kernels.backends import BackendError
from kernels.gpu import launch as device_launch
from tests.kernels.gpu.emulated_entries import emulated_map
from tests.kernels.gpu.emulated_flash import (
    FlashCase,
    FlashPasses,
    agree_with_float64,
    require_indifference_to_order,
    require_large_scores,
)
from tests.kernels.gpu.emulation import SCHEDULES, find_compiler
from tests.kernels.gpu.fake_cupy import install_fake_cupy, on_device

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler for the host")
KINDS = ("bf16_64", "fp16_128", "fp16_256")

# (batch, heads, kv heads, query_len, key_len, head_dim), mask, type
PROBLEMS = [
    ((1, 2, 1, 130, 150, 64), CAUSAL, "bf16"),
    ((2, 1, 1, 33, 150, 40), FULL, "bf16"),
    ((1, 1, 1, 128, 520, 64), CAUSAL, "bf16"),  # the rings go round with all rows in use
    ((1, 1, 1, 300, 33, 64), CAUSAL, "bf16"),  # blocks of queries that see no key
    ((1, 1, 1, 33, 300, 64), Mask(is_causal=True, window=20), "bf16"),  # and the reverse
    ((1, 1, 1, 80, 260, 128), CAUSAL, "fp16"),
    ((1, 1, 1, 65, 150, 96), Mask(window=20), "fp16"),
    ((1, 1, 1, 40, 150, 200), CAUSAL, "fp16"),
]


@pytest.fixture(scope="module")
def passes(tmp_path_factory):
    return FlashPasses("wgmma", tmp_path_factory.mktemp("flash_wgmma"), kinds=KINDS)


@pytest.fixture
def device(monkeypatch, passes):
    """Make the host look like a device of some compute capability."""

    def pretend(capability: str) -> None:
        install_fake_cupy(monkeypatch, passes.function, capability=capability)
        monkeypatch.setattr(launch, "encode_tensor_map", emulated_map)

    yield pretend
    device_launch._function.cache_clear()


@pytest.mark.parametrize(("sizes", "mask", "dtype"), PROBLEMS)
def test_both_directions_agree_with_float64(passes, sizes, mask, dtype):
    schedule = SCHEDULES[sum(sizes) % len(SCHEDULES)]
    case = FlashCase(sizes, mask, dtype)
    case.run_forward(passes, schedule)
    if sizes[-1] <= 128:
        case.run_backward(passes, schedule)


def test_the_order_of_threads_copies_and_products_changes_nothing(passes):
    require_indifference_to_order(passes, (1, 1, 1, 128, 270, 64))


def test_large_scores_neither_overflow_nor_vanish(passes):
    require_large_scores(passes)


def test_a_call_on_hopper_takes_its_kernels(device):
    device("90")
    agree_with_float64(has_backward=False)


def test_what_has_no_kernel_for_hopper_goes_to_the_one_before(device):
    device("90")
    wide = FlashCase((1, 1, 1, 8, 8, 256), FULL, "bf16").call()
    cupy = sys.modules["cupy"]
    assert resolve_kernel(cupy, wide, FORWARD, kernel="auto", dtype="bf16") == "wgmma"
    assert resolve_kernel(cupy, wide, BACKWARD, kernel="auto", dtype="bf16") == "mma"
    assert resolve_kernel(cupy, wide, FORWARD, kernel="mma", dtype="bf16") == "mma"
    empty = wide._replace(key_shape=(1, 1, 0, 256))
    assert resolve_kernel(cupy, empty, FORWARD, kernel="auto", dtype="bf16") == "mma"


def test_a_kernel_that_cannot_take_the_call_is_refused_in_one_line(device):
    device("80")
    q = on_device(np.zeros((1, 1, 8, 256), dtype=np.uint16))
    with pytest.raises(ValueError, match="kernel 'tma': expected auto, wgmma, mma, mfma"):
        attention_gpu(q, q, q, kernel="tma")
    with pytest.raises(BackendError, match="flash_forward_wgmma is for sm_90a, not for sm_80"):
        attention_gpu(q, q, q, kernel="wgmma")
    with pytest.raises(BackendError, match="mfma is for gfx90a, gfx942, not for sm_80"):
        attention_gpu(q, q, q, kernel="mfma")
    result = Result(q, on_device(np.zeros((1, 1, 8), dtype=np.float32)))
    with pytest.raises(BackendError, match="it has no d_kv for head_dim 256; kernel mma or mfma"):
        attention_backward_gpu((q, q, q), result, q, kernel="wgmma")
    device("75")
    with pytest.raises(BackendError, match="no attention kernel for sm_75"):
        attention_gpu(q, q, q)
