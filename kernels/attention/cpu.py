"""Attention on the host: flash-style Numba kernels, and the unfused form in NumPy.

The unfused form multiplies with the BLAS behind NumPy and keeps all scores of a head; it is what a
fused kernel is measured against. The Numba kernels keep one tile of scores per thread. Numba is
imported only when they are first used.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from kernels.attention.mask import FULL, Mask
from kernels.attention.operands import (
    Gradients,
    Heads,
    Result,
    require_float_type,
    require_gradient,
    require_operands,
    require_result,
    softmax_scale,
)

__all__ = ["attention_backward_numba", "attention_numba", "attention_unfused"]

LOG2_E = math.log2(math.e)


def attention_numba(
    q: Heads,
    k: Heads,
    v: Heads,
    *,
    mask: Mask = FULL,
    scale: float | None = None,
    out: Result | None = None,
) -> Result:
    """Attention by a parallel Numba kernel whose memory grows with the length, not its square.

    Parameters
    ----------
    q
        Queries in (batch, heads, query_len, head_dim), float32 or float64; any sizes.
    k, v
        Keys and values in (batch, kv_heads, key_len, head_dim), same type; kv_heads divides heads.
    mask
        Which keys a query sees; blocks of keys that no query sees cost nothing.
    scale
        Factor on the scores; one over the root of head_dim when it is not given. [1]
    out
        Contiguous arrays that receive the result; made when they are not given.

    Returns
    -------
    Result
        Output and log-sum-exp in the type of the operands.

    Raises
    ------
    ValueError
        When shapes or types do not fit each other or the scale is not positive.

    References
    ----------
    T. Dao, FlashAttention-2, 2023, algorithm 1.
    """
    require_operands(q, k, v)
    require_float_type(q, k, v)
    factor = q.dtype.type(softmax_scale(scale, q.shape[3]) * LOG2_E)
    result = Result(np.empty(q.shape, q.dtype), np.empty(q.shape[:3], q.dtype))
    if out is not None:
        require_result(q, out)
        require_float_type(q, *out)
        result = out
    first, last = mask.band(q.shape[2], k.shape[2])
    _forward().forward_kernel(_contiguous(q, k, v), tuple(result), (-last, -first), factor)
    return result


def attention_backward_numba(
    q: Heads,
    k: Heads,
    v: Heads,
    result: Result,
    gradient: Heads,
    *,
    mask: Mask = FULL,
    scale: float | None = None,
) -> Gradients:
    """Gradients of attention by parallel Numba kernels, with memory linear in the length.

    Scores are computed again from the log-sum-exp of the forward pass: once for the gradient by q,
    where blocks of queries are the tasks, and once for those by k and v, where blocks of keys are.
    That is seven products of matrices where five would do, but no two tasks write one number, and
    the sums have a fixed order.

    Parameters
    ----------
    q, k, v, mask, scale
        As in the forward pass.
    result
        What the forward pass returned for them.
    gradient
        Gradient by the output, laid out as q and of its type.

    Returns
    -------
    Gradients
        By q, k and v in the type of the operands; heads of a group add up in those of k and v.

    Raises
    ------
    ValueError
        When shapes or types do not fit each other or the scale is not positive.

    References
    ----------
    T. Dao, FlashAttention-2, 2023, algorithm 2.
    """
    require_operands(q, k, v)
    require_result(q, result)
    require_gradient(q, gradient)
    require_float_type(q, k, v, *result, gradient)
    factor = softmax_scale(scale, q.shape[3])
    scales = (q.dtype.type(factor), q.dtype.type(factor * LOG2_E))
    operands = _contiguous(q, k, v, gradient)
    row_sums = np.einsum("bhid,bhid->bhi", operands[3], result.out)
    statistics = _contiguous(result.lse * q.dtype.type(LOG2_E), row_sums)
    gradients = Gradients(*(np.empty(operand.shape, q.dtype) for operand in (q, k, v)))
    first, last = mask.band(q.shape[2], k.shape[2])
    kernels = _backward()
    kernels.query_kernel(operands, statistics, gradients.dq, (-last, -first), scales)
    kernels.key_kernel(operands, statistics, tuple(gradients[1:]), (first, last), scales)
    return gradients


def attention_unfused(
    q: Heads, k: Heads, v: Heads, *, mask: Mask = FULL, scale: float | None = None
) -> Heads:
    """Attention in NumPy with all scores of a head in memory, in the operands' own type.

    Two products by the BLAS around a softmax in place: no copy of the scores is made, and the
    division by the sums waits for the output, which is smaller.

    Parameters
    ----------
    q, k, v, mask, scale
        As in `attention_numba`.

    Returns
    -------
    numpy.ndarray
        Output, laid out as q.

    Raises
    ------
    ValueError
        When shapes or types do not fit each other or the scale is not positive.
    """
    require_operands(q, k, v)
    require_float_type(q, k, v)
    factor = q.dtype.type(softmax_scale(scale, q.shape[3]))
    group = q.shape[1] // k.shape[1]
    out = np.empty(q.shape, q.dtype)
    for batch, head in np.ndindex(q.shape[:2]):
        kv_head = head // group
        scores = (factor * q[batch, head]) @ k[batch, kv_head].T
        sums = _softmax_in_place(scores, mask)
        np.matmul(scores, v[batch, kv_head], out=out[batch, head])
        np.divide(out[batch, head], sums, out=out[batch, head], where=sums > 0)
    return out


def _softmax_in_place(scores: NDArray[np.floating], mask: Mask) -> NDArray[np.floating]:
    """Turn scores into exponentials and return the sums of rows."""
    query_len, key_len = scores.shape
    if mask != FULL:
        first, last = mask.band(query_len, key_len)
        for query, row in enumerate(scores):
            row[: max(0, query + first)] = -np.inf
            row[max(0, query + last + 1) :] = -np.inf
    largest = scores.max(axis=1, initial=-np.inf, keepdims=True)
    largest[np.isneginf(largest)] = 0
    scores -= largest
    np.exp(scores, out=scores)
    sums: NDArray[np.floating] = scores.sum(axis=1, keepdims=True)
    return sums


def _contiguous(*operands: Heads) -> tuple[Heads, ...]:
    return tuple(np.ascontiguousarray(operand) for operand in operands)


def _forward() -> ModuleType:
    from kernels.attention import host_forward

    return host_forward


def _backward() -> ModuleType:
    from kernels.attention import host_backward

    return host_backward
