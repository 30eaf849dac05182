# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
"""Cross-entropy on the host in Numba: a row is read once, block by block, on all cores.

As in flash attention, the sum of exponentials goes with the largest logit so far, and is scaled
down when a larger one turns up. A sum of sums of blocks keeps the digits that a sum of a hundred
thousand small numbers would lose.

This module imports Numba; `cpu_cross_entropy.py` imports it when a kernel is first used.

References
----------
M. Milakov and N. Gimelshein, Online Normalizer Calculation for Softmax, 2018.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from kernels.compiled_code import forget_older_code
from kernels.memory_bound import host_exponential
from kernels.memory_bound.host_exponential import exponential

__all__ = ["backward", "forward"]

BLOCK = 1024
"""Logits that stay in the first-level cache between the search for the largest and the sum. [1]"""
N_LANES = 64
"""Largest logits that are kept side by side, as the lanes of vectors. [1]"""


@njit(cache=True)
def _largest(block, lanes):
    """Largest number of a block; what is no number is passed over."""
    lanes[:] = -np.inf
    n_whole = block.size // N_LANES * N_LANES
    for start in range(0, n_whole, N_LANES):
        part = block[start : start + N_LANES]
        for i in range(N_LANES):
            lanes[i] = part[i] if part[i] > lanes[i] else lanes[i]
    for i in range(n_whole, block.size):
        lanes[0] = block[i] if block[i] > lanes[0] else lanes[0]
    top = lanes[0]
    for i in range(1, N_LANES):
        top = lanes[i] if lanes[i] > top else top
    return top


@njit(cache=True, fastmath={"reassoc", "contract"})
def _sum_of_exponentials(block, top):
    total = block.dtype.type(0)
    for i in range(block.size):
        total += exponential(block[i] - top)
    return total


@njit(cache=True)
def _top_and_sum(row):
    """Largest logit of a row, and the sum of exponentials of all less the largest."""
    lanes = np.empty(N_LANES, row.dtype)
    zero = row.dtype.type(0)
    top, total = row.dtype.type(-np.inf), zero
    for start in range(0, row.size, BLOCK):
        block = row[start : start + BLOCK]
        new_top = max(top, _largest(block, lanes))
        # A first block without a finite logit has nothing to be taken from.
        base = new_top if new_top > -np.inf else zero
        total = total * exponential(top - base) + _sum_of_exponentials(block, base)
        top = new_top
    return top, total


@njit(parallel=True, cache=True)
def forward(logits, target, loss, log_sum_exp):
    """Loss and log-sum-exp of each row."""
    for i in prange(logits.shape[0]):
        top, total = _top_and_sum(logits[i])
        log_sum_exp[i] = top + np.log(total)
        # From the largest logit, so that two big numbers do not cancel.
        loss[i] = np.log(total) - (logits[i, target[i]] - top)


@njit(parallel=True, cache=True)
def backward(operands, d_logits):
    """Gradient by the logits, from (d_loss, logits, target, log_sum_exp)."""
    d_loss, logits, target, log_sum_exp = operands
    for i in prange(logits.shape[0]):
        row, result = logits[i], d_logits[i]
        for j in range(row.shape[0]):
            result[j] = d_loss[i] * exponential(row[j] - log_sum_exp[i])
        result[target[i]] -= d_loss[i]


forget_older_code(forward, host_exponential)
