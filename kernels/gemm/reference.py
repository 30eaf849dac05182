"""The oracle of every GEMM: NumPy in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.gemm.operands import product_shape

__all__ = ["gemm_reference", "relative_error_fraction"]


def gemm_reference(
    a: NDArray[np.floating], b: NDArray[np.floating], *, transposed: str = ""
) -> NDArray[np.float64]:
    """Op(a) op(b), computed in float64 whatever their type.

    Parameters
    ----------
    a
        Of shape (m, k), or (k, m) when transposed; with a batch axis in front, for each product.
    b
        Of shape (k, n), or (n, k) when transposed; same batch axis.
    transposed
        Which operands are stored transposed: ``""``, ``"a"``, ``"b"`` or ``"ab"``.

    Returns
    -------
    numpy.ndarray
        Of shape (m, n), with the batch axis in front, in float64.

    Raises
    ------
    ValueError
        When the shapes do not fit each other.
    """
    product_shape(a.shape, b.shape, transposed=transposed)
    left, right = a.astype(np.float64), b.astype(np.float64)
    if "a" in transposed:
        left = left.swapaxes(-1, -2)
    if "b" in transposed:
        right = right.swapaxes(-1, -2)
    product: NDArray[np.float64] = np.matmul(left, right)
    return product


def relative_error_fraction(result: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Frobenius norm of the error over that of the truth. [1].

    Norm-wise, because single elements of a product of random matrices can be close to zero.
    A truth of norm zero (or without elements) gives the norm of the result itself.
    """
    error = float(np.linalg.norm(np.asarray(result, dtype=np.float64) - truth))
    scale = float(np.linalg.norm(truth))
    return error / scale if scale > 0 else error
