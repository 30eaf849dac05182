"""Activations on the host in Numba: SwiGLU and GELU, forward and backward, all cores."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.memory_bound.operands import require_same_shape
from kernels.memory_bound.reference import GELU_CUBIC, GELU_SCALE

__all__ = ["gelu_backward_numba", "gelu_numba", "swiglu_backward_numba", "swiglu_numba"]

Array = NDArray[np.floating]


class _Activations(NamedTuple):
    swiglu: Callable[..., None]
    swiglu_backward: Callable[..., None]
    gelu: Callable[..., None]
    gelu_backward: Callable[..., None]


def swiglu_numba(gate: Array, value: Array, *, out: Array | None = None) -> Array:
    """Value times SiLU of the gate; contiguous arrays of one shape, float32 or float64."""
    require_same_shape(gate, value)
    result = np.empty_like(gate) if out is None else out
    require_same_shape(gate, result)
    _build().swiglu(gate.ravel(), value.ravel(), result.reshape(-1))
    return result


def swiglu_backward_numba(d_y: Array, gate: Array, value: Array) -> tuple[Array, Array]:
    """Gradients (d_gate, d_value) of `swiglu_numba`."""
    require_same_shape(d_y, gate, value)
    d_gate, d_value = np.empty_like(gate), np.empty_like(gate)
    operands = (d_y.ravel(), gate.ravel(), value.ravel())
    _build().swiglu_backward(operands, d_gate.reshape(-1), d_value.reshape(-1))
    return d_gate, d_value


def gelu_numba(x: Array, *, out: Array | None = None) -> Array:
    """Gaussian error linear unit in its tanh form; a contiguous array, float32 or float64."""
    require_same_shape(x)
    result = np.empty_like(x) if out is None else out
    require_same_shape(x, result)
    _build().gelu(x.ravel(), result.reshape(-1))
    return result


def gelu_backward_numba(d_y: Array, x: Array) -> Array:
    """Gradient d_x of `gelu_numba`."""
    require_same_shape(d_y, x)
    d_x = np.empty_like(x)
    _build().gelu_backward(d_y.ravel(), x.ravel(), d_x.reshape(-1))
    return d_x


@cache
def _build() -> _Activations:
    from numba import njit, prange

    # Sigmoid and tanh both go through exp(-|.|), which cannot overflow.
    @njit(cache=True)  # type: ignore[untyped-decorator, unused-ignore]
    def sigmoid(x):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        small = np.exp(-abs(x))
        return (small if x < 0 else x * 0 + 1) / (1 + small)

    @njit(parallel=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
    def swiglu(gate, value, out):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        for i in prange(gate.size):
            out[i] = gate[i] * sigmoid(gate[i]) * value[i]

    @njit(parallel=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
    def swiglu_backward(operands, d_gate, d_value):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        d_y, gate, value = operands
        for i in prange(gate.size):
            part = sigmoid(gate[i])
            d_gate[i] = d_y[i] * value[i] * part * (1 + gate[i] * (1 - part))
            d_value[i] = d_y[i] * gate[i] * part

    # 0.5 (1 + tanh z) = sigmoid(2 z)
    @njit(parallel=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
    def gelu(x, out):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        # Constants in the operand's type, or single precision would be computed in double.
        scale, cubic = x.dtype.type(2 * GELU_SCALE), x.dtype.type(GELU_CUBIC)
        one = x.dtype.type(1)
        for i in prange(x.size):
            out[i] = x[i] * sigmoid(scale * x[i] * (one + cubic * x[i] * x[i]))

    @njit(parallel=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
    def gelu_backward(d_y, x, d_x):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        scale, cubic = x.dtype.type(2 * GELU_SCALE), x.dtype.type(GELU_CUBIC)
        one, three = x.dtype.type(1), x.dtype.type(3)
        for i in prange(x.size):
            square = cubic * x[i] * x[i]
            part = sigmoid(scale * x[i] * (one + square))
            slope = scale * (one + three * square)
            d_x[i] = d_y[i] * (part + x[i] * part * (one - part) * slope)

    return _Activations(swiglu, swiglu_backward, gelu, gelu_backward)
