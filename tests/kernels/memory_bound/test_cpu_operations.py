"""The host's memory-bound operations against their float64 oracles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.gemm.reference import relative_error_fraction
from kernels.memory_bound import reference as oracle
from kernels.memory_bound.cpu_activations import (
    gelu_backward_numba,
    gelu_numba,
    swiglu_backward_numba,
    swiglu_numba,
)
from kernels.memory_bound.cpu_adamw import adamw_numba
from kernels.memory_bound.cpu_cross_entropy import (
    cross_entropy_backward_numba,
    cross_entropy_numba,
)
from kernels.memory_bound.cpu_norms import (
    layer_norm_backward_numba,
    layer_norm_numba,
    rms_norm_backward_numba,
    rms_norm_numba,
)

TOLERANCE = {"f4": 1e-5, "f8": 1e-13}
MANY_COLUMNS = 8
"""With fewer, the gradient of a norm is mostly cancellation."""
ROWS = st.integers(1, 70)
COLUMNS = st.integers(1, 40) | st.just(1037)
DTYPES = st.sampled_from(["f4", "f8"])
SCALES = st.sampled_from([1e-3, 1.0, 50.0])


def close(found, truth):
    found = found if isinstance(found, tuple) else (found,)
    truth = truth if isinstance(truth, tuple) else (truth,)
    for result, expected in zip(found, truth, strict=True):
        assert result.shape == expected.shape
        assert relative_error_fraction(result, expected) <= TOLERANCE[result.dtype.str[1:]]


@st.composite
def operands(draw):
    """Two matrices and two rows of one type and scale."""
    shape, dtype, scale = (draw(ROWS), draw(COLUMNS)), draw(DTYPES), draw(SCALES)
    random = np.random.default_rng(draw(st.integers(0, 99)))
    matrices = [(scale * random.standard_normal(shape)).astype(dtype) for _ in range(2)]
    rows = [random.standard_normal(shape[1]).astype(dtype) for _ in range(2)]
    return *matrices, *rows


@settings(deadline=None, max_examples=30)
@given(operands())
def test_norms(given_operands):
    x, d_y, weight, _bias = given_operands
    poisoned = np.full_like(x, np.nan)
    rms_norm_numba(x, weight, out=poisoned)
    close(poisoned, oracle.rms_norm_reference(x, weight))
    if x.shape[1] >= MANY_COLUMNS:
        close(
            rms_norm_backward_numba(d_y, x, weight),
            oracle.rms_norm_backward_reference(d_y, x, weight),
        )


@settings(deadline=None, max_examples=30)
@given(operands())
def test_layer_norm(given_operands):
    x, d_y, weight, bias = given_operands
    poisoned = np.full_like(x, np.nan)
    layer_norm_numba(x, weight, bias, out=poisoned)
    close(poisoned, oracle.layer_norm_reference(x, weight, bias))
    if x.shape[1] >= MANY_COLUMNS:
        close(
            layer_norm_backward_numba(d_y, x, weight),
            oracle.layer_norm_backward_reference(d_y, x, weight),
        )


@settings(deadline=None, max_examples=30)
@given(operands())
def test_activations(given_operands):
    x, y, *_rows = given_operands
    poisoned = np.full_like(x, np.nan)
    close(swiglu_numba(x, y, out=poisoned), oracle.swiglu_reference(x, y))
    both = (np.full_like(x, np.nan), np.full_like(x, np.nan))
    assert swiglu_backward_numba(y, x, y, out=both)[0] is both[0]
    close(both, oracle.swiglu_backward_reference(y, x, y))
    close(gelu_numba(x, out=poisoned), oracle.gelu_reference(x))
    poisoned[:] = np.nan
    close(gelu_backward_numba(y, x, out=poisoned), oracle.gelu_backward_reference(y, x))


@settings(deadline=None, max_examples=30)
@given(operands(), st.integers(0, 99))
def test_cross_entropy(given_operands, seed):
    logits, *_others = given_operands
    random = np.random.default_rng(seed)
    target = random.integers(0, logits.shape[1], len(logits))
    weights = random.uniform(0.5, 1.5, len(logits)).astype(logits.dtype)
    loss, log_sum_exp = cross_entropy_numba(logits, target)
    true_loss, true_sum = oracle.cross_entropy_reference(logits, target)
    np.testing.assert_allclose(loss, true_loss, rtol=1e-5, atol=2e-6 * abs(logits).max())
    np.testing.assert_allclose(log_sum_exp, true_sum, rtol=1e-5, atol=1e-6)
    found = cross_entropy_backward_numba(weights, logits, target, log_sum_exp)
    expected = oracle.cross_entropy_backward_reference(weights, logits, target)
    # Where the target wins by far, the gradient is the rounding of one minus one.
    np.testing.assert_allclose(found, expected, atol=1e-4 if logits.dtype == "f4" else 1e-12)
    in_place = cross_entropy_backward_numba(weights, logits, target, log_sum_exp, out=logits)
    assert in_place is logits
    np.testing.assert_array_equal(in_place, found)


def test_extreme_logits_neither_overflow_nor_vanish():
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]], dtype=np.float32)
    loss, log_sum_exp = cross_entropy_numba(logits, np.array([0, 1]))
    np.testing.assert_allclose(loss, [0.0, np.log(3.0)], rtol=1e-6)
    np.testing.assert_allclose(log_sum_exp, [1e4, np.log(3.0) - 1e4], rtol=1e-6)


def test_extreme_activations_saturate():
    x = np.array([-1e4, -100.0, 0.0, 100.0, 1e4], dtype=np.float32)
    ones = np.ones_like(x)
    np.testing.assert_allclose(swiglu_numba(x, ones), np.maximum(x, 0.0), atol=1e-30)
    np.testing.assert_allclose(gelu_numba(x), np.maximum(x, 0.0), atol=1e-30)
    np.testing.assert_allclose(gelu_backward_numba(ones, x), [0, 0, 0.5, 1, 1], atol=1e-30)


EXTREMES = [-np.inf, -3e38, -1e20, -1e4, -89.0, -87.0, -0.0, 0.0, 1e-40, 88.0, 1e4, 1e20, np.inf]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_extreme_and_missing_values_go_through_activations_as_through_the_oracle(dtype):
    x = np.array([*EXTREMES, np.nan] * 9, dtype)  # long enough for vectors and their tail
    y = np.full_like(x, 0.5)
    with np.errstate(all="ignore"):
        pairs = [
            (swiglu_numba(x, y), oracle.swiglu_reference(x, y)),
            (gelu_numba(x), oracle.gelu_reference(x)),
        ]
    for found, truth in pairs:
        np.testing.assert_array_equal(np.isnan(found), np.isnan(truth))
        np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-34)
    slope = gelu_backward_numba(y, x)
    expected = np.where(np.isnan(x), np.nan, np.where(x > 10, 0.5, np.where(x < -10, 0.0, 0.25)))
    np.testing.assert_allclose(slope, expected, atol=1e-30)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("n_classes", [3, 64, 1024, 2500])
def test_masked_infinite_and_missing_logits(dtype, n_classes):
    logits = np.random.default_rng(0).standard_normal((4, n_classes)).astype(dtype)
    logits[0, :-1] = -np.inf  # all masked but the last
    logits[1, : n_classes // 2] = -np.inf
    logits[2, n_classes // 2] = np.nan
    logits[3] = -np.inf
    target = np.full(4, n_classes - 1)
    with np.errstate(invalid="ignore"):
        loss, log_sum_exp = cross_entropy_numba(logits, target)
        true_loss, true_sum = oracle.cross_entropy_reference(logits, target)
    np.testing.assert_allclose(loss[:2], true_loss[:2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log_sum_exp[:2], true_sum[:2], rtol=1e-5)
    assert np.isnan([loss[2], log_sum_exp[2], loss[3]]).all()
    assert log_sum_exp[3] == -np.inf


@settings(deadline=None, max_examples=20)
@given(operands(), st.integers(1, 1000))
def test_optimizer_step(given_operands, n_step):
    gradient, weight, *_rows = given_operands
    rule = oracle.AdamW(n_step=n_step)
    moments = (0.1 * gradient[::-1].copy(), gradient**2)
    expected = oracle.adamw_reference(weight, gradient, moments, rule)
    adamw_numba(weight, gradient, moments, rule)
    close((weight, *moments), expected)


def test_operands_that_do_not_fit_are_refused():
    x, row = np.zeros((2, 3)), np.zeros(3)
    with pytest.raises(ValueError, match="expected float32 or float64"):
        swiglu_numba(x, x.astype("f4"))
    with pytest.raises(ValueError, match=r"shape \(3, 2\): expected \(2, 3\)"):
        swiglu_numba(x, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="not contiguous"):
        gelu_numba(x.T)
    with pytest.raises(ValueError, match="at least one row"):
        rms_norm_numba(np.zeros((0, 3)), row)
    with pytest.raises(ValueError, match=r"row of shape \(2,\)"):
        rms_norm_numba(x, np.zeros(2))
    with pytest.raises(ValueError, match="targets 0 to 3: expected 0 to 2"):
        cross_entropy_numba(x, np.array([0, 3]))
    with pytest.raises(ValueError, match=r"shape \(3, 3\): expected \(2, 3\)"):
        rms_norm_numba(x, row, out=np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"shape \(1, 3\): expected \(2, 3\)"):
        gelu_numba(x, out=np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"values of shape \(1,\)"):
        cross_entropy_backward_numba(np.ones(1), x, np.array([0, 1]), np.ones(2))
    with pytest.raises(ValueError, match="counted from 1"):
        adamw_numba(row, row, (row, row), oracle.AdamW(n_step=0))
