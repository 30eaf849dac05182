"""Norms on the host in Numba: one pass over the rows forward, one backward, all cores.

A row is read once from memory and stays in the first-level cache for its second use. Sums run in
several lanes at once, which is why their order is left to the compiler.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.memory_bound.operands import require_matrices, require_row, require_same_shape

__all__ = [
    "layer_norm_backward_numba",
    "layer_norm_numba",
    "rms_norm_backward_numba",
    "rms_norm_numba",
]

Array = NDArray[np.floating]
RELAXED = {"reassoc", "contract"}
N_PARTS = 64
"""Groups of rows whose weight gradients are summed apart; enough for any host's cores. [1]"""


class _Pair(NamedTuple):
    forward: Callable[..., None]
    backward: Callable[..., None]


class _RowSteps(NamedTuple):
    square_sum: Callable[..., float]
    mean: Callable[..., float]
    backward: Callable[..., None]


def rms_norm_numba(
    x: Array, weight: Array, *, epsilon: float = 1e-6, out: Array | None = None
) -> Array:
    """Rows over their root mean square, times the weights of the columns.

    Parameters
    ----------
    x
        Contiguous matrix (n_rows, n_columns), float32 or float64.
    weight
        Row of n_columns, same type.
    epsilon
        Added to the mean square. [1]
    out
        Receives the result; made when it is not given.
    """
    require_matrices(x)
    require_row(weight, x)
    result = np.empty_like(x) if out is None else out
    require_same_shape(x, result)
    _rms_norm().forward(x, weight, x.dtype.type(epsilon), result)
    return result


def rms_norm_backward_numba(
    d_y: Array, x: Array, weight: Array, *, epsilon: float = 1e-6
) -> tuple[Array, Array]:
    """Gradients (d_x, d_weight) of `rms_norm_numba`, of the shapes of x and weight."""
    require_matrices(d_y, x)
    require_row(weight, x)
    d_x = np.empty_like(x)
    parts = np.zeros((N_PARTS, x.shape[1]), dtype=x.dtype)
    _rms_norm().backward((d_y, x, weight), x.dtype.type(epsilon), d_x, parts)
    return d_x, parts.sum(axis=0)


def layer_norm_numba(
    x: Array, weight: Array, bias: Array, *, epsilon: float = 1e-5, out: Array | None = None
) -> Array:
    """Rows less their mean over their standard deviation, scaled and shifted by column.

    Parameters
    ----------
    x
        Contiguous matrix (n_rows, n_columns), float32 or float64.
    weight, bias
        Rows of n_columns, same type.
    epsilon
        Added to the variance. [1]
    out
        Receives the result; made when it is not given.
    """
    require_matrices(x)
    require_row(weight, x)
    require_row(bias, x)
    result = np.empty_like(x) if out is None else out
    require_same_shape(x, result)
    _layer_norm().forward(x, (weight, bias), x.dtype.type(epsilon), result)
    return result


def layer_norm_backward_numba(
    d_y: Array, x: Array, weight: Array, *, epsilon: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Gradients (d_x, d_weight, d_bias) of `layer_norm_numba`."""
    require_matrices(d_y, x)
    require_row(weight, x)
    d_x = np.empty_like(x)
    parts = np.zeros((2, N_PARTS, x.shape[1]), dtype=x.dtype)
    _layer_norm().backward((d_y, x, weight), x.dtype.type(epsilon), d_x, parts)
    d_weight, d_bias = parts.sum(axis=1)
    return d_x, d_weight, d_bias


@cache
def _row_steps() -> _RowSteps:
    from numba import njit

    @njit(cache=True, fastmath=RELAXED)  # type: ignore[untyped-decorator, unused-ignore]
    def square_sum(row, middle):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        total = row[0] * 0
        for j in range(row.shape[0]):
            total += (row[j] - middle) * (row[j] - middle)
        return total

    @njit(cache=True, fastmath=RELAXED)  # type: ignore[untyped-decorator, unused-ignore]
    def mean(row):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        total = row[0] * 0
        for j in range(row.shape[0]):
            total += row[j]
        return total / row.dtype.type(row.shape[0])

    @njit(cache=True, fastmath=RELAXED)  # type: ignore[untyped-decorator, unused-ignore]
    def backward_row(d_y, x, weight, d_x, middle, inverse, is_centred):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, PLR0917
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

    return _RowSteps(square_sum, mean, backward_row)


@cache
def _rms_norm() -> _Pair:
    from numba import njit, prange

    square_sum, _mean, backward_row = _row_steps()

    @njit(parallel=True, cache=True, fastmath=RELAXED)  # type: ignore[untyped-decorator, unused-ignore]
    def forward(x, weight, epsilon, out):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        n = x.dtype.type(x.shape[1])
        one = x.dtype.type(1)
        for i in prange(x.shape[0]):
            row, result = x[i], out[i]
            inverse = one / np.sqrt(square_sum(row, row.dtype.type(0)) / n + epsilon)
            for j in range(row.shape[0]):
                result[j] = row[j] * inverse * weight[j]

    @njit(parallel=True, cache=True, fastmath=RELAXED)  # type: ignore[untyped-decorator, unused-ignore]
    def backward(operands, epsilon, d_x, parts):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        d_y, x, weight = operands
        n = x.dtype.type(x.shape[1])
        one, zero = x.dtype.type(1), x.dtype.type(0)
        for part in prange(parts.shape[0]):
            sums = parts[part]
            for i in range(part, x.shape[0], parts.shape[0]):
                row, gradient = x[i], d_y[i]
                inverse = one / np.sqrt(square_sum(row, zero) / n + epsilon)
                backward_row(gradient, row, weight, d_x[i], zero, inverse, zero)
                for j in range(row.shape[0]):
                    sums[j] += gradient[j] * row[j] * inverse

    return _Pair(forward, backward)


@cache
def _layer_norm() -> _Pair:
    from numba import njit, prange

    square_sum, mean, backward_row = _row_steps()

    @njit(parallel=True, cache=True, fastmath=RELAXED)  # type: ignore[untyped-decorator, unused-ignore]
    def forward(x, scale, epsilon, out):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        weight, bias = scale
        n = x.dtype.type(x.shape[1])
        one = x.dtype.type(1)
        for i in prange(x.shape[0]):
            row, result = x[i], out[i]
            middle = mean(row)
            inverse = one / np.sqrt(square_sum(row, middle) / n + epsilon)
            for j in range(row.shape[0]):
                result[j] = (row[j] - middle) * inverse * weight[j] + bias[j]

    @njit(parallel=True, cache=True, fastmath=RELAXED)  # type: ignore[untyped-decorator, unused-ignore]
    def backward(operands, epsilon, d_x, parts):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        d_y, x, weight = operands
        n = x.dtype.type(x.shape[1])
        one = x.dtype.type(1)
        for part in prange(parts.shape[1]):
            d_weight, d_bias = parts[0, part], parts[1, part]
            for i in range(part, x.shape[0], parts.shape[1]):
                row, gradient = x[i], d_y[i]
                middle = mean(row)
                inverse = one / np.sqrt(square_sum(row, middle) / n + epsilon)
                backward_row(gradient, row, weight, d_x[i], middle, inverse, one)
                for j in range(row.shape[0]):
                    d_weight[j] += gradient[j] * (row[j] - middle) * inverse
                    d_bias[j] += gradient[j]

    return _Pair(forward, backward)
