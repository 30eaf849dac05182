# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
"""Flash-style forward attention on the host: online softmax over blocks of keys.

Columns of the tiles are queries, rows are keys. Only blocks that the mask leaves are visited.

References
----------
T. Dao, FlashAttention-2, 2023, algorithm 1.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from kernels.attention import host_tiles
from kernels.attention.host_tiles import (
    FAST,
    ROW_BLOCK,
    STRIP,
    block_rows,
    block_span,
    exp2_nonpositive,
    hide,
    multiply_add,
    outside_in,
    pack_rows,
    pack_transposed,
    padded,
    unpack_transposed,
)
from kernels.compiled_code import forget_older_code

__all__ = ["forward_kernel"]

LN2 = math.log(2.0)


@njit(cache=True, fastmath=FAST)
def _softmax_step(scores, n_keys, state, log2_scale, span):
    """Turn scores into exponentials; update each query's maximum, sum and correction."""
    largest, sums, correction, block_sums = state
    start, n = span[0], span[1] - span[0]
    top, total = largest[start:], sums[start:]
    factor, part = correction[start:], block_sums[start:]
    for i in range(n):
        factor[i] = top[i]
    for key in range(n_keys):
        row = scores[key * STRIP + start :]
        for i in range(n):
            top[i] = row[i] if row[i] > top[i] else top[i]
    for i in range(n):
        factor[i] = exp2_nonpositive((factor[i] - top[i]) * log2_scale)
        part[i] = 0
    # The difference is taken before the scale: of large scores it keeps more digits.
    for key in range(n_keys):
        row = scores[key * STRIP + start :]
        for i in range(n):
            weight = exp2_nonpositive((row[i] - top[i]) * log2_scale)
            row[i] = weight
            part[i] += weight
    # A sum of sums of blocks: adding thousands of weights one by one would cost a digit.
    for i in range(n):
        total[i] = total[i] * factor[i] + part[i]


@njit(cache=True, fastmath=FAST)
def _rescale(tile, n_rows, correction, span):
    for row in range(n_rows):
        for i in range(span[0], span[1]):
            tile[row * STRIP + i] *= correction[i]


@njit(cache=True)
def _finish(out, lse, tile, state, queries, log2_scale):  # noqa: PLR0917
    """Divide by the sums and write what the task owns."""
    largest, sums = state[0], state[1]
    for i in range(queries[1] - queries[0]):
        if sums[i] > 0:
            lse[queries[0] + i] = (largest[i] * log2_scale + np.log2(sums[i])) * LN2
            inverse = 1 / sums[i]
            for d in range(out.shape[1]):
                tile[d * STRIP + i] *= inverse
        else:
            lse[queries[0] + i] = -np.inf
    unpack_transposed(out, tile, queries[0], queries[1])


@njit(cache=True)
def _attend(heads, results, queries, band, log2_scale):
    """Output of one block of queries of one head."""
    q, k, v = heads
    width = padded(q.shape[1])
    q_tile, out_tile = np.zeros(width * STRIP, q.dtype), np.zeros(width * STRIP, q.dtype)
    scores = np.empty(ROW_BLOCK * STRIP, q.dtype)
    k_block, v_block = np.zeros(ROW_BLOCK * width, q.dtype), np.zeros(ROW_BLOCK * width, q.dtype)
    sums = (np.zeros(STRIP, q.dtype), np.zeros(STRIP, q.dtype), np.zeros(STRIP, q.dtype))
    state = (np.full(STRIP, -np.inf, q.dtype), *sums)
    pack_transposed(q_tile, q, queries[0], queries[1])
    first, stop = block_rows(queries, band, k.shape[0])
    for key in range(first, stop, ROW_BLOCK):
        keys = (key, min(stop, key + ROW_BLOCK))
        n_keys = keys[1] - keys[0]
        n_rows, span = padded(n_keys), block_span(keys, queries, band)
        pack_rows(k_block, k, keys[0], keys[1])
        pack_rows(v_block, v, keys[0], keys[1])
        scores[: n_rows * STRIP] = 0
        multiply_add(scores, k_block, q_tile, (n_rows, width, width, 1), span)
        hide(scores, keys, queries[0], band, span)
        _softmax_step(scores, n_keys, state, log2_scale, span)
        _rescale(out_tile, width, state[2], span)
        multiply_add(out_tile, v_block, scores, (width, n_rows, 1, width), span)
    _finish(results[0], results[1], out_tile, state, queries, log2_scale)


@njit(parallel=True, cache=True)
def forward_kernel(heads, results, band, log2_scale):
    """Attention over all heads and blocks of queries in parallel.

    Parameters
    ----------
    heads
        q, k and v in (batch, heads, sequence, head_dim), contiguous and of one type.
    results
        out and lse, written in full.
    band
        First and last query, counted from key 0, that see key 0. [1]
    log2_scale
        Softmax scale times the logarithm of e to base 2, in the type of q. [1]
    """
    q, k, v = heads
    out, lse = results
    n_heads, query_len = q.shape[1], q.shape[2]
    group = n_heads // k.shape[1]
    n_blocks = (query_len + STRIP - 1) // STRIP
    for task in prange(q.shape[0] * n_heads * n_blocks):
        batch, rest = task // (n_heads * n_blocks), task % (n_heads * n_blocks)
        head, block = rest // n_blocks, outside_in(rest % n_blocks, n_blocks)
        queries = (block * STRIP, min(query_len, (block + 1) * STRIP))
        one_head = (q[batch, head], k[batch, head // group], v[batch, head // group])
        _attend(one_head, (out[batch, head], lse[batch, head]), queries, band, log2_scale)


forget_older_code(forward_kernel, host_tiles)
