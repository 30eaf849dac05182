"""Memory streams on the host: copy and triad, on one core with NumPy, on all with Numba.

They measure the host profile's memory bandwidth. Bytes count every operand read once and the
result written once; the write-allocate read that a cache line costs is not counted, as in the
STREAM benchmark. Numba is imported only when the parallel streams are first used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["copy_bytes", "copy_numpy", "parallel_streams", "triad_bytes", "triad_numpy"]

Vector = NDArray[np.float64]


def copy_bytes(n_elements: int, *, itemsize_bytes: int = 8) -> int:
    """Traffic of a copy: one read and one write per element. [byte]."""
    return 2 * n_elements * itemsize_bytes


def triad_bytes(n_elements: int, *, itemsize_bytes: int = 8) -> int:
    """Traffic of a triad: two reads and one write per element. [byte]."""
    return 3 * n_elements * itemsize_bytes


def copy_numpy(target: Vector, source: Vector) -> None:
    """Copy one vector onto another, on one core."""
    np.copyto(target, source)


def triad_numpy(target: Vector, first: Vector, second: Vector) -> None:
    """Target = first + 3 second, on one core, in pieces that stay in the cache.

    NumPy has no fused triad; in pieces of 16 Ki elements the intermediate never leaves the second
    level cache, so that memory sees the traffic of a fused one.
    """
    n_piece = 16 * 1024
    for start in range(0, target.size, n_piece):
        piece = target[start : start + n_piece]
        np.multiply(second[start : start + n_piece], 3.0, out=piece)
        np.add(piece, first[start : start + n_piece], out=piece)


@cache
def parallel_streams() -> dict[str, Callable[..., None]]:
    """Copy and triad over all cores, by name; needs Numba.

    Returns
    -------
    dict
        ``copy(target, source)`` and ``triad(target, first, second)``.
    """
    from numba import njit, prange

    @njit(parallel=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
    def copy(target, source):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        for i in prange(target.size):
            target[i] = source[i]

    @njit(parallel=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
    def triad(target, first, second):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        for i in prange(target.size):
            target[i] = first[i] + 3.0 * second[i]

    return {"copy": copy, "triad": triad}
