# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
"""Tiles of the host's attention in Numba: products, masks and exponentials.

A tile is a flat array of rows of `STRIP` numbers. Its columns are the queries (or keys) that a task
owns, its rows whatever it visits, so that every inner loop runs over columns at unit stride and
no reduction crosses vector lanes. Rows lie a constant apart, which lets the compiler see that they
do not overlap: with rows as separate arrays it checks all pairs at each call, and short strips run
at a quarter of the speed. Rows and depths are padded to multiples of four with zeros, so that
products have no tails.

This module imports Numba; `cpu.py` imports it when a kernel is first used.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types
from numba.extending import overload

__all__ = [
    "ROW_BLOCK",
    "STRIP",
    "block_rows",
    "block_span",
    "exp2_nonpositive",
    "hide",
    "multiply_add",
    "outside_in",
    "pack_rows",
    "pack_transposed",
    "padded",
    "unpack_transposed",
]

STRIP = 192
"""Columns of a tile: those that one task owns. [1]"""
ROW_BLOCK = 64
"""Rows that are visited at a time; a tile of scores is 48 KiB in float32. [1]"""
DEPTH_BLOCK = 16
"""Rows of the second factor that all rows of the product take in turn; they stay in the first-level
cache. [1]"""

FAST = {"reassoc", "contract"}


def _exp2_series(degree: int) -> list[float]:
    """Taylor series of 2**x around 0, constant first."""
    return [math.log(2.0) ** k / math.factorial(k) for k in range(degree + 1)]


# On -1/2..1/2 what the series leave out is below half a unit in the last place: 5e-9 and 4e-18.
SERIES_32 = tuple(np.float32(c) for c in _exp2_series(7))
SERIES_64 = tuple(_exp2_series(13))
HALF_32 = np.float32(0.5)
LEAST_32 = np.float32(-127.0)
LEAST_64 = -1023.0


def exp2_nonpositive(x):
    """2**x for x up to about 0, as code that compilers turn into vectors; 0 below the normals.

    The libraries' exponentials are calls, which keep a loop from becoming vector code. NaN stays
    NaN. The exponent's bits are set directly: those of -127 (or -1023) are zero, and so is 2**x.
    """
    raise NotImplementedError  # pragma: no cover - Numba takes one of the two below


@overload(exp2_nonpositive)
def _exp2_for_type(x):
    if x == types.float32:
        return _exp2_32
    return _exp2_64


def _exp2_32(x):
    clamped = LEAST_32 if x < LEAST_32 else x
    whole = np.floor(clamped + HALF_32)
    part = clamped - whole
    value = SERIES_32[7]
    for i in range(6, -1, -1):
        value = value * part + SERIES_32[i]
    bits = (np.int32(whole) + np.int32(127)) << np.int32(23)
    return value * np.int32(bits).view(np.float32)


def _exp2_64(x):
    clamped = LEAST_64 if x < LEAST_64 else x
    whole = np.floor(clamped + 0.5)
    part = clamped - whole
    value = SERIES_64[13]
    for i in range(12, -1, -1):
        value = value * part + SERIES_64[i]
    bits = (np.int64(whole) + np.int64(1023)) << np.int64(52)
    return value * np.int64(bits).view(np.float64)


@njit(cache=True)
def padded(n):
    """Next multiple of four. [1]."""
    return (n + 3) // 4 * 4


@njit(cache=True, fastmath=FAST)
def _add_four_rows(f, b, c, n):
    for i in range(n):
        b_0, b_1, b_2, b_3 = b[i], b[STRIP + i], b[2 * STRIP + i], b[3 * STRIP + i]
        c[i] += f[0] * b_0 + f[1] * b_1 + f[2] * b_2 + f[3] * b_3
        c[STRIP + i] += f[4] * b_0 + f[5] * b_1 + f[6] * b_2 + f[7] * b_3
        c[2 * STRIP + i] += f[8] * b_0 + f[9] * b_1 + f[10] * b_2 + f[11] * b_3
        c[3 * STRIP + i] += f[12] * b_0 + f[13] * b_1 + f[14] * b_2 + f[15] * b_3


@njit(cache=True, fastmath=FAST)
def multiply_add(c, a, b, sizes, span):
    """Add the product of a block a and a tile b to a tile c, in the columns of a span.

    Parameters
    ----------
    c, b
        Tiles of n_rows and depth rows.
    a
        Flat block; its element (row, k) lies at row * row_step + k * depth_step.
    sizes
        n_rows and depth, both multiples of four, row_step and depth_step. [1]
    span
        First column and the one after the last. [1]
    """
    n_rows, depth, row, step = sizes
    start, n = span[0], span[1] - span[0]
    for first in range(0, depth, DEPTH_BLOCK):
        for r in range(0, n_rows, 4):
            c_rows = c[r * STRIP + start :]
            for k in range(first, min(depth, first + DEPTH_BLOCK), 4):
                o = r * row + k * step
                p, q, s = o + row, o + 2 * row, o + 3 * row
                f = (
                    *(a[o], a[o + step], a[o + 2 * step], a[o + 3 * step]),
                    *(a[p], a[p + step], a[p + 2 * step], a[p + 3 * step]),
                    *(a[q], a[q + step], a[q + 2 * step], a[q + 3 * step]),
                    *(a[s], a[s + step], a[s + 2 * step], a[s + 3 * step]),
                )
                _add_four_rows(f, b[k * STRIP + start :], c_rows, n)


@njit(cache=True)
def pack_rows(block, head, start, stop):
    """Copy rows start..stop of a head (length, head_dim) into a flat block padded with zeros."""
    width = padded(head.shape[1])
    block[(stop - start) * width : padded(stop - start) * width] = 0
    for row in range(stop - start):
        for d in range(head.shape[1]):
            block[row * width + d] = head[start + row, d]


@njit(cache=True)
def pack_transposed(tile, head, start, stop):
    """Copy rows start..stop of a head (length, head_dim) into the columns of a tile."""
    for column in range(stop - start):
        for d in range(head.shape[1]):
            tile[d * STRIP + column] = head[start + column, d]


@njit(cache=True)
def unpack_transposed(head, tile, start, stop):
    """Copy the columns of a tile into rows start..stop of a head (length, head_dim)."""
    for column in range(stop - start):
        for d in range(head.shape[1]):
            head[start + column, d] = tile[d * STRIP + column]


@njit(cache=True)
def outside_in(position, n_blocks):
    """Block that stands at a position of the order first, last, second, last but one. [1].

    Under a causal mask neighbours in this order add up to the same work, so that threads that take
    equal shares of the tasks finish together.
    """
    return n_blocks - 1 - position // 2 if position % 2 else position // 2


@njit(cache=True)
def block_rows(columns, band, n_rows):
    """First row that sees any of the columns, and the one after the last. [1].

    Row r sees the columns r + band[0] .. r + band[1].
    """
    start = max(0, columns[0] - band[1])
    return start, max(start, min(n_rows, columns[1] - band[0]))


@njit(cache=True)
def block_span(rows, columns, band):
    """Columns, counted from the first, that any row of a block sees. [1].

    The band has a width of at least one, so that each of them is seen by some row of the block.
    """
    start = max(columns[0], rows[0] + band[0])
    return start - columns[0], min(columns[1], rows[1] + band[1]) - columns[0]


@njit(cache=True)
def hide(tile, rows, first_column, band, span):
    """Set to minus infinity what the rows of a block do not see within the span."""
    for row in range(rows[1] - rows[0]):
        first = rows[0] + row + band[0] - first_column
        after = rows[0] + row + band[1] + 1 - first_column
        tile[row * STRIP + span[0] : row * STRIP + max(span[0], min(first, span[1]))] = -np.inf
        tile[row * STRIP + min(span[1], max(after, span[0])) : row * STRIP + span[1]] = -np.inf
