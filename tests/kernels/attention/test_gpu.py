"""Flash attention against float64 where there is a GPU; elsewhere its kernels run emulated."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.attention.gpu import (
    attention_backward_gpu,
    attention_gpu,
    attention_unfused_gpu,
)
from kernels.attention.mask import CAUSAL, FULL, Mask
from kernels.attention.reference import attention_backward_reference, attention_reference
from kernels.gemm.reference import relative_error_fraction
from kernels.gpu.cupy_module import why_no_gpu
from tests.kernels.gpu.emulation import loaded, round_to, stored

TOLERANCE = {"bf16": 1e-2, "fp16": 2e-3}
# Batch, heads, kv heads, query_len, key_len, head_dim.
SIZES = [
    (2, 4, 4, 256, 256, 64),
    (1, 8, 2, 513, 513, 128),
    (1, 2, 1, 300, 300, 256),
    (1, 2, 2, 77, 1000, 96),
    (1, 2, 1, 150, 33, 40),
]


@pytest.fixture(scope="module")
def cupy():
    reason = why_no_gpu()
    if reason is not None:
        pytest.skip(reason)
    import cupy as module

    return module


def operands(sizes, dtype):
    batch, heads, kv_heads, query_len, key_len, head_dim = sizes
    random = np.random.default_rng(sum(sizes))
    shapes = [(heads, query_len), (kv_heads, key_len), (kv_heads, key_len), (heads, query_len)]
    values = [
        random.standard_normal((batch, n_heads, length, head_dim)).astype(np.float32)
        for n_heads, length in shapes
    ]
    return [stored(value, dtype) for value in values], [
        round_to(value, dtype).astype(np.float64) for value in values
    ]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("mask", [FULL, CAUSAL, Mask(is_causal=True, window=100)])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("kernel", ["auto", "mma"])
def test_both_passes_agree_with_float64(cupy, kernel, sizes, mask, dtype):
    if kernel == "mma" and cupy.cuda.runtime.is_hip:
        pytest.skip("mma.sync is Nvidia's")
    bits, (q, k, v, gradient) = operands(sizes, dtype)
    *on_device, d_out = (cupy.asarray(array) for array in bits)
    result = attention_gpu(*on_device, mask=mask, kernel=kernel)
    truth = attention_reference(q, k, v, mask=mask)

    def error(found, expected):
        return relative_error_fraction(loaded(cupy.asnumpy(found), dtype), expected)

    assert error(result.out, truth.out) < TOLERANCE[dtype]
    seen = np.isfinite(truth.lse)
    lse = cupy.asnumpy(result.lse)
    np.testing.assert_array_equal(np.isfinite(lse), seen)
    assert relative_error_fraction(lse[seen], truth.lse[seen]) < 1e-4
    found = attention_backward_gpu(tuple(on_device), result, d_out, mask=mask, kernel=kernel)
    expected = attention_backward_reference(q, k, v, gradient, mask=mask)
    for ours, theirs in zip(found, expected, strict=True):
        assert error(ours, theirs) < TOLERANCE[dtype]


@pytest.mark.gpu
@pytest.mark.parametrize("sizes", SIZES)
def test_the_unfused_form_agrees_with_float64(cupy, sizes):
    bits, (q, k, v, _gradient) = operands(sizes, "fp16")
    out = attention_unfused_gpu(*(cupy.asarray(array) for array in bits[:3]), mask=CAUSAL)
    truth = attention_reference(q, k, v, mask=CAUSAL)
    assert relative_error_fraction(cupy.asnumpy(out).astype(np.float64), truth.out) < 5e-3
