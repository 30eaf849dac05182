# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
"""Activations on the host in Numba: one pass over flat arrays, vector code on all cores.

This module imports Numba; `cpu_activations.py` imports it when a kernel is first used.
"""

from __future__ import annotations

from numba import njit, prange

from kernels.compiled_code import forget_older_code
from kernels.memory_bound import host_exponential
from kernels.memory_bound.host_exponential import exponential
from kernels.memory_bound.reference import GELU_CUBIC, GELU_SCALE

__all__ = ["gelu", "gelu_backward", "swiglu", "swiglu_backward"]

FAR = 30.0
"""Distance from zero where the slope of GELU is 0 or 1 to the last digit of float64."""


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _sigmoid(x, one):
    # Where the exponential overflows, one over it is zero, as it should be.
    return one / (one + exponential(-x))


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract"})
def swiglu(gate, value, out):
    """Out = gate sigmoid(gate) value."""
    one = gate.dtype.type(1)
    for i in prange(gate.size):
        out[i] = gate[i] * _sigmoid(gate[i], one) * value[i]


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract"})
def swiglu_backward(operands, d_gate, d_value):
    """Gradients by the gate and by the value, from (d_y, gate, value)."""
    d_y, gate, value = operands
    one = gate.dtype.type(1)
    for i in prange(gate.size):
        part = _sigmoid(gate[i], one)
        d_gate[i] = d_y[i] * value[i] * part * (one + gate[i] * (one - part))
        d_value[i] = d_y[i] * gate[i] * part


# 0.5 (1 + tanh z) = sigmoid(2 z). Constants are in the operand's type, or single precision would be
# computed in double.
@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract"})
def gelu(x, out):
    """Out = x sigmoid(2 z) with z = sqrt(2 / pi) (x + 0.044715 x**3)."""
    scale, cubic = x.dtype.type(2 * GELU_SCALE), x.dtype.type(2 * GELU_SCALE * GELU_CUBIC)
    one = x.dtype.type(1)
    for i in prange(x.size):
        out[i] = x[i] * _sigmoid(x[i] * (scale + cubic * x[i] * x[i]), one)


@njit(parallel=True, cache=True, error_model="numpy", fastmath={"contract"})
def gelu_backward(d_y, x, d_x):
    """Gradient by x."""
    scale, cubic = x.dtype.type(2 * GELU_SCALE), x.dtype.type(2 * GELU_SCALE * GELU_CUBIC)
    one, three, far = x.dtype.type(1), x.dtype.type(3), x.dtype.type(FAR)
    for i in prange(x.size):
        # Far out the cube would overflow, and zero times infinity is no number.
        above = -far if x[i] < -far else x[i]
        near = far if above > far else above
        square = cubic * near * near
        part = _sigmoid(near * (scale + square), one)
        d_x[i] = d_y[i] * (part + near * part * (one - part) * (scale + three * square))


forget_older_code(gelu, host_exponential)
