"""The attention oracle against definitions and finite differences."""

import numpy as np
import pytest

from kernels.attention.mask import CAUSAL, FULL, Mask
from kernels.attention.reference import attention_backward_reference, attention_reference
from kernels.gemm.reference import relative_error_fraction

MASKS = [FULL, CAUSAL, Mask(window=2), Mask(is_causal=True, window=3)]


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_one_row_is_the_softmax_written_out(random_heads, mask):
    q, k, v, _ = random_heads(heads=4, kv_heads=2, query_len=4, key_len=6, head_dim=3, dtype="f8")
    out, lse = attention_reference(q, k, v, mask=mask, scale=0.7)
    keys = np.flatnonzero(mask.visible(4, 6)[1])
    exponentials = np.exp(0.7 * k[0, 1, keys] @ q[0, 3, 1])
    expected = exponentials @ v[0, 1, keys] / exponentials.sum()
    np.testing.assert_allclose(out[0, 3, 1], expected, rtol=1e-13)
    assert lse[0, 3, 1] == pytest.approx(np.log(exponentials.sum()), rel=1e-13)


@pytest.mark.parametrize("mask", MASKS, ids=str)
@pytest.mark.parametrize(("query_len", "key_len"), [(4, 5), (5, 3)])
def test_gradients_are_the_slopes_of_the_forward_pass(random_heads, mask, query_len, key_len):
    *operands, gradient = random_heads(
        heads=2, query_len=query_len, key_len=key_len, head_dim=3, dtype="f8"
    )
    found = attention_backward_reference(*operands, gradient, mask=mask)
    for operand, gradient_by_operand in zip(operands, found, strict=True):
        slopes = np.zeros_like(operand)
        for index in np.ndindex(operand.shape):
            slopes[index] = central_difference(operands, operand, index, gradient, mask)
        assert relative_error_fraction(gradient_by_operand, slopes) < 1e-8


def central_difference(operands, operand, index, gradient, mask, step=1e-5):
    middle = operand[index]
    losses = []
    for value in (middle + step, middle - step):
        operand[index] = value
        losses.append((attention_reference(*operands, mask=mask).out * gradient).sum())
    operand[index] = middle
    return (losses[0] - losses[1]) / (2 * step)


def test_queries_that_see_nothing_give_zeros(random_heads):
    q, k, v, gradient = random_heads(query_len=5, key_len=2, head_dim=4)
    out, lse = attention_reference(q, k, v, mask=CAUSAL)
    assert (out[0, 0, :3] == 0).all()
    assert np.isneginf(lse[0, 0, :3]).all()
    assert np.isfinite(lse[0, 0, 3:]).all()
    assert (attention_backward_reference(q, k, v, gradient, mask=CAUSAL).dq[0, 0, :3] == 0).all()


def test_float32_operands_are_summed_in_double_precision(random_heads):
    q, k, v, _ = random_heads(query_len=3, key_len=50, head_dim=4)
    out = attention_reference(q, k, v).out
    wide = attention_reference(*(operand.astype(np.float64) for operand in (q, k, v))).out
    np.testing.assert_array_equal(out, wide)
