"""GEMM on the host: the BLAS that NumPy carries, and a blocked parallel kernel in Numba.

NumPy's BLAS is the host's vendor library: its timing is what a host profile is measured with. The
Numba kernel is the project's own, readable one. Numba is imported only when it is first used.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware_profiles.errors import TweelingError

__all__ = ["BlasError", "blas_name", "blas_threads", "gemm_blas", "gemm_numba", "n_host_cores"]

Matrix = NDArray[np.floating]

ROW_BLOCK = 32
"""Rows of the result that one task of the Numba kernel owns. [1]"""
DEPTH_BLOCK = 256
"""Reduction depth per pass; this block of B stays in the cache. [1]"""
COLUMN_BLOCK = 512
"""Columns per pass; a strip of the result stays in the first-level cache. [1]"""

THREAD_SETTERS = (
    ("scipy_openblas_get_num_threads64_", "scipy_openblas_set_num_threads64_"),
    ("scipy_openblas_get_num_threads", "scipy_openblas_set_num_threads"),
    ("openblas_get_num_threads64_", "openblas_set_num_threads64_"),
    ("openblas_get_num_threads", "openblas_set_num_threads"),
    ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads"),
)
"""Names under which the BLAS of NumPy wheels and of distributions read and set their threads."""


class BlasError(TweelingError):
    """The BLAS behind NumPy cannot be told how many threads to use."""


def n_host_cores() -> int:
    """Cores that this process may run on. [1]."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gemm_blas(a: Matrix, b: Matrix, *, out: Matrix | None = None) -> Matrix:
    """Product of two matrices by the BLAS behind NumPy, in their own type."""
    product: Matrix = np.matmul(a, b, out=out)
    return product


def gemm_numba(a: Matrix, b: Matrix, *, out: Matrix | None = None) -> Matrix:
    """Product of two matrices by a blocked, parallel Numba kernel.

    Parameters
    ----------
    a
        Matrix of m rows and k columns, float32 or float64; any m, n and k.
    b
        Matrix of k rows and n columns, same type.
    out
        Contiguous matrix that receives the product; made when it is not given.

    Returns
    -------
    numpy.ndarray
        The product, summed in the operands' own type.
    """
    _require_operands(a, b)
    result = np.empty((a.shape[0], b.shape[1]), dtype=a.dtype) if out is None else out
    _build_numba()(np.ascontiguousarray(a), np.ascontiguousarray(b), result)
    return result


def _require_operands(a: Matrix, b: Matrix) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        msg = f"shapes {a.shape} and {b.shape}: expected (m, k) and (k, n) with one k"
        raise ValueError(msg)
    if a.dtype != b.dtype or a.dtype not in (np.float32, np.float64):
        msg = f"types {a.dtype} and {b.dtype}: expected float32 or float64, the same for both"
        raise ValueError(msg)


@cache
def _build_numba() -> Callable[[Matrix, Matrix, Matrix], None]:
    from numba import njit, prange

    # Four steps of k per pass over a strip: each element of C is loaded and stored once for
    # four multiply-adds. Strips are
    # slices, so that the inner loop has plain unit-stride indices and becomes vector code.
    @njit(cache=True, fastmath={"reassoc", "contract"})  # type: ignore[untyped-decorator, unused-ignore]
    def add_row(a_row, b_0, b_1, b_2, b_3, c_row):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, PLR0917
        a_0, a_1, a_2, a_3 = a_row
        for j in range(c_row.shape[0]):
            c_row[j] += a_0 * b_0[j] + a_1 * b_1[j] + a_2 * b_2[j] + a_3 * b_3[j]

    @njit(cache=True, fastmath={"reassoc", "contract"})  # type: ignore[untyped-decorator, unused-ignore]
    def add_block(a, b, c, bounds):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        k0, k1, j0, j1 = bounds
        k4 = k0 + (k1 - k0) // 4 * 4
        for row in range(a.shape[0]):
            c_row = c[row, j0:j1]
            for k in range(k0, k4, 4):
                factors = (a[row, k], a[row, k + 1], a[row, k + 2], a[row, k + 3])
                rows = (b[k, j0:j1], b[k + 1, j0:j1], b[k + 2, j0:j1], b[k + 3, j0:j1])
                add_row(factors, rows[0], rows[1], rows[2], rows[3], c_row)
            for k in range(k4, k1):
                b_row = b[k, j0:j1]
                for j in range(c_row.shape[0]):
                    c_row[j] += a[row, k] * b_row[j]

    @njit(parallel=True, cache=True, fastmath={"reassoc", "contract"})  # type: ignore[untyped-decorator, unused-ignore]
    def gemm(a, b, c):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        m, depth = a.shape
        n = b.shape[1]
        for block in prange((m + ROW_BLOCK - 1) // ROW_BLOCK):
            i0, i1 = block * ROW_BLOCK, min(m, (block + 1) * ROW_BLOCK)
            c[i0:i1, :] = 0
            for j0 in range(0, n, COLUMN_BLOCK):
                j1 = min(n, j0 + COLUMN_BLOCK)
                for k0 in range(0, depth, DEPTH_BLOCK):
                    k1 = min(depth, k0 + DEPTH_BLOCK)
                    add_block(a[i0:i1], b, c[i0:i1], (k0, k1, j0, j1))

    kernel: Callable[[Matrix, Matrix, Matrix], None] = gemm
    return kernel


def blas_name() -> str:
    """Name and version of the BLAS that NumPy was built with, such as ``openblas-0.3.31``."""
    config = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {}) if isinstance(config, dict) else {}
    name = str(blas.get("name", "unknown")).removeprefix("scipy-")
    version = ".".join(str(blas.get("version", "")).split(".")[:3])
    return f"{name}-{version}" if version else name


@contextlib.contextmanager
def blas_threads(n_threads: int) -> Iterator[None]:
    """Let the BLAS behind NumPy use this many threads inside the block.

    The library is reached through the process's own memory map, so that neither an environment
    variable before the start nor another package is needed.
    """
    get, put = _thread_functions()
    before = int(get())
    put(ctypes.c_int(n_threads))
    try:
        yield
    finally:
        put(ctypes.c_int(before))


@cache
def _thread_functions() -> tuple[Callable[..., int], Callable[..., object]]:
    for path in _loaded_blas():
        library = ctypes.CDLL(path)
        for get, put in THREAD_SETTERS:
            if hasattr(library, get) and hasattr(library, put):
                return getattr(library, get), getattr(library, put)
    msg = (
        f"BLAS {blas_name()}: no way to set its threads was found; "
        "start Python with OPENBLAS_NUM_THREADS or MKL_NUM_THREADS instead"
    )
    raise BlasError(msg)


def _loaded_blas() -> list[str]:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return []
    columns = (line.split(maxsplit=5) for line in maps.read_text(encoding="utf-8").splitlines())
    paths = {parts[5] for parts in columns if len(parts) == 6}
    return sorted(path for path in paths if "openblas" in path or "libmkl_rt" in path)
