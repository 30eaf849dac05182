"""Work and least traffic of one call of attention, for benches and rates."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from kernels.attention.mask import FULL, Mask
from kernels.attention.model import (
    BACKWARD_PRODUCTS,
    FORWARD_PRODUCTS,
    AttentionShape,
    attention_flop,
)
from kernels.attention.operands import Heads

__all__ = ["AttentionWork", "attention_work"]

PRODUCTS = {"forward": FORWARD_PRODUCTS, "backward": BACKWARD_PRODUCTS}


class AttentionWork(NamedTuple):
    """What a call has to do at least."""

    flop: int
    """Floating-point work of the products that the mask leaves. [flop]"""
    traffic_bytes: int
    """Each operand read once and each result written once. [byte]"""


def attention_work(
    q: Heads, k: Heads, *, direction: Literal["forward", "backward"], mask: Mask = FULL
) -> AttentionWork:
    """Work and traffic of a fused call; values have the shape of the keys.

    The forward pass reads q, k and v and writes the output and the log-sum-exp; the backward pass
    reads all five and the gradient by the output, and writes three gradients. The backward pass
    counts five products, also for kernels that compute the scores more than once.

    Parameters
    ----------
    q
        Queries in (batch, heads, query_len, head_dim).
    k
        Keys in (batch, kv_heads, key_len, head_dim).
    direction
        Which pass; backward is that pass alone.
    mask
        Which keys a query sees.

    Returns
    -------
    AttentionWork
        Work and traffic. [flop], [byte]
    """
    n_pairs = q.shape[2] * k.shape[2]
    seen = mask.n_visible_pairs(q.shape[2], k.shape[2])
    shape = AttentionShape(
        batch=q.shape[0],
        n_heads=q.shape[1],
        n_kv_heads=k.shape[1],
        query_len=q.shape[2],
        key_len=k.shape[2],
        head_dim=q.shape[3],
        visible_fraction=seen / n_pairs if n_pairs else 0.0,
        element_bytes=q.itemsize,
    )
    lse_bytes = int(np.prod(q.shape[:3])) * q.itemsize
    n_of_query, n_of_key = (2, 2) if direction == "forward" else (4, 4)
    return AttentionWork(
        flop=round(attention_flop(shape, PRODUCTS[direction])),
        traffic_bytes=n_of_query * q.nbytes + n_of_key * k.nbytes + lse_bytes,
    )
