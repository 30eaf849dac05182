"""What the host's memory-bound kernels accept: one clear line for anything else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "require_matrices",
    "require_of_rows",
    "require_row",
    "require_same_shape",
    "require_targets",
]

Array = NDArray[np.floating]


def require_matrices(first: Array, *others: Array) -> None:
    """Contiguous float32 or float64 matrices of one shape and type, none of them empty."""
    if first.ndim != 2 or first.size == 0:
        msg = f"shape {first.shape}: expected a matrix with at least one row and one column"
        raise ValueError(msg)
    require_same_shape(first, *others)


def require_same_shape(first: Array, *others: Array) -> None:
    """Contiguous float32 or float64 arrays of one shape and type."""
    for array in (first, *others):
        if array.dtype not in (np.float32, np.float64) or array.dtype != first.dtype:
            msg = f"type {array.dtype}: expected float32 or float64, the same for all operands"
            raise ValueError(msg)
        if array.shape != first.shape:
            msg = f"shape {array.shape}: expected {first.shape} as the first operand has"
            raise ValueError(msg)
        if not array.flags.c_contiguous:
            msg = f"array of shape {array.shape} is not contiguous by rows"
            raise ValueError(msg)


def require_row(row: Array, matrix: Array) -> None:
    """One figure per column of the matrix, in its type."""
    if row.shape != matrix.shape[1:] or row.dtype != matrix.dtype:
        msg = (
            f"row of shape {row.shape} and type {row.dtype}: "
            f"expected {matrix.shape[1:]} and {matrix.dtype}"
        )
        raise ValueError(msg)


def require_of_rows(values: Array, matrix: Array) -> None:
    """One figure per row of the matrix, in its type."""
    if values.shape != matrix.shape[:1] or values.dtype != matrix.dtype:
        msg = (
            f"values of shape {values.shape} and type {values.dtype}: "
            f"expected {matrix.shape[:1]} and {matrix.dtype}"
        )
        raise ValueError(msg)


def require_targets(target: NDArray[np.integer], logits: Array) -> None:
    """One class per row, each from 0 to n_classes - 1."""
    if target.shape != logits.shape[:1] or not np.issubdtype(target.dtype, np.integer):
        msg = f"targets of shape {target.shape}: expected {logits.shape[:1]} whole numbers"
        raise ValueError(msg)
    if target.min() < 0 or target.max() >= logits.shape[1]:
        msg = f"targets {target.min()} to {target.max()}: expected 0 to {logits.shape[1] - 1}"
        raise ValueError(msg)
