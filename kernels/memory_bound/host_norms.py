# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
"""Norms on the host in Numba: one pass over the rows forward, one backward, all cores.

A row is read once from memory and stays in the first-level cache for its second use. Sums run in
several lanes at once, which is why their order is left to the compiler.

This module imports Numba; `cpu_norms.py` imports it when a kernel is first used.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

__all__ = ["layer_norm", "layer_norm_backward", "rms_norm", "rms_norm_backward"]

RELAXED = {"reassoc", "contract"}


@njit(cache=True, error_model="numpy", fastmath=RELAXED)
def _square_sum(row, middle):
    total = row[0] * 0
    for j in range(row.shape[0]):
        total += (row[j] - middle) * (row[j] - middle)
    return total


@njit(cache=True, error_model="numpy", fastmath=RELAXED)
def _mean(row):
    total = row[0] * 0
    for j in range(row.shape[0]):
        total += row[j]
    return total / row.dtype.type(row.shape[0])


@njit(cache=True, error_model="numpy", fastmath=RELAXED)
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


@njit(parallel=True, cache=True, error_model="numpy", fastmath=RELAXED)
def rms_norm(x, weight, epsilon, out):
    """Rows of x over their root mean square, times the weights."""
    n = x.dtype.type(x.shape[1])
    one = x.dtype.type(1)
    for i in prange(x.shape[0]):
        row, result = x[i], out[i]
        inverse = one / np.sqrt(_square_sum(row, row.dtype.type(0)) / n + epsilon)
        for j in range(row.shape[0]):
            result[j] = row[j] * inverse * weight[j]


@njit(parallel=True, cache=True, error_model="numpy", fastmath=RELAXED)
def rms_norm_backward(operands, epsilon, d_x, parts):
    """Gradients by x, and by the weights for each group of rows, from (d_y, x, weight)."""
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


@njit(parallel=True, cache=True, error_model="numpy", fastmath=RELAXED)
def layer_norm(x, scale, epsilon, out):
    """Rows of x less their mean over their deviation, scaled by (weight, bias)."""
    weight, bias = scale
    n = x.dtype.type(x.shape[1])
    one = x.dtype.type(1)
    for i in prange(x.shape[0]):
        row, result = x[i], out[i]
        middle = _mean(row)
        inverse = one / np.sqrt(_square_sum(row, middle) / n + epsilon)
        for j in range(row.shape[0]):
            result[j] = (row[j] - middle) * inverse * weight[j] + bias[j]


@njit(parallel=True, cache=True, error_model="numpy", fastmath=RELAXED)
def layer_norm_backward(operands, epsilon, d_x, parts):
    """Gradients by x, and by weights and biases for each group, from (d_y, x, weight)."""
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
