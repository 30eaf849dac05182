"""Activations on the host: SwiGLU and GELU, forward and backward, by kernels in Numba."""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from kernels.memory_bound.operands import require_same_shape

__all__ = ["gelu_backward_numba", "gelu_numba", "swiglu_backward_numba", "swiglu_numba"]

Array = NDArray[np.floating]


def swiglu_numba(gate: Array, value: Array, *, out: Array | None = None) -> Array:
    """Value times SiLU of the gate; contiguous arrays of one shape, float32 or float64."""
    require_same_shape(gate, value)
    result = np.empty_like(gate) if out is None else out
    require_same_shape(gate, result)
    _kernels().swiglu(gate.ravel(), value.ravel(), result.reshape(-1))
    return result


def swiglu_backward_numba(
    d_y: Array, gate: Array, value: Array, *, out: tuple[Array, Array] | None = None
) -> tuple[Array, Array]:
    """Gradients (d_gate, d_value) of `swiglu_numba`, in `out` where it is given."""
    require_same_shape(d_y, gate, value)
    d_gate, d_value = out or (np.empty_like(gate), np.empty_like(gate))
    require_same_shape(gate, d_gate, d_value)
    operands = (d_y.ravel(), gate.ravel(), value.ravel())
    _kernels().swiglu_backward(operands, d_gate.reshape(-1), d_value.reshape(-1))
    return d_gate, d_value


def gelu_numba(x: Array, *, out: Array | None = None) -> Array:
    """Gaussian error linear unit in its tanh form; a contiguous array, float32 or float64."""
    require_same_shape(x)
    result = np.empty_like(x) if out is None else out
    require_same_shape(x, result)
    _kernels().gelu(x.ravel(), result.reshape(-1))
    return result


def gelu_backward_numba(d_y: Array, x: Array, *, out: Array | None = None) -> Array:
    """Gradient d_x of `gelu_numba`, in `out` where it is given."""
    require_same_shape(d_y, x)
    d_x = np.empty_like(x) if out is None else out
    require_same_shape(x, d_x)
    _kernels().gelu_backward(d_y.ravel(), x.ravel(), d_x.reshape(-1))
    return d_x


def _kernels() -> ModuleType:
    from kernels.memory_bound import host_activations

    return host_activations
