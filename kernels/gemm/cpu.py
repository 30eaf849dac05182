"""GEMM on the host: the BLAS that NumPy carries, and a blocked parallel kernel in Numba.

NumPy's BLAS is the host's vendor library: its timing is what a host profile is measured with. The
Numba kernel is the project's own. Numba is imported only when it is first used.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from hardware_profiles.errors import TweelingError
from kernels.gemm.operands import ProductShape, require_product

__all__ = ["BlasError", "blas_name", "blas_threads", "gemm_blas", "gemm_numba", "n_host_cores"]

Matrix = NDArray[np.floating]

DTYPES = ("float32", "float64")

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


def gemm_blas(
    a: Matrix,
    b: Matrix,
    *,
    out: Matrix | None = None,
    alpha: float = 1.0,
    beta: float = 0.0,
    transposed: str = "",
) -> Matrix:
    """Alpha op(a) op(b) + beta out by the BLAS behind NumPy, in the operands' own type.

    Parameters and errors are those of `gemm_numba`; factors other than one and zero cost passes of
    their own.
    """
    _require(a, b, out, beta=beta, transposed=transposed)
    left = a.swapaxes(-1, -2) if "a" in transposed else a
    right = b.swapaxes(-1, -2) if "b" in transposed else b
    if alpha == 1 and beta == 0:
        product: Matrix = np.matmul(left, right, out=out)
        return product
    scaled: Matrix = np.matmul(left, right)
    scaled *= a.dtype.type(alpha)
    if out is None:
        return scaled
    if beta != 0:
        scaled += a.dtype.type(beta) * out
    out[...] = scaled
    return out


def gemm_numba(
    a: Matrix,
    b: Matrix,
    *,
    out: Matrix | None = None,
    alpha: float = 1.0,
    beta: float = 0.0,
    transposed: str = "",
) -> Matrix:
    """Alpha op(a) op(b) + beta out by the package's own parallel kernel in Numba.

    Parameters
    ----------
    a
        Of shape (m, k), or (k, m) when transposed; with a batch axis in front, for each product.
        float32 or float64; any m, n and k, any strides.
    b
        Of shape (k, n), or (n, k) when transposed; same type and same batch axis.
    out
        Of shape (m, n), same type and batch axis, rows contiguous; made when it is not given. Read
        only where beta is not zero.
    alpha, beta
        Factors of the product and of what is in out. [1]
    transposed
        Which operands are stored transposed: ``""``, ``"a"``, ``"b"`` or ``"ab"``.

    Returns
    -------
    numpy.ndarray
        out; summed in the operands' own type.

    Raises
    ------
    ValueError
        When shapes, types or strides do not fit.
    """
    shape = _require(a, b, out, beta=beta, transposed=transposed)
    result = np.empty(shape.out, dtype=a.dtype) if out is None else out
    if result.size == 0:
        return result
    left = a.swapaxes(-1, -2) if "a" in transposed else a
    right = b.swapaxes(-1, -2) if "b" in transposed else b
    _host_product().multiply(
        _apart(left, result), _apart(right, result), result, alpha=alpha, beta=beta
    )
    return result


def _host_product() -> ModuleType:
    from kernels.gemm import host_product

    return host_product


def _apart(operand: Matrix, result: Matrix) -> Matrix:
    """An operand that the result cannot overwrite while it is read."""
    return operand.copy() if np.may_share_memory(operand, result) else operand


def _require(
    a: Matrix, b: Matrix, out: Matrix | None, *, beta: float, transposed: str
) -> ProductShape:
    shape = require_product(a, b, out, beta=beta, transposed=transposed, dtypes=DTYPES)
    if out is None:
        return shape
    if out.size and out.shape[-1] > 1 and out.strides[-1] != out.itemsize:
        msg = f"out: strides {out.strides}; expected contiguous rows"
        raise ValueError(msg)
    return shape


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
