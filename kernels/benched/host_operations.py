"""Memory-bound operations as calls without arguments: the host's own kernels, and torch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.benched.case import KernelCase
from kernels.memory_bound.reference import AdamW
from kernels.survey.memory_bound import OPERATIONS, Operand, operation_call
from kernels.survey.torch_device import TorchDevice

__all__ = ["OWN_OPERATIONS", "host_operation", "torch_operation"]

Array = NDArray[Any]

OWN_OPERATIONS = ("rmsnorm", "layernorm", "swiglu", "gelu", "adamw", "cross_entropy")
"""Operations that the project has kernels of, under the names of measurement tables."""

LOSS_SCALE = 11.0
"""Logarithm of a sum of exponentials of some ten thousand normal values, roughly. [1]"""


def host_operation(op: str, direction: str, *, x: Array) -> Callable[[], object]:
    """One pass of an operation on a matrix, with all its other operands.

    Parameters
    ----------
    op
        One of `OWN_OPERATIONS`.
    direction
        fwd or bwd.
    x
        The matrix, float32 or float64; adamw changes it in place.

    Returns
    -------
    callable
        Runs the pass once.
    """
    from kernels.memory_bound import cpu_activations, cpu_adamw, cpu_cross_entropy, cpu_norms

    row = np.ones(x.shape[1], dtype=x.dtype)
    if op == "adamw":
        moments = (np.zeros_like(x), np.ones_like(x))
        gradient, rule = x[::-1].copy(), AdamW(learning_rate=0.0, weight_decay=0.0)
        return lambda: cpu_adamw.adamw_numba(x, gradient, moments, rule)
    if op == "cross_entropy":
        target = np.arange(x.shape[0]) % x.shape[1]
        if direction == "fwd":
            return lambda: cpu_cross_entropy.cross_entropy_numba(x, target)
        d_loss = np.ones(x.shape[0], dtype=x.dtype)
        sums = np.full_like(d_loss, LOSS_SCALE)
        return lambda: cpu_cross_entropy.cross_entropy_backward_numba(d_loss, x, target, sums)
    d_y, out = x[::-1].copy(), np.empty_like(x)
    calls: dict[tuple[str, str], Callable[[], object]] = {
        ("rmsnorm", "fwd"): lambda: cpu_norms.rms_norm_numba(x, row, out=out),
        ("rmsnorm", "bwd"): lambda: cpu_norms.rms_norm_backward_numba(d_y, x, row),
        ("layernorm", "fwd"): lambda: cpu_norms.layer_norm_numba(x, row, row, out=out),
        ("layernorm", "bwd"): lambda: cpu_norms.layer_norm_backward_numba(d_y, x, row),
        ("swiglu", "fwd"): lambda: cpu_activations.swiglu_numba(x, d_y, out=out),
        ("swiglu", "bwd"): lambda: cpu_activations.swiglu_backward_numba(d_y, x, out),
        ("gelu", "fwd"): lambda: cpu_activations.gelu_numba(x, out=out),
        ("gelu", "bwd"): lambda: cpu_activations.gelu_backward_numba(d_y, x),
    }
    if (op, direction) == ("swiglu", "bwd"):
        out[...] = d_y  # what is read must have been written, or its pages are all one
    return calls[op, direction]


def torch_operation(case: KernelCase, device: TorchDevice) -> Callable[[], object]:
    """The same pass by torch, eagerly, in the format that the survey measures."""
    operation = OPERATIONS[case.op]
    shape = case.shape
    operand = Operand(rows=shape["rows"], cols=shape["cols"], dtype=operation.dtype)
    made = operation.make(device, operand)
    return operation_call(made, case.direction, device)
