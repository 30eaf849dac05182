"""Cross-entropy on the host in Numba: the largest logit and the sum of exponentials in one pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from kernels.memory_bound.operands import require_matrices, require_of_rows, require_targets

__all__ = ["cross_entropy_backward_numba", "cross_entropy_numba"]

Array = NDArray[np.floating]
Targets = NDArray[np.integer]


def cross_entropy_numba(logits: Array, target: Targets) -> tuple[Array, Array]:
    """Loss of each row, and the logarithm of the sum of its exponentials.

    Parameters
    ----------
    logits
        Contiguous matrix (n_rows, n_classes), float32 or float64.
    target
        Class of each row, 0 to n_classes - 1.

    Returns
    -------
    tuple
        (loss, log_sum_exp), each of n_rows; the backward pass takes the second.
    """
    require_matrices(logits)
    require_targets(target, logits)
    loss = np.empty(len(logits), dtype=logits.dtype)
    log_sum_exp = np.empty_like(loss)
    _build()[0](logits, target, loss, log_sum_exp)
    return loss, log_sum_exp


def cross_entropy_backward_numba(
    d_loss: Array, logits: Array, target: Targets, log_sum_exp: Array
) -> Array:
    """Gradient d_logits of `cross_entropy_numba`; `d_loss` weights each row."""
    require_matrices(logits)
    require_targets(target, logits)
    require_of_rows(d_loss, logits)
    require_of_rows(log_sum_exp, logits)
    d_logits = np.empty_like(logits)
    _build()[1]((d_loss, logits, target, log_sum_exp), d_logits)
    return d_logits


@cache
def _build() -> tuple[Callable[..., None], Callable[..., None]]:
    from numba import njit, prange

    @njit(parallel=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
    def forward(logits, target, loss, log_sum_exp):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        for i in prange(logits.shape[0]):
            row = logits[i]
            top = row[0]
            for j in range(1, row.shape[0]):
                top = max(top, row[j])
            total = row[0] * 0
            for j in range(row.shape[0]):
                total += np.exp(row[j] - top)
            log_sum_exp[i] = top + np.log(total)
            # From the largest logit, so that two big numbers do not cancel.
            loss[i] = np.log(total) - (row[target[i]] - top)

    @njit(parallel=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
    def backward(operands, d_logits):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        d_loss, logits, target, log_sum_exp = operands
        for i in prange(logits.shape[0]):
            row, result = logits[i], d_logits[i]
            for j in range(row.shape[0]):
                result[j] = d_loss[i] * np.exp(row[j] - log_sum_exp[i])
            result[target[i]] -= d_loss[i]

    return forward, backward
