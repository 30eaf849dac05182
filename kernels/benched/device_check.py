"""Are the results right? A kernel whose results are wrong is not timed."""

from __future__ import annotations

from functools import cache

import numpy as np

from kernels.attention.gpu import attention_backward_gpu, attention_gpu
from kernels.attention.mask import CAUSAL
from kernels.attention.reference import attention_backward_reference, attention_reference
from kernels.backends import BackendError
from kernels.benched.device_arrays import Array, DeviceArrays, host_values
from kernels.gemm.reference import relative_error_fraction

__all__ = ["check_flash", "check_product"]

TOLERANCE = {"bf16": 1e-2, "fp16": 2e-3, "tf32": 1e-3, "fp32": 1e-5}
"""Largest norm-wise error against float64 on the same operands. [1]"""
GRADIENT_FACTOR = 3.0
"""Gradients go through more roundings to 16 bits than the output. [1]"""
ROWS, COLUMNS = 8, 16
"""Corner of a result that is looked at: whole rows of a and columns of b. [1]"""
LENGTH = 192


def check_product(operands: tuple[Array, Array, Array], *, dtype: str, transposed: str) -> None:
    """Compare a corner of a product with float64; raise `BackendError` when it is wrong.

    A corner sees whole rows and columns, so wrong layouts and unwritten results show.
    """
    a, b, out = operands
    rows = host_values(a[:, :ROWS], dtype).T if "a" in transposed else host_values(a[:ROWS], dtype)
    corner = b[:COLUMNS] if "b" in transposed else b[:, :COLUMNS]
    columns = host_values(corner, dtype).T if "b" in transposed else host_values(corner, dtype)
    _require("product", host_values(out[:ROWS, :COLUMNS], dtype), rows @ columns, TOLERANCE[dtype])


def check_flash(arrays: DeviceArrays, *, head_dim: int, dtype: str) -> None:
    """Compare both passes of flash attention with the oracle on a small causal shape.

    Raises
    ------
    BackendError
        In one line, how far off the output or a gradient is.
    """
    _checked_flash(arrays, head_dim, dtype)


@cache
def _checked_flash(arrays: DeviceArrays, head_dim: int, dtype: str) -> None:
    random = np.random.default_rng(2718)
    shapes = ((1, 4, LENGTH, head_dim), (1, 2, LENGTH, head_dim))
    q, k, v, gradient = (
        arrays.placed(random.standard_normal(shapes[i]), dtype) for i in (0, 1, 1, 0)
    )
    exact = [host_values(array, dtype) for array in (q, k, v)]
    result = attention_gpu(q, k, v, mask=CAUSAL)
    truth = attention_reference(*exact, mask=CAUSAL)
    _require("output", host_values(result.out, dtype), truth.out, TOLERANCE[dtype])
    found = attention_backward_gpu((q, k, v), result, gradient, mask=CAUSAL)
    q, k, v = exact
    expected = attention_backward_reference(q, k, v, host_values(gradient, dtype), mask=CAUSAL)
    for name, ours, theirs in zip(found._fields, found, expected, strict=True):
        _require(name, host_values(ours, dtype), theirs, GRADIENT_FACTOR * TOLERANCE[dtype])


def _require(what: str, found: np.ndarray, truth: np.ndarray, tolerance_fraction: float) -> None:
    error = relative_error_fraction(found, truth)
    if not error <= tolerance_fraction:
        msg = f"wrong {what}: relative error {error:.2g}, tolerance {tolerance_fraction:g}"
        raise BackendError(msg)
