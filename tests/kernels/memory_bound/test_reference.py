"""Gradients of the oracles against central differences, and their closed forms."""

import numpy as np
import pytest

from kernels.memory_bound import reference as oracle

STEP = 1e-6
RANDOM = np.random.default_rng(5)
X, G = RANDOM.standard_normal((2, 4, 7))
OTHER = RANDOM.standard_normal((4, 7))
WEIGHT, BIAS = RANDOM.standard_normal((2, 7))
TARGET = np.array([0, 6, 3, 3])


def by_differences(function, x):
    """Derivative of a scalar function by every element of x."""
    gradient = np.empty_like(x)
    for place in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[place] += STEP
        down[place] -= STEP
        gradient[place] = (function(up) - function(down)) / (2 * STEP)
    return gradient


def rms(x, w):
    return oracle.rms_norm_reference(x, w)


def layer(x, w):
    return oracle.layer_norm_reference(x, w, BIAS)


@pytest.mark.parametrize(
    ("forward", "backward"),
    [
        (rms, oracle.rms_norm_backward_reference),
        (layer, lambda g, x, w: oracle.layer_norm_backward_reference(g, x, w)[:2]),
    ],
)
def test_norms(forward, backward):
    d_x, d_weight = backward(G, X, WEIGHT)
    np.testing.assert_allclose(
        d_x, by_differences(lambda x: (G * forward(x, WEIGHT)).sum(), X), atol=1e-7
    )
    np.testing.assert_allclose(
        d_weight, by_differences(lambda w: (G * forward(X, w)).sum(), WEIGHT), atol=1e-7
    )


def test_layer_norm_bias():
    d_bias = oracle.layer_norm_backward_reference(G, X, WEIGHT)[2]
    np.testing.assert_allclose(d_bias, G.sum(axis=0))


def test_activations():
    d_gate, d_value = oracle.swiglu_backward_reference(G, X, OTHER)
    swiglu = oracle.swiglu_reference
    np.testing.assert_allclose(
        d_gate, by_differences(lambda x: (G * swiglu(x, OTHER)).sum(), X), atol=1e-7
    )
    np.testing.assert_allclose(
        d_value, by_differences(lambda v: (G * swiglu(X, v)).sum(), OTHER), atol=1e-7
    )
    np.testing.assert_allclose(
        oracle.gelu_backward_reference(G, X),
        by_differences(lambda x: (G * oracle.gelu_reference(x)).sum(), X),
        atol=1e-7,
    )


def test_cross_entropy():
    weights = G[:, 0]
    np.testing.assert_allclose(
        oracle.cross_entropy_backward_reference(weights, X, TARGET),
        by_differences(lambda x: (weights * oracle.cross_entropy_reference(x, TARGET)[0]).sum(), X),
        atol=1e-7,
    )
    loss, log_sum_exp = oracle.cross_entropy_reference(np.zeros((4, 7)), TARGET)
    np.testing.assert_allclose(loss, np.log(7.0))
    np.testing.assert_allclose(log_sum_exp, np.log(7.0))


def test_first_step_of_the_optimizer_moves_by_the_learning_rate():
    rule = oracle.AdamW(weight_decay=0.0, epsilon=0.0)
    zeros = np.zeros_like(X)
    weight, first, second = oracle.adamw_reference(X, G, (zeros, zeros), rule)
    np.testing.assert_allclose(weight, X - rule.learning_rate * np.sign(G))
    np.testing.assert_allclose(first, 0.1 * G)
    np.testing.assert_allclose(second, 0.001 * G**2)
