# ruff: noqa: ANN001, ANN202
# mypy: disable-error-code="untyped-decorator, attr-defined, no-untyped-def, no-untyped-call"
"""Portable attention for CUDA devices in Numba: flash-style, one thread to a row, sums in float32.

Each block of threads owns as many rows of one head and brings the other operand into shared memory
tile by tile. No warp intrinsics and no matrix units are used, so that the code also runs in Numba's
simulator on a machine without a GPU (NUMBA_ENABLE_CUDASIM=1 before the first import of Numba); a
library's kernel is faster. The simulator exchanges the name `cuda` among the module's own names, so
that Numba is imported here and not in the functions.

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

__all__ = ["attention_backward_numba_gpu", "attention_numba_gpu"]

TILE = 32
"""Threads of a block, rows that it owns, and rows of a tile in shared memory. [1]"""
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
        Queries in (batch, heads, query_len, head_dim) on the host, of any float type.
    k, v
        Keys and values in (batch, kv_heads, key_len, head_dim); kv_heads divides heads.
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
        When shapes do not fit each other or the scale is not positive.
    """
    require_operands(q, k, v)
    factor = np.float32(softmax_scale(scale, q.shape[3]))
    out, lse = np.zeros(q.shape, np.float32), np.full(q.shape[:3], -np.inf, np.float32)
    if out.size > 0:
        band = mask.band(q.shape[2], k.shape[2])
        _launch(_build_forward(q.shape[3]), q, (q, k, v), (out, lse), (*band, factor))
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
        Gradient by the output, laid out as q.

    Returns
    -------
    Gradients
        By q, k and v on the host, in float32; heads of a group add up in those of k and v.

    Raises
    ------
    BackendError
        When Numba sees neither a device nor its simulator.
    ValueError
        When shapes do not fit each other or the scale is not positive.
    """
    require_operands(q, k, v)
    require_result(q, result)
    require_gradient(q, gradient)
    factor = np.float32(softmax_scale(scale, q.shape[3]))
    row_sums = np.einsum("bhid,bhid->bhi", gradient, result.out)
    inputs = (q, k, v, gradient, result.lse, row_sums)
    gradients = Gradients(*(np.zeros(operand.shape, np.float32) for operand in (q, k, v)))
    limits = (*mask.band(q.shape[2], k.shape[2]), factor)
    if gradients.dq.size > 0:
        _launch(_build_by_query(q.shape[3]), q, inputs, (gradients.dq,), limits)
    if gradients.dk.size > 0:
        _launch(_build_by_key(q.shape[3]), k, inputs, gradients[1:], limits)
    return gradients


def _launch(
    kernel: _Kernel,
    owned: Heads,
    inputs: tuple[Heads, ...],
    outputs: tuple[Array, ...],
    limits: tuple[int, int, np.float32],
) -> None:
    """Run a kernel with one thread to each row of an operand; bring its outputs back."""
    if not cuda.is_available():
        msg = "numba sees no CUDA device; NUMBA_ENABLE_CUDASIM=1 simulates one"
        raise BackendError(msg)
    batch, heads, length, _ = owned.shape
    grid = ((length + TILE - 1) // TILE, heads, batch)
    given = tuple(cuda.to_device(np.ascontiguousarray(array, np.float32)) for array in inputs)
    made = tuple(cuda.to_device(array) for array in outputs)
    kernel[grid, TILE](given, made, limits)
    for on_device, array in zip(made, outputs, strict=True):
        on_device.copy_to_host(array)


@cache
def _build_forward(head_dim: int) -> _Kernel:
    @cuda.jit
    def forward(inputs, outputs, limits):
        q, k, v = inputs
        out, lse = outputs
        first, last, scale = limits
        # In the simulator shared arrays declared on one line would share their memory.
        k_tile = cuda.shared.array((TILE, head_dim), np.float32)
        v_tile = cuda.shared.array((TILE, head_dim), np.float32)
        query_row = cuda.local.array(head_dim, np.float32)
        total_row = cuda.local.array(head_dim, np.float32)
        lane, block, head, batch = (
            cuda.threadIdx.x, cuda.blockIdx.x, cuda.blockIdx.y, cuda.blockIdx.z
        )  # fmt: skip
        kv_head = head // (q.shape[1] // k.shape[1])
        row = block * TILE + lane
        is_mine = row < q.shape[2]
        for d in range(head_dim):
            total_row[d] = ZERO
            query_row[d] = q[batch, head, row, d] if is_mine else ZERO
        largest, total = NEGATIVE_INFINITY, ZERO
        start = max(0, block * TILE + first)
        stop = min(k.shape[2], min(q.shape[2], (block + 1) * TILE) + last)
        for tile in range(start, stop, TILE):
            cuda.syncthreads()
            for d in range(head_dim):
                if tile + lane < stop:
                    k_tile[lane, d] = k[batch, kv_head, tile + lane, d]
                    v_tile[lane, d] = v[batch, kv_head, tile + lane, d]
            cuda.syncthreads()
            for key in range(max(tile, row + first), min(tile + TILE, stop, row + last + 1)):
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
def _build_by_query(head_dim: int) -> _Kernel:
    @cuda.jit
    def by_query(inputs, outputs, limits):
        q, k, v, gradient, lse, row_sums = inputs
        dq = outputs[0]
        first, last, scale = limits
        k_tile = cuda.shared.array((TILE, head_dim), np.float32)
        v_tile = cuda.shared.array((TILE, head_dim), np.float32)
        total_row = cuda.local.array(head_dim, np.float32)
        lane, block, head, batch = (
            cuda.threadIdx.x, cuda.blockIdx.x, cuda.blockIdx.y, cuda.blockIdx.z
        )  # fmt: skip
        kv_head = head // (q.shape[1] // k.shape[1])
        row = block * TILE + lane
        for d in range(head_dim):
            total_row[d] = ZERO
        start = max(0, block * TILE + first)
        stop = min(k.shape[2], min(q.shape[2], (block + 1) * TILE) + last)
        for tile in range(start, stop, TILE):
            cuda.syncthreads()
            for d in range(head_dim):
                if tile + lane < stop:
                    k_tile[lane, d] = k[batch, kv_head, tile + lane, d]
                    v_tile[lane, d] = v[batch, kv_head, tile + lane, d]
            cuda.syncthreads()
            key_stop = min(tile + TILE, stop, row + last + 1) if row < q.shape[2] else tile
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
def _build_by_key(head_dim: int) -> _Kernel:
    @cuda.jit
    def by_key(inputs, outputs, limits):
        q, k, v, gradient, lse, row_sums = inputs
        dk, dv = outputs
        first, last, scale = limits
        q_tile = cuda.shared.array((TILE, head_dim), np.float32)
        gradient_tile = cuda.shared.array((TILE, head_dim), np.float32)
        dk_row = cuda.local.array(head_dim, np.float32)
        dv_row = cuda.local.array(head_dim, np.float32)
        lane, block, kv_head, batch = (
            cuda.threadIdx.x, cuda.blockIdx.x, cuda.blockIdx.y, cuda.blockIdx.z
        )  # fmt: skip
        group = q.shape[1] // k.shape[1]
        row = block * TILE + lane
        for d in range(head_dim):
            dk_row[d] = ZERO
            dv_row[d] = ZERO
        # Key j is seen by the queries j - last .. j - first.
        start = max(0, block * TILE - last)
        stop = min(q.shape[2], min(k.shape[2], (block + 1) * TILE) - first)
        for head in range(kv_head * group, (kv_head + 1) * group):
            for tile in range(start, stop, TILE):
                cuda.syncthreads()
                for d in range(head_dim):
                    if tile + lane < stop:
                        q_tile[lane, d] = q[batch, head, tile + lane, d]
                        gradient_tile[lane, d] = gradient[batch, head, tile + lane, d]
                cuda.syncthreads()
                query_stop = min(tile + TILE, stop, row - first + 1) if row < k.shape[2] else tile
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
