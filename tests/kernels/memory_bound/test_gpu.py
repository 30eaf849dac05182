"""Memory-bound operations against float64 where there is a GPU; elsewhere they run emulated."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.gemm.reference import relative_error_fraction
from kernels.gpu.cupy_module import why_no_gpu
from kernels.memory_bound import gpu, reference
from tests.kernels.gpu.emulation import loaded, round_to, stored

TOLERANCE = {"bf16": 1e-2, "fp16": 2e-3, "fp32": 1e-5}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE)
SHAPES = pytest.mark.parametrize("shape", [(64, 4096), (7, 12_288), (33, 1023)])


@pytest.fixture(scope="module")
def cupy():
    reason = why_no_gpu()
    if reason is not None:
        pytest.skip(reason)
    import cupy as module

    return module


class Operands:
    """Random arrays of one type on the device, and their exact values."""

    def __init__(self, cupy, dtype):
        self.cupy, self.dtype, self.random = cupy, dtype, np.random.default_rng(8)

    def draw(self, *shape):
        values = self.random.standard_normal(shape).astype(np.float32)
        exact = round_to(values, self.dtype).astype(np.float64)
        return self.cupy.asarray(stored(values, self.dtype)), exact

    def close(self, found, truth):
        found = found if isinstance(found, tuple) else (found,)
        truth = truth if isinstance(truth, tuple) else (truth,)
        for ours, theirs in zip(found, truth, strict=True):
            values = loaded(self.cupy.asnumpy(ours), self.dtype)
            assert relative_error_fraction(values, theirs) < TOLERANCE[self.dtype]


@pytest.mark.gpu
@DTYPES
@SHAPES
def test_norms(cupy, shape, dtype):
    draw = Operands(cupy, dtype)
    (x, x_), (d_y, d_), (w, w_), (b, b_) = (
        draw.draw(*size) for size in (shape, shape, shape[1:], shape[1:])
    )
    draw.close(gpu.rms_norm_gpu(x, w), reference.rms_norm_reference(x_, w_))
    draw.close(gpu.layer_norm_gpu(x, w, b), reference.layer_norm_reference(x_, w_, b_))
    draw.close(
        gpu.rms_norm_backward_gpu(d_y, x, w), reference.rms_norm_backward_reference(d_, x_, w_)
    )
    draw.close(
        gpu.layer_norm_backward_gpu(d_y, x, w),
        reference.layer_norm_backward_reference(d_, x_, w_),
    )


@pytest.mark.gpu
@DTYPES
@SHAPES
def test_activations_and_streams(cupy, shape, dtype):
    draw = Operands(cupy, dtype)
    (x, a), (y, b), (z, c) = (draw.draw(*shape) for _ in range(3))
    draw.close(gpu.swiglu_gpu(x, y), reference.swiglu_reference(a, b))
    draw.close(gpu.swiglu_backward_gpu(x, y, z), reference.swiglu_backward_reference(a, b, c))
    draw.close(gpu.gelu_gpu(x), reference.gelu_reference(a))
    draw.close(gpu.gelu_backward_gpu(x, y), reference.gelu_backward_reference(a, b))
    draw.close(gpu.copy_gpu(x), a)
    draw.close(gpu.triad_gpu(x, y), a + 3.0 * b)


@pytest.mark.gpu
@DTYPES
@SHAPES
def test_loss_and_optimizer(cupy, shape, dtype):
    draw = Operands(cupy, dtype)
    logits, z = draw.draw(*shape)
    target = draw.random.integers(0, shape[1], shape[0]).astype(np.int32)
    weights = np.ones(shape[0], dtype=np.float32)
    loss, lse = gpu.cross_entropy_gpu(logits, cupy.asarray(target))
    truth = reference.cross_entropy_reference(z, target)
    np.testing.assert_allclose(cupy.asnumpy(loss), truth[0], rtol=1e-4)
    found = gpu.cross_entropy_backward_gpu(cupy.asarray(weights), logits, cupy.asarray(target), lse)
    draw.close(found, reference.cross_entropy_backward_reference(weights, z, target))
    weight = draw.random.standard_normal(shape).astype(np.float32)
    state = [cupy.asarray(array) for array in (weight, 0.1 * weight, weight**2)]
    rule = reference.AdamW(n_step=5)
    expected = reference.adamw_reference(weight, z, (0.1 * weight, weight**2), rule)
    gpu.adamw_gpu(state[0], logits, (state[1], state[2]), rule)
    for ours, theirs in zip(state, expected, strict=True):
        assert relative_error_fraction(cupy.asnumpy(ours), theirs) < 1e-5
