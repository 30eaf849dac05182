# ruff: noqa: ANN001, ANN202
# mypy: disable-error-code="untyped-decorator, attr-defined, no-untyped-def, no-untyped-call"
"""Portable attention for CUDA devices in Numba: flash-style, one thread to a row, sums in float32.

Each block of threads owns as many rows of one head and brings the other operand into shared memory
tile by tile; a tile has fewer rows where heads are wide. No warp intrinsics and no matrix units are
used, so that the code also runs in Numba's simulator on a machine without a GPU
(NUMBA_ENABLE_CUDASIM=1 before the first import of Numba); a library's kernel is faster. The
simulator exchanges the name `cuda` among the module's own names, so that Numba is imported here and
not in the functions.

References
----------
T. Dao, FlashAttention-2, 2023, algorithms 1 and 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Protocol

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from kernels.attention.mask import FULL, Mask
from kernels.attention.operands import (
    Gradients,
    Heads,
    Result,
    require_gradient,
    require_operands,
    require_result,
    softmax_scale,
)
from kernels.backends import BackendError

__all__ = ["attention_backward_numba_gpu", "attention_numba_gpu", "tile_rows"]

BLOCK = 32
"""Threads of a block, rows that it owns, and most rows of a tile in shared memory. [1]"""
STATIC_SHARED_BYTES = 48 * 1024
"""Shared memory that a kernel may declare: CUDA C++ Programming Guide, compute capabilities."""
FLOAT_TYPES = ("float16", "bfloat16", "float32", "float64")
NEGATIVE_INFINITY = np.float32(-np.inf)
ZERO = np.float32(0.0)

Array = NDArray[np.float32]


class _Kernel(Protocol):
    """What Numba makes of a function: a grid and a number of threads give a call."""

    def __getitem__(self, launch: tuple[tuple[int, int, int], int]) -> Callable[..., None]: ...


def attention_numba_gpu(
    q: Heads, k: Heads, v: Heads, *, mask: Mask = FULL, scale: float | None = None
) -> Result:
    """Attention on the current CUDA device, or in the simulator.

    Parameters
    ----------
    q
        Queries in (batch, heads, query_len, head_dim) on the host: float16, float32, float64, or
        bfloat16, also as its bits in uint16. The kernel reads float32.
    k, v
        Keys and values in (batch, kv_heads, key_len, head_dim), of the same types; kv_heads divides
        heads.
    mask
        Which keys a query sees; tiles that no query of a block sees are skipped.
    scale
        Factor on the scores; one over the root of head_dim when it is not given. [1]

    Returns
    -------
    Result
        Output and log-sum-exp on the host, in float32.

    Raises
    ------
    BackendError
        When Numba sees neither a device nor its simulator.
    ValueError
        When shapes do not fit each other, a type is none of those, heads are too wide for shared
        memory, or the scale is not positive.
    """
    require_operands(q, k, v)
    inputs = _as_float32(q=q, k=k, v=v)
    factor = np.float32(softmax_scale(scale, q.shape[3]))
    n_rows = tile_rows(q.shape[3])
    out, lse = np.zeros(q.shape, np.float32), np.full(q.shape[:3], -np.inf, np.float32)
    if out.size > 0:
        band = mask.band(q.shape[2], k.shape[2])
        kernel = _build_forward(q.shape[3], n_rows)
        _launch(kernel, q, inputs, (out, lse), (*band, factor))
    return Result(out, lse)


def attention_backward_numba_gpu(
    q: Heads,
    k: Heads,
    v: Heads,
    result: Result,
    gradient: Heads,
    *,
    mask: Mask = FULL,
    scale: float | None = None,
) -> Gradients:
    """Gradients of attention on the current CUDA device, or in the simulator.

    Parameters
    ----------
    q, k, v, mask, scale
        As in the forward pass.
    result
        What the forward pass returned for them.
    gradient
        Gradient by the output, laid out as q, of the types that q may have.

    Returns
    -------
    Gradients
        By q, k and v on the host, in float32; heads of a group add up in those of k and v.

    Raises
    ------
    BackendError
        When Numba sees neither a device nor its simulator.
    ValueError
        When shapes do not fit each other, a type is none of those, heads are too wide for shared
        memory, or the scale is not positive.
    """
    require_operands(q, k, v)
    require_result(q, result)
    require_gradient(q, gradient)
    *operands, by_out, out, lse = _as_float32(
        q=q, k=k, v=v, gradient=gradient, out=result.out, lse=result.lse
    )
    factor = np.float32(softmax_scale(scale, q.shape[3]))
    n_rows = tile_rows(q.shape[3])
    inputs = (*operands, by_out, lse, np.einsum("bhid,bhid->bhi", by_out, out))
    gradients = Gradients(*(np.zeros(operand.shape, np.float32) for operand in (q, k, v)))
    limits = (*mask.band(q.shape[2], k.shape[2]), factor)
    if gradients.dq.size > 0:
        _launch(_build_by_query(q.shape[3], n_rows), q, inputs, (gradients.dq,), limits)
    if gradients.dk.size > 0:
        _launch(_build_by_key(q.shape[3], n_rows), k, inputs, gradients[1:], limits)
    return gradients


def tile_rows(head_dim: int) -> int:
    """Rows of each of the two float32 tiles of a kernel: as many as shared memory holds. [1].

    A power of two, at most `BLOCK`.

    Raises
    ------
    ValueError
        When not even one row of both fits.
    """
    widest = STATIC_SHARED_BYTES // (2 * 4)
    if head_dim > widest:
        msg = f"head_dim {head_dim}: expected at most {widest}, what fits into shared memory"
        raise ValueError(msg)
    return int(min(BLOCK, 1 << ((widest // head_dim).bit_length() - 1)))


def _as_float32(**operands: Heads) -> tuple[Array, ...]:
    """Operands in float32; uint16 holds the bits of bfloat16, as everywhere in this folder."""
    return tuple(_one_as_float32(name, operand) for name, operand in operands.items())


def _one_as_float32(name: str, operand: Heads) -> Array:
    kind = str(operand.dtype)
    if kind == "uint16":
        return np.left_shift(operand, 16, dtype=np.uint32).view(np.float32)
    if kind not in FLOAT_TYPES:
        msg = f"{name}: type {kind}; expected uint16 (bits of bfloat16), {', '.join(FLOAT_TYPES)}"
        raise ValueError(msg)
    return np.asarray(operand, np.float32)


def _launch(
    kernel: _Kernel,
    owned: Heads,
    inputs: tuple[Array, ...],
    outputs: tuple[Array, ...],
    limits: tuple[int, int, np.float32],
) -> None:
    """Run a kernel with one thread to each row of an operand; bring its outputs back."""
    if not cuda.is_available():
        msg = "numba sees no CUDA device; NUMBA_ENABLE_CUDASIM=1 simulates one"
        raise BackendError(msg)
    batch, heads, length, _ = owned.shape
    grid = ((length + BLOCK - 1) // BLOCK, heads, batch)
    given = tuple(cuda.to_device(np.ascontiguousarray(array)) for array in inputs)
    made = tuple(cuda.to_device(array) for array in outputs)
    kernel[grid, BLOCK](given, made, limits)
    for on_device, array in zip(made, outputs, strict=True):
        on_device.copy_to_host(array)


@cache
def _build_forward(head_dim: int, n_rows: int) -> _Kernel:
    @cuda.jit
    def forward(inputs, outputs, limits):
        q, k, v = inputs
        out, lse = outputs
        first, last, scale = limits
        # In the simulator shared arrays declared on one line would share their memory.
        k_tile = cuda.shared.array((n_rows, head_dim), np.float32)
        v_tile = cuda.shared.array((n_rows, head_dim), np.float32)
        query_row = cuda.local.array(head_dim, np.float32)
        total_row = cuda.local.array(head_dim, np.float32)
        lane, block, head, batch = (
            cuda.threadIdx.x, cuda.blockIdx.x, cuda.blockIdx.y, cuda.blockIdx.z
        )  # fmt: skip
        kv_head = head // (q.shape[1] // k.shape[1])
        row = block * BLOCK + lane
        is_mine = row < q.shape[2]
        for d in range(head_dim):
            total_row[d] = ZERO
            query_row[d] = q[batch, head, row, d] if is_mine else ZERO
        largest, total = NEGATIVE_INFINITY, ZERO
        start = max(0, block * BLOCK + first)
        stop = min(k.shape[2], min(q.shape[2], (block + 1) * BLOCK) + last)
        for tile in range(start, stop, n_rows):
            cuda.syncthreads()
            for d in range(head_dim):
                if lane < n_rows and tile + lane < stop:
                    k_tile[lane, d] = k[batch, kv_head, tile + lane, d]
                    v_tile[lane, d] = v[batch, kv_head, tile + lane, d]
            cuda.syncthreads()
            key_stop = min(tile + n_rows, stop, row + last + 1) if is_mine else tile
            for key in range(max(tile, row + first), key_stop):
                score = ZERO
                for d in range(head_dim):
                    score += query_row[d] * k_tile[key - tile, d]
                score *= scale
                higher = max(largest, score)
                correction, weight = math.exp(largest - higher), math.exp(score - higher)
                largest, total = higher, total * correction + weight
                for d in range(head_dim):
                    total_row[d] = total_row[d] * correction + weight * v_tile[key - tile, d]
        if is_mine and total > ZERO:
            lse[batch, head, row] = largest + math.log(total)
            for d in range(head_dim):
                out[batch, head, row, d] = total_row[d] / total

    kernel: _Kernel = forward
    return kernel


@cache
def _build_by_query(head_dim: int, n_rows: int) -> _Kernel:
    @cuda.jit
    def by_query(inputs, outputs, limits):
        q, k, v, gradient, lse, row_sums = inputs
        dq = outputs[0]
        first, last, scale = limits
        k_tile = cuda.shared.array((n_rows, head_dim), np.float32)
        v_tile = cuda.shared.array((n_rows, head_dim), np.float32)
        total_row = cuda.local.array(head_dim, np.float32)
        lane, block, head, batch = (
            cuda.threadIdx.x, cuda.blockIdx.x, cuda.blockIdx.y, cuda.blockIdx.z
        )  # fmt: skip
        kv_head = head // (q.shape[1] // k.shape[1])
        row = block * BLOCK + lane
        for d in range(head_dim):
            total_row[d] = ZERO
        start = max(0, block * BLOCK + first)
        stop = min(k.shape[2], min(q.shape[2], (block + 1) * BLOCK) + last)
        for tile in range(start, stop, n_rows):
            cuda.syncthreads()
            for d in range(head_dim):
                if lane < n_rows and tile + lane < stop:
                    k_tile[lane, d] = k[batch, kv_head, tile + lane, d]
                    v_tile[lane, d] = v[batch, kv_head, tile + lane, d]
            cuda.syncthreads()
            key_stop = min(tile + n_rows, stop, row + last + 1) if row < q.shape[2] else tile
            for key in range(max(tile, row + first), key_stop):
                score, by_weight = ZERO, ZERO
                for d in range(head_dim):
                    score += q[batch, head, row, d] * k_tile[key - tile, d]
                    by_weight += gradient[batch, head, row, d] * v_tile[key - tile, d]
                weight = math.exp(score * scale - lse[batch, head, row])
                by_score = weight * (by_weight - row_sums[batch, head, row]) * scale
                for d in range(head_dim):
                    total_row[d] += by_score * k_tile[key - tile, d]
        if row < q.shape[2]:
            for d in range(head_dim):
                dq[batch, head, row, d] = total_row[d]

    kernel: _Kernel = by_query
    return kernel


@cache
def _build_by_key(head_dim: int, n_rows: int) -> _Kernel:
    @cuda.jit
    def by_key(inputs, outputs, limits):
        q, k, v, gradient, lse, row_sums = inputs
        dk, dv = outputs
        first, last, scale = limits
        q_tile = cuda.shared.array((n_rows, head_dim), np.float32)
        gradient_tile = cuda.shared.array((n_rows, head_dim), np.float32)
        dk_row = cuda.local.array(head_dim, np.float32)
        dv_row = cuda.local.array(head_dim, np.float32)
        lane, block, kv_head, batch = (
            cuda.threadIdx.x, cuda.blockIdx.x, cuda.blockIdx.y, cuda.blockIdx.z
        )  # fmt: skip
        group = q.shape[1] // k.shape[1]
        row = block * BLOCK + lane
        for d in range(head_dim):
            dk_row[d] = ZERO
            dv_row[d] = ZERO
        # Key j is seen by the queries j - last .. j - first.
        start = max(0, block * BLOCK - last)
        stop = min(q.shape[2], min(k.shape[2], (block + 1) * BLOCK) - first)
        for head in range(kv_head * group, (kv_head + 1) * group):
            for tile in range(start, stop, n_rows):
                cuda.syncthreads()
                for d in range(head_dim):
                    if lane < n_rows and tile + lane < stop:
                        q_tile[lane, d] = q[batch, head, tile + lane, d]
                        gradient_tile[lane, d] = gradient[batch, head, tile + lane, d]
                cuda.syncthreads()
                query_stop = min(tile + n_rows, stop, row - first + 1) if row < k.shape[2] else tile
                for query in range(max(tile, row - last), query_stop):
                    score, by_weight = ZERO, ZERO
                    for d in range(head_dim):
                        score += q_tile[query - tile, d] * k[batch, kv_head, row, d]
                        by_weight += gradient_tile[query - tile, d] * v[batch, kv_head, row, d]
                    weight = math.exp(score * scale - lse[batch, head, query])
                    by_score = weight * (by_weight - row_sums[batch, head, query]) * scale
                    for d in range(head_dim):
                        dv_row[d] += weight * gradient_tile[query - tile, d]
                        dk_row[d] += by_score * q_tile[query - tile, d]
        if row < k.shape[2]:
            for d in range(head_dim):
                dk[batch, kv_head, row, d] = dk_row[d]
                dv[batch, kv_head, row, d] = dv_row[d]

    kernel: _Kernel = by_key
    return kernel
