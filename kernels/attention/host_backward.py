# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
"""Flash-style backward attention on the host, in two passes that never write the same number.

The pass for dq owns blocks of queries and visits keys, as the forward pass does; the pass for dk
and dv owns blocks of keys and visits the queries of all heads that share them. Both compute the
weights again from the log-sum-exp.

References
----------
T. Dao, FlashAttention-2, 2023, algorithm 2.
"""

from __future__ import annotations

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

__all__ = ["key_kernel", "query_kernel"]


@njit(cache=True)
def _product(tile, block, columns_tile, sizes, span):
    """Overwrite a tile with block rows times the columns of another tile."""
    n_rows, width = sizes
    tile[: n_rows * STRIP] = 0
    multiply_add(tile, block, columns_tile, (n_rows, width, width, 1), span)


@njit(cache=True, fastmath=FAST)
def _weigh_columns(tiles, n_rows, statistics, log2_scale, span):
    """Gradients by scores where columns are queries: lse and row sums belong to columns."""
    start, n = span[0], span[1] - span[0]
    lse, sums = statistics[0][start:], statistics[1][start:]
    for row in range(n_rows):
        scores = tiles[0][row * STRIP + start :]
        gradients = tiles[1][row * STRIP + start :]
        for i in range(n):
            weight = exp2_nonpositive(scores[i] * log2_scale - lse[i])
            gradients[i] = weight * (gradients[i] - sums[i])


@njit(cache=True, fastmath=FAST)
def _weigh_rows(tiles, rows, statistics, log2_scale, span):
    """Weights and gradients by scores where rows are queries."""
    start, n = span[0], span[1] - span[0]
    for row in range(rows[1] - rows[0]):
        scores = tiles[0][row * STRIP + start :]
        gradients = tiles[1][row * STRIP + start :]
        lse, sums = statistics[0][rows[0] + row], statistics[1][rows[0] + row]
        for i in range(n):
            weight = exp2_nonpositive(scores[i] * log2_scale - lse)
            scores[i] = weight
            gradients[i] = weight * (gradients[i] - sums)


@njit(cache=True)
def _tiles(width, dtype):
    """Empty room of a task: four tiles as wide as a head, two blocks, and two tiles of scores."""
    size = width * STRIP
    tiles = (np.zeros(size, dtype), np.zeros(size, dtype), np.zeros(size, dtype))
    blocks = (np.zeros(ROW_BLOCK * width, dtype), np.zeros(ROW_BLOCK * width, dtype))
    scores = (np.empty(ROW_BLOCK * STRIP, dtype), np.empty(ROW_BLOCK * STRIP, dtype))
    return (*tiles, np.zeros(size, dtype)), blocks, scores


@njit(cache=True)
def _query_task(operands, statistics, dq, queries, band, scales):  # noqa: PLR0917
    """Gradient by one block of queries of one head."""
    q, k, v, gradient = operands
    width = padded(q.shape[1])
    (q_tile, by_out, by_q, _), (k_block, v_block), tiles = _tiles(width, q.dtype)
    pack_transposed(q_tile, q, queries[0], queries[1])
    pack_transposed(by_out, gradient, queries[0], queries[1])
    own = (statistics[0][queries[0] : queries[1]], statistics[1][queries[0] : queries[1]])
    first, stop = block_rows(queries, band, k.shape[0])
    for key in range(first, stop, ROW_BLOCK):
        keys = (key, min(stop, key + ROW_BLOCK))
        n_keys = keys[1] - keys[0]
        n_rows, span = padded(n_keys), block_span(keys, queries, band)
        pack_rows(k_block, k, keys[0], keys[1])
        pack_rows(v_block, v, keys[0], keys[1])
        _product(tiles[0], k_block, q_tile, (n_rows, width), span)
        _product(tiles[1], v_block, by_out, (n_rows, width), span)
        hide(tiles[0], keys, queries[0], band, span)
        _weigh_columns(tiles, n_keys, own, scales[1], span)
        multiply_add(by_q, k_block, tiles[1], (width, n_rows, 1, width), span)
    by_q *= scales[0]
    unpack_transposed(dq, by_q, queries[0], queries[1])


@njit(cache=True)
def _add_queries(operands, statistics, room, keys, band, log2_scale):  # noqa: PLR0917
    """Add what the queries of one head give to the gradients by one block of keys."""
    q, gradient = operands
    width = padded(q.shape[1])
    (k_tile, v_tile, by_k, by_v), (q_block, by_out), tiles = room
    first, stop = block_rows(keys, band, q.shape[0])
    for query in range(first, stop, ROW_BLOCK):
        queries = (query, min(stop, query + ROW_BLOCK))
        n_rows, span = padded(queries[1] - queries[0]), block_span(queries, keys, band)
        pack_rows(q_block, q, queries[0], queries[1])
        pack_rows(by_out, gradient, queries[0], queries[1])
        _product(tiles[0], q_block, k_tile, (n_rows, width), span)
        _product(tiles[1], by_out, v_tile, (n_rows, width), span)
        hide(tiles[0], queries, keys[0], band, span)
        _weigh_rows(tiles, queries, statistics, log2_scale, span)
        multiply_add(by_v, by_out, tiles[0], (width, n_rows, 1, width), span)
        multiply_add(by_k, q_block, tiles[1], (width, n_rows, 1, width), span)


@njit(parallel=True, cache=True)
def query_kernel(operands, statistics, dq, band, scales):
    """Gradient by q over all heads and blocks of queries in parallel.

    Parameters
    ----------
    operands
        q, k, v and the gradient by the output, contiguous and of one type.
    statistics
        Log-sum-exp to base 2, and the sum of output times its gradient, in (batch, heads, query).
    dq
        Receives the gradient by q, in full.
    band
        First and last query, counted from key 0, that see key 0. [1]
    scales
        Softmax scale, and that times the logarithm of e to base 2, in the type of q. [1]
    """
    q, k, v, gradient = operands
    n_heads, query_len = q.shape[1], q.shape[2]
    group = n_heads // k.shape[1]
    n_blocks = (query_len + STRIP - 1) // STRIP
    for task in prange(q.shape[0] * n_heads * n_blocks):
        b, rest = task // (n_heads * n_blocks), task % (n_heads * n_blocks)
        h, block = rest // n_blocks, outside_in(rest % n_blocks, n_blocks)
        queries = (block * STRIP, min(query_len, (block + 1) * STRIP))
        one_head = (q[b, h], k[b, h // group], v[b, h // group], gradient[b, h])
        own = (statistics[0][b, h], statistics[1][b, h])
        _query_task(one_head, own, dq[b, h], queries, band, scales)


@njit(parallel=True, cache=True)
def key_kernel(operands, statistics, gradients, band, scales):
    """Gradients by k and v over all their heads and blocks of keys in parallel.

    Parameters
    ----------
    operands, statistics, scales
        As in `query_kernel`.
    gradients
        Receive the gradients by k and v, in full.
    band
        First and last key that query 0 sees, before they are cut to the keys there are. [1]
    """
    q, k, v, gradient = operands
    n_heads, key_len = k.shape[1], k.shape[2]
    group, width = q.shape[1] // n_heads, padded(q.shape[3])
    n_blocks = (key_len + STRIP - 1) // STRIP
    for task in prange(k.shape[0] * n_heads * n_blocks):
        b, rest = task // (n_heads * n_blocks), task % (n_heads * n_blocks)
        h, block = rest // n_blocks, outside_in(rest % n_blocks, n_blocks)
        keys = (block * STRIP, min(key_len, (block + 1) * STRIP))
        room = _tiles(width, q.dtype)
        pack_transposed(room[0][0], k[b, h], keys[0], keys[1])
        pack_transposed(room[0][1], v[b, h], keys[0], keys[1])
        for head in range(h * group, (h + 1) * group):
            own = (statistics[0][b, head], statistics[1][b, head])
            one_head = (q[b, head], gradient[b, head])
            _add_queries(one_head, own, room, keys, band, scales[1])
        by_k, by_v = room[0][2], room[0][3]
        by_k *= scales[0]
        unpack_transposed(gradients[0][b, h], by_k, keys[0], keys[1])
        unpack_transposed(gradients[1][b, h], by_v, keys[0], keys[1])


forget_older_code(query_kernel, host_tiles)
