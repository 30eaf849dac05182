"""Calls of the host's kernels with operands from one pool of numbers.

Every case takes views of the same pool, so that hundreds of cases need neither the memory nor the
time that fresh random operands would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.attention.cpu import attention_backward_numba, attention_numba
from kernels.attention.mask import CAUSAL, FULL
from kernels.gemm.cpu import gemm_numba
from kernels.host.case import ATTENTION, GEMM, HostCase
from kernels.memory_bound.cpu_activations import (
    gelu_backward_numba,
    gelu_numba,
    swiglu_backward_numba,
    swiglu_numba,
)
from kernels.memory_bound.cpu_adamw import adamw_numba
from kernels.memory_bound.cpu_cross_entropy import (
    cross_entropy_backward_numba,
    cross_entropy_numba,
)
from kernels.memory_bound.cpu_norms import (
    layer_norm_backward_numba,
    layer_norm_numba,
    rms_norm_backward_numba,
    rms_norm_numba,
)
from kernels.memory_bound.reference import AdamW

__all__ = ["OPERATION_CALLS", "Pool", "case_call"]

Array = NDArray[np.float32]
Call = Callable[[], object]

# Products of the BLAS as a training step calls them, without the checks of `gemm_blas`.
PRODUCTS: dict[str, Callable[..., object]] = {"blas": np.matmul, "numba": gemm_numba}

LINE_ELEMENTS = 16
"""Views begin on cache lines. [elements]"""

SEED = 2718


class Pool:
    """Normal random numbers that views of operands are cut from, and room for one result."""

    def __init__(self, n_elements: int) -> None:
        random = np.random.default_rng(SEED)
        block = random.standard_normal(min(n_elements, 2**20), dtype=np.float32)
        self._numbers = np.resize(block, n_elements)
        self._results = np.zeros(n_elements, dtype=np.float32)
        self._taken = 0

    def reset(self) -> None:
        """Give back all views."""
        self._taken = 0

    def take(self, *shape: int) -> Array:
        """A view that no other view since the last reset overlaps."""
        n = int(np.prod(shape))
        start = self._taken
        if start + n > self._numbers.size:
            msg = f"the pool has {self._numbers.size} numbers; {start + n} are asked for"
            raise ValueError(msg)
        self._taken = -(-(start + n) // LINE_ELEMENTS) * LINE_ELEMENTS
        return self._numbers[start : start + n].reshape(shape)

    def result(self, *shape: int) -> Array:
        """Room for what a kernel writes; it has been touched, so no page of it is new."""
        return self._results[: int(np.prod(shape))].reshape(shape)


def case_call(case: HostCase, pool: Pool) -> Call:
    """The kernel of a case, ready to be called again and again."""
    pool.reset()
    if case.family == GEMM:
        return _gemm_call(case, pool)
    if case.family == ATTENTION:
        return _attention_call(case, pool)
    make: Callable[..., Call] = OPERATION_CALLS[case.part]
    return make(pool, *case.sizes)


def _gemm_call(case: HostCase, pool: Pool) -> Call:
    m, n, k = case.sizes
    # As a training step calls them: x W, dy W^T and x^T dy.
    a = pool.take(k, m).T if case.layout == "NT" else pool.take(m, k)
    b = pool.take(n, k).T if case.layout == "TN" else pool.take(k, n)
    out = pool.result(m, n)
    product = PRODUCTS[case.part]
    return lambda: product(a, b, out=out)


def _attention_call(case: HostCase, pool: Pool) -> Call:
    batch, heads, kv_heads, tokens, head_dim, is_causal = case.sizes
    mask = CAUSAL if is_causal else FULL
    q = pool.take(batch, heads, tokens, head_dim)
    k, v = (pool.take(batch, kv_heads, tokens, head_dim) for _ in range(2))
    if case.part == "fwd":
        return lambda: attention_numba(q, k, v, mask=mask)
    result = attention_numba(q, k, v, mask=mask)
    gradient = pool.take(batch, heads, tokens, head_dim)
    return lambda: attention_backward_numba(q, k, v, result, gradient, mask=mask)


def _copy(pool: Pool, rows: int, columns: int) -> Call:
    x, out = pool.take(rows, columns), pool.result(rows, columns)
    return lambda: np.copyto(out, x)


def _residual_add(pool: Pool, rows: int, columns: int) -> Call:
    x, y = pool.take(rows, columns), pool.take(rows, columns)
    return lambda: np.add(x, y)


def _rms_norm(pool: Pool, rows: int, columns: int) -> Call:
    x, weight = pool.take(rows, columns), pool.take(columns)
    return lambda: rms_norm_numba(x, weight)


def _rms_norm_backward(pool: Pool, rows: int, columns: int) -> Call:
    x, d_y, weight = pool.take(rows, columns), pool.take(rows, columns), pool.take(columns)
    return lambda: rms_norm_backward_numba(d_y, x, weight)


def _layer_norm(pool: Pool, rows: int, columns: int) -> Call:
    x, weight, bias = pool.take(rows, columns), pool.take(columns), pool.take(columns)
    return lambda: layer_norm_numba(x, weight, bias)


def _layer_norm_backward(pool: Pool, rows: int, columns: int) -> Call:
    x, d_y, weight = pool.take(rows, columns), pool.take(rows, columns), pool.take(columns)
    return lambda: layer_norm_backward_numba(d_y, x, weight)


def _swiglu(pool: Pool, rows: int, columns: int) -> Call:
    gate, value = pool.take(rows, columns), pool.take(rows, columns)
    return lambda: swiglu_numba(gate, value)


def _swiglu_backward(pool: Pool, rows: int, columns: int) -> Call:
    gate, value, d_y = (pool.take(rows, columns) for _ in range(3))
    return lambda: swiglu_backward_numba(d_y, gate, value)


def _gelu(pool: Pool, rows: int, columns: int) -> Call:
    x = pool.take(rows, columns)
    return lambda: gelu_numba(x)


def _gelu_backward(pool: Pool, rows: int, columns: int) -> Call:
    x, d_y = pool.take(rows, columns), pool.take(rows, columns)
    return lambda: gelu_backward_numba(d_y, x)


def _targets(rows: int, columns: int) -> NDArray[np.int64]:
    return np.arange(rows, dtype=np.int64) % columns


def _cross_entropy(pool: Pool, rows: int, columns: int) -> Call:
    logits, target = pool.take(rows, columns), _targets(rows, columns)
    return lambda: cross_entropy_numba(logits, target)


def _cross_entropy_backward(pool: Pool, rows: int, columns: int) -> Call:
    logits, target = pool.take(rows, columns), _targets(rows, columns)
    loss, log_sum_exp = cross_entropy_numba(logits, target)
    return lambda: cross_entropy_backward_numba(loss, logits, target, log_sum_exp)


def _adamw(pool: Pool, rows: int, columns: int) -> Call:
    gradient = pool.take(rows, columns)
    # Weights of its own, and moments at zero: the second may not be negative.
    weight = gradient.copy()
    moments = (np.zeros_like(weight), np.zeros_like(weight))
    rule = AdamW(learning_rate=1e-6)
    return lambda: adamw_numba(weight, gradient, moments, rule)


OPERATION_CALLS: dict[str, Callable[..., Any]] = {
    "copy-fwd": _copy,
    "residual_add-fwd": _residual_add,
    "rmsnorm-fwd": _rms_norm,
    "rmsnorm-bwd": _rms_norm_backward,
    "layernorm-fwd": _layer_norm,
    "layernorm-bwd": _layer_norm_backward,
    "swiglu-fwd": _swiglu,
    "swiglu-bwd": _swiglu_backward,
    "gelu-fwd": _gelu,
    "gelu-bwd": _gelu_backward,
    "cross_entropy-fwd": _cross_entropy,
    "cross_entropy-bwd": _cross_entropy_backward,
    "adamw-fwd": _adamw,
}
"""Makes the call of each operation from a pool, rows and columns; names of operations.toml."""
