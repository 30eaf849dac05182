"""The oracle of every GEMM: NumPy in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["gemm_reference", "relative_error_fraction"]


def gemm_reference(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Product of two matrices, computed in float64 whatever their type.

    Parameters
    ----------
    a
        Matrix of m rows and k columns.
    b
        Matrix of k rows and n columns.

    Returns
    -------
    numpy.ndarray
        Matrix of m rows and n columns in float64.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        msg = f"shapes {a.shape} and {b.shape}: expected (m, k) and (k, n) with one k"
        raise ValueError(msg)
    product: NDArray[np.float64] = np.matmul(a.astype(np.float64), b.astype(np.float64))
    return product


def relative_error_fraction(result: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Frobenius norm of the error over that of the truth. [1].

    Norm-wise, because single elements of a product of random matrices can be close to zero.
    A truth of norm zero (or without elements) gives the norm of the result itself.
    """
    error = float(np.linalg.norm(np.asarray(result, dtype=np.float64) - truth))
    scale = float(np.linalg.norm(truth))
    return error / scale if scale > 0 else error
