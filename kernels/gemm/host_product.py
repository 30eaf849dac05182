# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
"""GEMM on the host in Numba: panels packed for the caches around a tile in registers.

A task owns a rectangle of the result. For each block of columns and depths it packs B into panels
as wide as a tile, then for each block of rows A into panels as high as one, so that the innermost
loop reads both one number after the other. A panel of B stays in the first-level cache while all
panels of a block of A, which stays in the second, pass by it. Panels are padded with zeros; tiles
that stick out over the edge of the result go through a scratch tile.

This module imports Numba; `cpu.py` imports it when a kernel is first used.

References
----------
K. Goto and R. van de Geijn, Anatomy of High-Performance Matrix Multiplication, 2008.
F. Van Zee and R. van de Geijn, BLIS: A Framework for Rapidly Instantiating BLAS Functionality,
2015.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, njit, prange
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from kernels.compiled_code import forget_older_code
from kernels.gemm import host_tile
from kernels.gemm.host_blocks import choose_blocks, host_caches
from kernels.gemm.host_tile import TILE, multiply_tile, stay_apart

__all__ = ["multiply", "product_kernel"]

Matrix = NDArray[np.floating]

N_ROWS = TILE.n_rows
ROW_BYTES = TILE.n_vectors * TILE.vector_bytes
LINE_BYTES = 64
"""Packed panels begin on a cache line: loads of whole vectors then never touch two. [byte]"""


@njit(cache=True, error_model="numpy")
def _scratch(n, like):
    """Uninitialised flat array of n numbers that begins on a cache line."""
    raw = np.empty(n + LINE_BYTES // like.itemsize, like.dtype)
    start = -raw.ctypes.data % LINE_BYTES // like.itemsize
    return raw[start : start + n]


@njit(cache=True, error_model="numpy")
def _pack(panels, matrix, first, lines, depth, width):  # noqa: PLR0917
    """Copy lines of a matrix into panels of `width` lines, depth by depth.

    Parameters
    ----------
    panels
        Flat array that receives the panels, the last padded with zeros.
    matrix
        Flat array.
    first
        Place of the first number. [1]
    lines
        Lines to be copied, and the elements from line to line. [1]
    depth
        Numbers of a line to be copied, and the elements from one to the next. [1]
    width
        Lines of a panel. [1]
    """
    stay_apart()
    (n_lines, line_step), (n_depths, step) = lines, depth
    for start in range(0, n_lines, width):
        panel = panels[start * n_depths : (start + width) * n_depths]
        n, place = min(width, n_lines - start), first + start * line_step
        if n < width:
            panel[:] = 0
        if line_step == 1:
            for k in range(n_depths):
                for i in range(n):
                    panel[k * width + i] = matrix[place + k * step + i]
        else:
            for i in range(n):
                for k in range(n_depths):
                    panel[k * width + i] = matrix[place + i * line_step + k * step]


@njit(cache=True, error_model="numpy")
def _store_part(out, tile, place, sizes, steps, beta):  # noqa: PLR0917
    """Copy what of a tile lies within the result."""
    for row in range(sizes[0]):
        for column in range(sizes[1]):
            at, value = place + row * steps[0] + column, tile[row * steps[1] + column]
            out[at] = value if beta == 0 else value + beta * out[at]


@njit(cache=True, error_model="numpy")
def _multiply_panels(a_panels, b_panels, out, place, sizes, steps, factors):  # noqa: PLR0917
    """Multiply a packed block of A with one of B, tile by tile."""
    stay_apart()
    n_rows, n_columns, depth = sizes
    row_step, width = steps
    tile = _scratch(N_ROWS * width, out)
    alone = (factors[0], out.dtype.type(0))
    for column in range(0, n_columns, width):
        for row in range(0, n_rows, N_ROWS):
            at = place + row * row_step + column
            part = (min(N_ROWS, n_rows - row), min(width, n_columns - column))
            if part[0] == N_ROWS and part[1] == width:
                places = (row * depth, column * depth, at, row_step)
                multiply_tile(a_panels, b_panels, out, places, depth, factors)
            else:
                places = (row * depth, column * depth, 0, width)
                multiply_tile(a_panels, b_panels, tile, places, depth, alone)
                _store_part(out, tile, at, part, (row_step, width), factors[1])


@njit(cache=True, error_model="numpy")
def _multiply_rectangle(operands, out, firsts, sizes, steps, factors, blocks):  # noqa: PLR0917
    """One task: a rectangle of the result through all depths."""
    stay_apart()
    a, b = operands
    m, n, depth = sizes
    a_row, a_depth, b_depth, b_column, row_step = steps
    row_block, depth_block, column_block = blocks
    width, height = ROW_BYTES // out.itemsize, np.int64(N_ROWS)
    a_panels = _scratch(_up_to(min(m, row_block), N_ROWS) * min(depth, depth_block), out)
    b_panels = _scratch(_up_to(min(n, column_block), width) * min(depth, depth_block), out)
    for j in range(0, n, column_block):
        n_columns = min(column_block, n - j)
        # Without any depth there is still a result to be scaled.
        for k in range(0, max(1, depth), depth_block):
            n_depths = min(depth_block, depth - k)
            scale = factors[1] if k == 0 else out.dtype.type(1)
            place = firsts[1] + k * b_depth + j * b_column
            _pack(b_panels, b, place, (n_columns, b_column), (n_depths, b_depth), width)
            for i in range(0, m, row_block):
                n_rows = min(row_block, m - i)
                place = firsts[0] + i * a_row + k * a_depth
                _pack(a_panels, a, place, (n_rows, a_row), (n_depths, a_depth), height)
                place = firsts[2] + i * row_step + j
                block = (n_rows, n_columns, n_depths)
                both = (factors[0], scale)
                _multiply_panels(a_panels, b_panels, out, place, block, (row_step, width), both)


@njit(cache=True, error_model="numpy")
def _up_to(n, step):
    """Next multiple of a step. [1]."""
    return (n + step - 1) // step * step


@njit(parallel=True, cache=True, error_model="numpy")
def product_kernel(a, b, out, sizes, steps, factors, blocks):  # noqa: PLR0917
    """Out = alpha a b + beta out for a batch of products; where beta is zero, out is not read.

    Parameters
    ----------
    a, b, out
        Flat arrays of one type in which the matrices lie.
    sizes
        Number of products, m, n and k. [1]
    steps
        For each of a, b and out the elements from product to product, from row to row and from
        column to column; those of out lie side by side. [1]
    factors
        Alpha and beta, in the type of the arrays. [1]
    blocks
        Rows, depths and columns of a block; rows and columns of a task's rectangle, which are
        multiples of a tile's. [1]
    """
    n_batches, m, n, depth = sizes
    (a_batch, a_row, a_depth), (b_batch, b_depth, b_column), (out_batch, out_row, _) = steps
    height, width = blocks[3], blocks[4]
    n_down, n_across = (m + height - 1) // height, (n + width - 1) // width
    for task in prange(n_batches * n_down * n_across):
        batch, rest = task // (n_down * n_across), task % (n_down * n_across)
        row, column = rest // n_across * height, rest % n_across * width
        firsts = (
            batch * a_batch + row * a_row,
            batch * b_batch + column * b_column,
            batch * out_batch + row * out_row + column,
        )
        rectangle = (min(height, m - row), min(width, n - column), depth)
        inner = (a_row, a_depth, b_depth, b_column, out_row)
        _multiply_rectangle((a, b), out, firsts, rectangle, inner, factors, blocks[:3])


forget_older_code(product_kernel, host_tile)


def multiply(a: Matrix, b: Matrix, out: Matrix, *, alpha: float, beta: float) -> None:
    """Out = alpha a b + beta out, whatever the strides of the operands.

    Parameters
    ----------
    a, b, out
        Matrices, or as many of each one behind the other, of one type and of shapes that fit; rows
        of out are contiguous.
    alpha, beta
        Factors of the product and of what is in out. [1]
    """
    if not _is_plain(out):
        result = out.copy()
        multiply(a, b, result, alpha=alpha, beta=beta)
        out[...] = result
        return
    a, b = (operand if _is_plain(operand) else operand.copy() for operand in (a, b))
    n_batches = out.shape[0] if out.ndim == 3 else 1
    blocks = choose_blocks(
        (n_batches, *out.shape[-2:]),
        tile=(N_ROWS, ROW_BYTES // out.itemsize),
        itemsize_bytes=out.itemsize,
        n_threads=get_num_threads(),
        caches=host_caches(),
    )
    sizes = (n_batches, *out.shape[-2:], a.shape[-1])
    number = out.dtype.type
    steps = (_steps(a), _steps(b), _steps(out))
    flat = (_flat(a, is_result=False), _flat(b, is_result=False), _flat(out, is_result=True))
    product_kernel(*flat, sizes, steps, (number(alpha), number(beta)), tuple(blocks))


def _is_plain(array: Matrix) -> bool:
    """Whether its numbers lie whole steps apart, none of them backwards."""
    return all(step >= 0 and step % array.itemsize == 0 for step in array.strides)


def _steps(array: Matrix) -> tuple[int, int, int]:
    """Elements from product to product, row to row and column to column. [1]."""
    *product, row, column = (step // array.itemsize for step in array.strides)
    return (product[0] if product else 0, row, column)


def _flat(array: Matrix, *, is_result: bool) -> Matrix:
    """All that lies from the first to the last number, as the one type that the kernel knows."""
    if array.size == 0:
        n = 0
    else:
        ends = zip(array.shape, array.strides, strict=True)
        n = 1 + sum((length - 1) * step for length, step in ends) // array.itemsize
    return as_strided(array, (n,), (array.itemsize,), writeable=is_result)
