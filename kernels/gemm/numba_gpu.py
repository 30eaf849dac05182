"""GEMM on a GPU as Numba writes it: the kernel to read first, and one that runs without a GPU.

Every block computes a square tile of the result from tiles of both operands in shared memory.
Numba's simulator (``NUMBA_ENABLE_CUDASIM=1`` before the first import of Numba) runs it on the host.
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

__all__ = ["TILE", "gemm_numba_gpu"]

# By name: which package provides the module, and with which types, differs from machine to machine.
cuda: Any = importlib.import_module("numba.cuda")

TILE = 8
"""Rows and columns of a tile. The simulator has a host thread for each of its 64 elements. [1]"""


def gemm_numba_gpu(
    a: NDArray[np.float32], b: NDArray[np.float32], *, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Product of two float32 matrices on the host, computed by the device.

    Parameters
    ----------
    a
        Matrix of m rows and k columns; any m, n and k.
    b
        Matrix of k rows and n columns.
    out
        Matrix of m rows and n columns that receives the product; made when it is not given.

    Returns
    -------
    numpy.ndarray
        The product, summed in float32.

    Raises
    ------
    BackendError
        When Numba sees neither a device nor its simulator.
    ValueError
        When the shapes or types do not fit.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        msg = f"shapes {a.shape} and {b.shape}: expected (m, k) and (k, n) with one k"
        raise ValueError(msg)
    if a.dtype != np.float32 or b.dtype != np.float32:
        msg = f"types {a.dtype} and {b.dtype}: expected float32"
        raise ValueError(msg)
    if not cuda.is_available():
        msg = "numba sees no CUDA device; NUMBA_ENABLE_CUDASIM=1 simulates one"
        raise BackendError(msg)
    result = np.empty((a.shape[0], b.shape[1]), dtype=np.float32) if out is None else out
    if result.size == 0:
        return result
    grid = tuple(-(-extent // TILE) for extent in result.shape)
    on_device = [cuda.to_device(np.ascontiguousarray(matrix)) for matrix in (a, b)]
    on_device.append(cuda.device_array(result.shape, dtype=np.float32))
    _build()[grid, (TILE, TILE)](*on_device)
    result[...] = on_device[2].copy_to_host()
    return result


# A function of the module: the simulator swaps `cuda` among its globals for a module of its own.
def _gemm(a, b, out):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    # Each array on a line of its own: in the simulator, arrays of one line are the same array.
    a_tile = cuda.shared.array((TILE, TILE), dtype=float32)
    b_tile = cuda.shared.array((TILE, TILE), dtype=float32)
    i, j = cuda.threadIdx.x, cuda.threadIdx.y
    row = cuda.blockIdx.x * TILE + i
    column = cuda.blockIdx.y * TILE + j
    depth = a.shape[1]
    total = float32(0)
    for first in range(0, depth, TILE):
        # Beyond the edges there are zeros, so that the inner loop needs no bounds.
        inside_a = row < a.shape[0] and first + j < depth
        inside_b = first + i < depth and column < b.shape[1]
        a_tile[i, j] = a[row, first + j] if inside_a else float32(0)
        b_tile[i, j] = b[first + i, column] if inside_b else float32(0)
        cuda.syncthreads()
        for k in range(TILE):
            total += a_tile[i, k] * b_tile[k, j]
        cuda.syncthreads()
    if row < out.shape[0] and column < out.shape[1]:
        out[row, column] = total


@cache
def _build() -> Any:  # noqa: ANN401 -- what a decorator without types returns
    decorate: Callable[..., Any] = cuda.jit
    return decorate(_gemm)
