"""The oracle of every attention kernel: NumPy in float64, one head at a time.

References
----------
A. Vaswani et al., Attention Is All You Need, 2017, equation 1.
T. Dao et al., FlashAttention, 2022, appendix B.2 (gradients).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.attention.mask import FULL, Mask
from kernels.attention.operands import (
    Gradients,
    Heads,
    Result,
    require_gradient,
    require_operands,
    softmax_scale,
)

__all__ = ["attention_backward_reference", "attention_reference"]

Matrix = NDArray[np.float64]


def attention_reference(
    q: Heads, k: Heads, v: Heads, *, mask: Mask = FULL, scale: float | None = None
) -> Result:
    """Attention computed in float64 whatever the type of the operands.

    Parameters
    ----------
    q
        Queries in (batch, heads, query_len, head_dim).
    k, v
        Keys and values in (batch, kv_heads, key_len, head_dim); kv_heads divides heads.
    mask
        Which keys a query sees.
    scale
        Factor on the scores; one over the root of head_dim when it is not given. [1]

    Returns
    -------
    Result
        Output and log-sum-exp in float64.

    Raises
    ------
    ValueError
        When shapes do not fit each other or the scale is not positive.
    """
    require_operands(q, k, v)
    factor = softmax_scale(scale, q.shape[3])
    seen = mask.visible(q.shape[2], k.shape[2])
    out, lse = np.zeros(q.shape), np.full(q.shape[:3], -np.inf)
    for batch, head, kv_head in _head_indices(q, k):
        weights, lse[batch, head] = _weights(q[batch, head], k[batch, kv_head], factor, seen)
        out[batch, head] = weights @ v[batch, kv_head].astype(np.float64)
    return Result(out, lse)


def attention_backward_reference(
    q: Heads, k: Heads, v: Heads, gradient: Heads, *, mask: Mask = FULL, scale: float | None = None
) -> Gradients:
    """Gradients of attention, computed in float64 from the operands alone.

    Parameters
    ----------
    q, k, v, mask, scale
        As in the forward pass.
    gradient
        Gradient by the output, laid out as q.

    Returns
    -------
    Gradients
        By q, k and v in float64; heads of a group add up in those of k and v.

    Raises
    ------
    ValueError
        When shapes do not fit each other or the scale is not positive.
    """
    require_operands(q, k, v)
    require_gradient(q, gradient)
    factor = softmax_scale(scale, q.shape[3])
    seen = mask.visible(q.shape[2], k.shape[2])
    dq, dk, dv = np.zeros(q.shape), np.zeros(k.shape), np.zeros(v.shape)
    for batch, head, kv_head in _head_indices(q, k):
        weights, _ = _weights(q[batch, head], k[batch, kv_head], factor, seen)
        by_out = gradient[batch, head].astype(np.float64)
        by_weights = by_out @ v[batch, kv_head].astype(np.float64).T
        # The sum over a row is what the softmax's normalisation takes away again.
        row_sums = (weights * by_weights).sum(axis=1, keepdims=True)
        by_scores = factor * weights * (by_weights - row_sums)
        dq[batch, head] = by_scores @ k[batch, kv_head].astype(np.float64)
        dk[batch, kv_head] += by_scores.T @ q[batch, head].astype(np.float64)
        dv[batch, kv_head] += weights.T @ by_out
    return Gradients(dq, dk, dv)


def _head_indices(q: Heads, k: Heads) -> list[tuple[int, int, int]]:
    """Batch, query head, and the key and value head that it reads."""
    group = q.shape[1] // k.shape[1]
    return [(b, head, head // group) for b in range(q.shape[0]) for head in range(q.shape[1])]


def _weights(
    q: Heads, k: Heads, factor: float, seen: NDArray[np.bool_]
) -> tuple[Matrix, NDArray[np.float64]]:
    """Softmax over the keys that each query sees, and the logarithm of its denominator."""
    scores = factor * (q.astype(np.float64) @ k.astype(np.float64).T)
    scores[~seen] = -np.inf
    largest = scores.max(axis=1, initial=-np.inf, keepdims=True)
    # A row of nothing but minus infinity would give minus infinity minus itself.
    largest[np.isneginf(largest)] = 0.0
    exponentials = np.exp(scores - largest)
    sums = exponentials.sum(axis=1, keepdims=True)
    weights = np.divide(exponentials, sums, out=np.zeros_like(scores), where=sums > 0)
    with np.errstate(divide="ignore"):
        lse = np.log(sums) + largest
    return weights, lse[:, 0]
