# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
"""Numba kernels of the norms on the host, one pass over the rows each.

They stand at the top of a module because Numba keeps compiled code only of functions that close
over nothing; `cpu_norms.py` imports this module when a kernel is first used.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

__all__ = ["layer_norm_backward", "layer_norm_forward", "rms_norm_backward", "rms_norm_forward"]

RELAXED = {"reassoc", "contract"}


@njit(cache=True, fastmath=RELAXED)
def _square_sum(row, middle):
    total = row[0] * 0
    for j in range(row.shape[0]):
        total += (row[j] - middle) * (row[j] - middle)
    return total


@njit(cache=True, fastmath=RELAXED)
def _mean(row):
    total = row[0] * 0
    for j in range(row.shape[0]):
        total += row[j]
    return total / row.dtype.type(row.shape[0])


@njit(cache=True, fastmath=RELAXED)
def _backward_row(d_y, x, weight, d_x, middle, inverse, is_centred):  # noqa: PLR0917
    n = x.dtype.type(x.shape[0])
    along = x[0] * 0
    total = x[0] * 0
    for j in range(x.shape[0]):
        d_unit = d_y[j] * weight[j]
        along += d_unit * (x[j] - middle)
        total += d_unit
    along = along * inverse / n
    shift = total / n * is_centred
    for j in range(x.shape[0]):
        d_x[j] = inverse * (d_y[j] * weight[j] - shift - (x[j] - middle) * inverse * along)


@njit(parallel=True, cache=True, fastmath=RELAXED)
def rms_norm_forward(x, weight, epsilon, out):
    """Rows over their root mean square, times the weights."""
    n = x.dtype.type(x.shape[1])
    one = x.dtype.type(1)
    for i in prange(x.shape[0]):
        row, result = x[i], out[i]
        inverse = one / np.sqrt(_square_sum(row, row.dtype.type(0)) / n + epsilon)
        for j in range(row.shape[0]):
            result[j] = row[j] * inverse * weight[j]


@njit(parallel=True, cache=True, fastmath=RELAXED)
def rms_norm_backward(operands, epsilon, d_x, parts):
    """Gradient by x, and by the weights in groups of rows."""
    d_y, x, weight = operands
    n = x.dtype.type(x.shape[1])
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for part in prange(parts.shape[0]):
        sums = parts[part]
        for i in range(part, x.shape[0], parts.shape[0]):
            row, gradient = x[i], d_y[i]
            inverse = one / np.sqrt(_square_sum(row, zero) / n + epsilon)
            _backward_row(gradient, row, weight, d_x[i], zero, inverse, zero)
            for j in range(row.shape[0]):
                sums[j] += gradient[j] * row[j] * inverse


@njit(parallel=True, cache=True, fastmath=RELAXED)
def layer_norm_forward(x, scale, epsilon, out):
    """Rows less their mean over their deviation, scaled and shifted."""
    weight, bias = scale
    n = x.dtype.type(x.shape[1])
    one = x.dtype.type(1)
    for i in prange(x.shape[0]):
        row, result = x[i], out[i]
        middle = _mean(row)
        inverse = one / np.sqrt(_square_sum(row, middle) / n + epsilon)
        for j in range(row.shape[0]):
            result[j] = (row[j] - middle) * inverse * weight[j] + bias[j]


@njit(parallel=True, cache=True, fastmath=RELAXED)
def layer_norm_backward(operands, epsilon, d_x, parts):
    """Gradient by x, and by scale and shift in groups of rows."""
    d_y, x, weight = operands
    n = x.dtype.type(x.shape[1])
    one = x.dtype.type(1)
    for part in prange(parts.shape[1]):
        d_weight, d_bias = parts[0, part], parts[1, part]
        for i in range(part, x.shape[0], parts.shape[1]):
            row, gradient = x[i], d_y[i]
            middle = _mean(row)
            inverse = one / np.sqrt(_square_sum(row, middle) / n + epsilon)
            _backward_row(gradient, row, weight, d_x[i], middle, inverse, one)
            for j in range(row.shape[0]):
                d_weight[j] += gradient[j] * (row[j] - middle) * inverse
                d_bias[j] += gradient[j]
