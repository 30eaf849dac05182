"""Norms on the host in Numba: one pass over the rows forward, one backward, all cores.

A row is read once from memory and stays in the first-level cache for its second use. Sums run in
several lanes at once, which is why their order is left to the compiler.
"""

from __future__ import annotations

from types import ModuleType

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
N_PARTS = 64
"""Groups of rows whose weight gradients are summed apart; enough for any host's cores. [1]"""


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
    _kernels().rms_norm_forward(x, weight, x.dtype.type(epsilon), result)
    return result


def rms_norm_backward_numba(
    d_y: Array, x: Array, weight: Array, *, epsilon: float = 1e-6
) -> tuple[Array, Array]:
    """Gradients (d_x, d_weight) of `rms_norm_numba`, of the shapes of x and weight."""
    require_matrices(d_y, x)
    require_row(weight, x)
    d_x = np.empty_like(x)
    parts = np.zeros((N_PARTS, x.shape[1]), dtype=x.dtype)
    _kernels().rms_norm_backward((d_y, x, weight), x.dtype.type(epsilon), d_x, parts)
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
    _kernels().layer_norm_forward(x, (weight, bias), x.dtype.type(epsilon), result)
    return result


def layer_norm_backward_numba(
    d_y: Array, x: Array, weight: Array, *, epsilon: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Gradients (d_x, d_weight, d_bias) of `layer_norm_numba`."""
    require_matrices(d_y, x)
    require_row(weight, x)
    d_x = np.empty_like(x)
    parts = np.zeros((2, N_PARTS, x.shape[1]), dtype=x.dtype)
    _kernels().layer_norm_backward((d_y, x, weight), x.dtype.type(epsilon), d_x, parts)
    d_weight, d_bias = parts.sum(axis=1)
    return d_x, d_weight, d_bias


def _kernels() -> ModuleType:
    from kernels.memory_bound import host_norms

    return host_norms
