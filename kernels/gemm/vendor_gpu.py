"""The vendor's matrix product at any of its types, through CuPy's thin layer over cuBLAS.

`cupy.matmul` knows no bfloat16; the library behind it does. Row-major operands are the transposes
of column-major ones, so the product is asked for as out^T = op(b)^T op(a)^T.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.backends import BackendError

__all__ = ["gemm_vendor"]

Array = Any
"""CuPy's array."""

DATA_TYPES = {
    "bf16": "CUDA_R_16BF",
    "fp16": "CUDA_R_16F",
    "fp32": "CUDA_R_32F",
    "tf32": "CUDA_R_32F",
}
COMPUTE_TYPES = {"tf32": "CUBLAS_COMPUTE_32F_FAST_TF32"}
"""How sums are made; CUBLAS_COMPUTE_32F where nothing is listed."""


def gemm_vendor(
    cupy: Any,  # noqa: ANN401 -- module
    a: Array,
    b: Array,
    out: Array,
    *,
    dtype: str,
    transposed: str = "",
    factors: tuple[float, float] = (1.0, 0.0),
) -> Array:
    """Queue out = alpha op(a) op(b) + beta out by cuBLAS, summed in float32, on CuPy's stream.

    Parameters
    ----------
    cupy
        The module.
    a
        (m, k), or (k, m) when transposed; rows contiguous.
    b
        (k, n), or (n, k) when transposed; same type.
    out
        (m, n), same type; not read where beta is zero.
    dtype
        bf16 (kept in uint16), fp16, fp32, or tf32 for float32 operands rounded by the library.
    transposed
        Which operands are stored transposed: ``""``, ``"a"``, ``"b"`` or ``"ab"``.
    factors
        Alpha and beta, of the product and of what out holds. [1]

    Returns
    -------
    cupy.ndarray
        out.

    Raises
    ------
    BackendError
        On AMD: CuPy's layer over hipBLAS has no bfloat16 (cupy/cupy,
        cupy_backends/hip/cupy_hipblas.h, convert_hipblasDatatype_t).
    """
    runtime, cublas = cupy.cuda.runtime, cupy.cuda.cublas
    if runtime.is_hip:
        msg = f"{dtype}: CuPy's layer over hipBLAS does not take it; torch runs it"
        raise BackendError(msg)
    m, n = out.shape
    if m * n == 0:
        return out
    k = a.shape[0] if "a" in transposed else a.shape[1]
    kind = int(getattr(runtime, DATA_TYPES[dtype]))
    compute = int(getattr(cublas, COMPUTE_TYPES.get(dtype, "CUBLAS_COMPUTE_32F")))
    operations = tuple(
        int(cublas.CUBLAS_OP_T if name in transposed else cublas.CUBLAS_OP_N) for name in "ba"
    )
    # The factors are read on the host before the call returns.
    scalars = np.array(factors, dtype=np.float32)
    at_alpha, at_beta = scalars.ctypes.data, scalars.ctypes.data + scalars.itemsize
    cublas.gemmEx(
        cupy.cuda.device.get_cublas_handle(),
        *operations,
        *(n, m, k, at_alpha),
        *(b.data.ptr, kind, _row_elements(b), a.data.ptr, kind, _row_elements(a), at_beta),
        *(out.data.ptr, kind, _row_elements(out), compute, int(cublas.CUBLAS_GEMM_DEFAULT)),
    )
    return out


def _row_elements(matrix: Array) -> int:
    """Elements from row to row. [1]"""
    rows, columns = matrix.shape
    return max(1, int(matrix.strides[0] // matrix.itemsize) if rows > 1 else int(columns))
