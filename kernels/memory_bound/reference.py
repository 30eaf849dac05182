"""Oracles of the memory-bound operations: NumPy in float64, formulas as the papers write them.

Matrices are (n_rows, n_columns); an operation along a row works on its columns. Gradients carry the
name of what they belong to: `d_x` is the derivative of the loss by `x`.

References
----------
Zhang and Sennrich, Root Mean Square Layer Normalization (2019).
Ba, Kiros and Hinton, Layer Normalization (2016).
Hendrycks and Gimpel, Gaussian Error Linear Units (2016), the tanh form.
Shazeer, GLU Variants Improve Transformer (2020).
Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AdamW",
    "adamw_reference",
    "cross_entropy_backward_reference",
    "cross_entropy_reference",
    "gelu_backward_reference",
    "gelu_reference",
    "layer_norm_backward_reference",
    "layer_norm_reference",
    "rms_norm_backward_reference",
    "rms_norm_reference",
    "swiglu_backward_reference",
    "swiglu_reference",
]

Array = NDArray[np.floating]
Exact = NDArray[np.float64]

GELU_SCALE = math.sqrt(2.0 / math.pi)
GELU_CUBIC = 0.044715


class AdamW(NamedTuple):
    """Constants of one optimizer step."""

    learning_rate: float = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    n_step: int = 1
    """Number of this step, from 1; it corrects the moments' bias. [1]"""


def _exact(*arrays: Array) -> tuple[Exact, ...]:
    return tuple(np.asarray(array, dtype=np.float64) for array in arrays)


def rms_norm_reference(x: Array, weight: Array, *, epsilon: float = 1e-6) -> Exact:
    """Rows over their root mean square, times the weights of the columns."""
    x_, w = _exact(x, weight)
    result: Exact = x_ / np.sqrt((x_**2).mean(axis=1, keepdims=True) + epsilon) * w
    return result


def rms_norm_backward_reference(
    d_y: Array, x: Array, weight: Array, *, epsilon: float = 1e-6
) -> tuple[Exact, Exact]:
    """Gradients (d_x, d_weight) of `rms_norm_reference`."""
    g, x_, w = _exact(d_y, x, weight)
    inverse = 1.0 / np.sqrt((x_**2).mean(axis=1, keepdims=True) + epsilon)
    unit = x_ * inverse
    d_unit = g * w
    d_x = inverse * (d_unit - unit * (d_unit * unit).mean(axis=1, keepdims=True))
    return d_x, (g * unit).sum(axis=0)


def layer_norm_reference(x: Array, weight: Array, bias: Array, *, epsilon: float = 1e-5) -> Exact:
    """Rows less their mean, over their standard deviation, scaled and shifted by column."""
    x_, w, b = _exact(x, weight, bias)
    deviation = x_ - x_.mean(axis=1, keepdims=True)
    variance = (deviation**2).mean(axis=1, keepdims=True)
    result: Exact = deviation / np.sqrt(variance + epsilon) * w + b
    return result


def layer_norm_backward_reference(
    d_y: Array, x: Array, weight: Array, *, epsilon: float = 1e-5
) -> tuple[Exact, Exact, Exact]:
    """Gradients (d_x, d_weight, d_bias) of `layer_norm_reference`."""
    g, x_, w = _exact(d_y, x, weight)
    deviation = x_ - x_.mean(axis=1, keepdims=True)
    inverse = 1.0 / np.sqrt((deviation**2).mean(axis=1, keepdims=True) + epsilon)
    unit = deviation * inverse
    d_unit = g * w
    along = unit * (d_unit * unit).mean(axis=1, keepdims=True)
    d_x = inverse * (d_unit - d_unit.mean(axis=1, keepdims=True) - along)
    return d_x, (g * unit).sum(axis=0), g.sum(axis=0)


def _sigmoid(x: Exact) -> Exact:
    # The half-angle form neither overflows nor loses the small side.
    result: Exact = 0.5 * (1.0 + np.tanh(0.5 * x))
    return result


def swiglu_reference(gate: Array, value: Array) -> Exact:
    """Value times SiLU of the gate."""
    g, v = _exact(gate, value)
    return g * _sigmoid(g) * v


def swiglu_backward_reference(d_y: Array, gate: Array, value: Array) -> tuple[Exact, Exact]:
    """Gradients (d_gate, d_value) of `swiglu_reference`."""
    d, g, v = _exact(d_y, gate, value)
    sigmoid = _sigmoid(g)
    return d * v * sigmoid * (1.0 + g * (1.0 - sigmoid)), d * g * sigmoid


def gelu_reference(x: Array) -> Exact:
    """Gaussian error linear unit in its tanh form."""
    (x_,) = _exact(x)
    result: Exact = 0.5 * x_ * (1.0 + np.tanh(GELU_SCALE * (x_ + GELU_CUBIC * x_**3)))
    return result


def gelu_backward_reference(d_y: Array, x: Array) -> Exact:
    """Gradient d_x of `gelu_reference`."""
    d, x_ = _exact(d_y, x)
    bent = np.tanh(GELU_SCALE * (x_ + GELU_CUBIC * x_**3))
    slope = GELU_SCALE * (1.0 + 3.0 * GELU_CUBIC * x_**2)
    result: Exact = d * (0.5 * (1.0 + bent) + 0.5 * x_ * (1.0 - bent**2) * slope)
    return result


def cross_entropy_reference(logits: Array, target: NDArray[np.integer]) -> tuple[Exact, Exact]:
    """Loss of each row, and the logarithm of the sum of its exponentials.

    Parameters
    ----------
    logits
        Matrix (n_rows, n_classes).
    target
        Class of each row, 0 to n_classes - 1.

    Returns
    -------
    tuple
        (loss, log_sum_exp), each of n_rows.
    """
    (z,) = _exact(logits)
    top = z.max(axis=1)
    log_sum_exp = top + np.log(np.exp(z - top[:, None]).sum(axis=1))
    return log_sum_exp - z[np.arange(len(z)), target], log_sum_exp


def cross_entropy_backward_reference(
    d_loss: Array, logits: Array, target: NDArray[np.integer]
) -> Exact:
    """Gradient d_logits of `cross_entropy_reference`; `d_loss` weights each row."""
    d, z = _exact(d_loss, logits)
    _loss, log_sum_exp = cross_entropy_reference(z, target)
    result: Exact = np.exp(z - log_sum_exp[:, None])
    result[np.arange(len(z)), target] -= 1.0
    result *= d[:, None]
    return result


def adamw_reference(
    weight: Array, gradient: Array, moments: tuple[Array, Array], rule: AdamW
) -> tuple[Exact, Exact, Exact]:
    """New (weight, first moment, second moment) after one step."""
    w, g, first, second = _exact(weight, gradient, *moments)
    first = rule.beta_1 * first + (1.0 - rule.beta_1) * g
    second = rule.beta_2 * second + (1.0 - rule.beta_2) * g**2
    step = first / (1.0 - rule.beta_1**rule.n_step)
    scale = np.sqrt(second / (1.0 - rule.beta_2**rule.n_step)) + rule.epsilon
    w = w * (1.0 - rule.learning_rate * rule.weight_decay) - rule.learning_rate * step / scale
    return w, first, second
