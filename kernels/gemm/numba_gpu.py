"""GEMM on a GPU as Numba writes it: the kernel to read first, and one that runs without a GPU.

Every block computes a square tile of the result from tiles of both operands in shared memory; the
third axis of the grid holds the products of a batch. Numba's simulator (``NUMBA_ENABLE_CUDASIM=1``
before the first import of Numba) runs it on the host.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import float32
from numpy.typing import NDArray

from kernels.backends import BackendError
from kernels.gemm.operands import require_product

__all__ = ["TILE", "gemm_numba_gpu"]

# By name: which package provides the module, and with which types, differs from machine to machine.
cuda: Any = importlib.import_module("numba.cuda")

TILE = 8
"""Rows and columns of a tile. The simulator has a host thread for each of its 64 elements. [1]"""
MAX_GRID_DEPTH = 65535
"""Blocks on the third axis of a grid; longer batches go around. CUDA C++ Programming Guide. [1]"""
DTYPES = ("float32",)

Matrix = NDArray[np.float32]


def gemm_numba_gpu(
    a: Matrix,
    b: Matrix,
    *,
    out: Matrix | None = None,
    alpha: float = 1.0,
    beta: float = 0.0,
    transposed: str = "",
) -> Matrix:
    """Alpha op(a) op(b) + beta out for matrices on the host, computed by the device in float32.

    Parameters
    ----------
    a
        Of shape (m, k), or (k, m) when transposed; with a batch axis in front, for each product.
        float32; any m, n and k, any strides.
    b
        Of shape (k, n), or (n, k) when transposed; same type and same batch axis.
    out
        Of shape (m, n), same type and batch axis, any strides; made when it is not given. Read only
        where beta is not zero.
    alpha, beta
        Factors of the product and of what is in out. [1]
    transposed
        Which operands are stored transposed: ``""``, ``"a"``, ``"b"`` or ``"ab"``. They are turned
        on the host, before they are copied to the device.

    Returns
    -------
    numpy.ndarray
        out.

    Raises
    ------
    BackendError
        When Numba sees neither a device nor its simulator.
    ValueError
        When shapes or types do not fit, or out cannot be written.
    """
    shape = require_product(a, b, out, beta=beta, transposed=transposed, dtypes=DTYPES)
    if not cuda.is_available():
        msg = "numba sees no CUDA device; NUMBA_ENABLE_CUDASIM=1 simulates one"
        raise BackendError(msg)
    result = np.empty(shape.out, dtype=np.float32) if out is None else out
    if result.size == 0:
        return result
    left = a.swapaxes(-1, -2) if "a" in transposed else a
    right = b.swapaxes(-1, -2) if "b" in transposed else b
    n_products = shape.batch[0] if shape.batch else 1
    on_device = [
        cuda.to_device(np.ascontiguousarray(left).reshape(n_products, shape.m, shape.k)),
        cuda.to_device(np.ascontiguousarray(right).reshape(n_products, shape.k, shape.n)),
        _result_on_device(result, (n_products, shape.m, shape.n), is_read=beta != 0),
    ]
    grid = (-(-shape.m // TILE), -(-shape.n // TILE), min(n_products, MAX_GRID_DEPTH))
    _build()[grid, (TILE, TILE)](*on_device, np.float32(alpha), np.float32(beta))
    result[...] = on_device[2].copy_to_host().reshape(shape.out)
    return result


def _result_on_device(result: Matrix, shape: tuple[int, ...], *, is_read: bool) -> Any:  # noqa: ANN401 -- an array of Numba's
    if is_read:
        return cuda.to_device(np.ascontiguousarray(result).reshape(shape))
    return cuda.device_array(shape, dtype=np.float32)


# A function of the module: the simulator swaps `cuda` among its globals for a module of its own.
def _gemm(a, b, out, alpha, beta):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    # Each array on a line of its own: in the simulator, arrays of one line are the same array.
    a_tile = cuda.shared.array((TILE, TILE), dtype=float32)
    b_tile = cuda.shared.array((TILE, TILE), dtype=float32)
    i, j = cuda.threadIdx.x, cuda.threadIdx.y
    row = cuda.blockIdx.x * TILE + i
    column = cuda.blockIdx.y * TILE + j
    depth = a.shape[2]
    for product in range(cuda.blockIdx.z, out.shape[0], cuda.gridDim.z):
        total = float32(0)
        for first in range(0, depth, TILE):
            # Beyond the edges there are zeros, so that the inner loop needs no bounds.
            inside_a = row < a.shape[1] and first + j < depth
            inside_b = first + i < depth and column < b.shape[2]
            a_tile[i, j] = a[product, row, first + j] if inside_a else float32(0)
            b_tile[i, j] = b[product, first + i, column] if inside_b else float32(0)
            cuda.syncthreads()
            for k in range(TILE):
                total += a_tile[i, k] * b_tile[k, j]
            cuda.syncthreads()
        if row < out.shape[1] and column < out.shape[2]:
            # What is in out may be no number: it is read only where it counts.
            before = beta * out[product, row, column] if beta != float32(0) else float32(0)
            out[product, row, column] = alpha * total + before


@cache
def _build() -> Any:  # noqa: ANN401 -- what a decorator without types returns
    decorate: Callable[..., Any] = cuda.jit
    return decorate(_gemm)
