"""Operands of an attention call: their layout, what must fit, and what comes back.

Everywhere in this folder heads are laid out as (batch, heads, sequence, head_dim). Grouped queries:
n_kv_heads divides n_heads, and query head h reads key and value head h // (n_heads / n_kv_heads).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Gradients",
    "Heads",
    "Result",
    "require_float_type",
    "require_gradient",
    "require_operands",
    "require_result",
    "softmax_scale",
]

Heads = NDArray[np.floating]


class Result(NamedTuple):
    """Output of the forward pass, and what the backward pass needs of it."""

    out: Heads
    """Weighted values, laid out as the queries; 0 for a query that sees no key."""
    lse: Heads
    """Natural logarithm of the sum of exponentials of each query's scaled scores, in
    (batch, heads, query_len); minus infinity for a query that sees no key."""


class Gradients(NamedTuple):
    """Gradients by queries, keys and values, each laid out as its operand."""

    dq: Heads
    dk: Heads
    dv: Heads


def require_operands(q: Heads, k: Heads, v: Heads) -> None:
    """Raise a ValueError of one line unless the three operands fit each other."""
    shapes = f"shapes q {q.shape}, k {k.shape}, v {v.shape}"
    if not q.ndim == k.ndim == v.ndim == 4:
        msg = f"{shapes}: expected (batch, heads, sequence, head_dim) for each"
        raise ValueError(msg)
    if k.shape != v.shape:
        msg = f"{shapes}: expected the same shape for k and v"
        raise ValueError(msg)
    if q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3]:
        msg = f"{shapes}: expected one batch and one head_dim"
        raise ValueError(msg)
    if q.shape[3] == 0:
        msg = f"{shapes}: expected a head_dim of at least 1"
        raise ValueError(msg)
    if k.shape[1] == 0 or q.shape[1] % k.shape[1] != 0:
        msg = f"{shapes}: expected kv heads ({k.shape[1]}) that divide heads ({q.shape[1]})"
        raise ValueError(msg)


def require_float_type(*operands: Heads) -> None:
    """Raise a ValueError of one line unless all are float32 or all are float64."""
    found = [operand.dtype for operand in operands]
    if any(dtype != found[0] or dtype not in (np.float32, np.float64) for dtype in found):
        names = ", ".join(str(dtype) for dtype in found)
        msg = f"types {names}: expected float32 or float64, the same for all"
        raise ValueError(msg)


def require_result(q: Heads, result: Result) -> None:
    """Raise a ValueError of one line unless a result has the shapes that belong to q."""
    if result.out.shape != q.shape or result.lse.shape != q.shape[:3]:
        found = f"shapes out {result.out.shape}, lse {result.lse.shape}"
        msg = f"{found}: expected {q.shape} and {q.shape[:3]}, those of q"
        raise ValueError(msg)


def require_gradient(q: Heads, gradient: Heads) -> None:
    """Raise a ValueError of one line unless a gradient by the output has the shape of q."""
    if gradient.shape != q.shape:
        msg = f"shape gradient {gradient.shape}: expected {q.shape}, that of q"
        raise ValueError(msg)


def softmax_scale(scale: float | None, head_dim: int) -> float:
    """Factor on the scores: the one given, or one over the root of the head dim. [1]."""
    if scale is None:
        return 1.0 / math.sqrt(head_dim)
    if not (scale > 0 and math.isfinite(scale)):
        msg = f"scale={scale}: expected a positive number"
        raise ValueError(msg)
    return float(scale)
