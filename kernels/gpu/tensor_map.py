"""Tensor maps: what Hopper's copy engine must know of a matrix in device memory.

The driver encodes them; libcuda is loaded when the first one is made.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from kernels.backends import BackendError

__all__ = ["MAP_BYTES", "MatrixInMemory", "encode_tensor_map", "why_not_mappable"]

MAP_BYTES = 128
"""Size of an encoded map. [byte]"""
MAP_ALIGNMENT_BYTES = 64
"""What the driver asks of the memory it writes a map to. [byte]"""
ROW_ALIGNMENT_BYTES = 16
"""What the copy engine asks of addresses and strides. [byte]"""
ELEMENT_BYTES = 2
BOX_INNER = 64
"""Elements of a box along the contiguous axis: 128 bytes, the width of the swizzle. [1]"""

# Enumerations of the CUDA driver API, cuda.h.
DATA_TYPE = {"fp16": 6, "bf16": 9}
INTERLEAVE_NONE = 0
SWIZZLE_128B = 3
L2_PROMOTION_256B = 3
FILL_ZEROS = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixInMemory:
    """Matrices of 16-bit elements, one behind the other."""

    address: int
    """Of the first element."""
    dtype: str
    """fp16 or bf16."""
    n_columns: int
    """Contiguous elements. [1]"""
    n_rows: int
    """Rows of one matrix. [1]"""
    n_batches: int
    """Matrices. [1]"""
    ld: int
    """Elements from row to row. [1]"""
    batch_stride: int
    """Elements from matrix to matrix. [1]"""
    box_rows: int
    """Rows that one copy brings, at most 256. [1]"""


def why_not_mappable(matrix: MatrixInMemory) -> str | None:
    """Say in a few words why the copy engine cannot read a matrix; None when it can."""
    if matrix.address % ROW_ALIGNMENT_BYTES:
        return f"address {matrix.address:#x} is no multiple of {ROW_ALIGNMENT_BYTES} bytes"
    strides = {"ld": matrix.ld}
    if matrix.n_batches > 1:
        strides["batch_stride"] = matrix.batch_stride
    for name, stride in strides.items():
        if stride <= 0 or stride * ELEMENT_BYTES % ROW_ALIGNMENT_BYTES:
            return f"{name} {stride} is no positive multiple of 8 elements"
    if min(matrix.n_columns, matrix.n_rows, matrix.n_batches) < 1:
        return "it is empty"
    return None


def encode_tensor_map(matrix: MatrixInMemory) -> NDArray[np.uint8]:
    """Let the driver encode a map.

    Parameters
    ----------
    matrix
        One that `why_not_mappable` has nothing against.

    Returns
    -------
    numpy.ndarray
        `MAP_BYTES` bytes, to be passed to a kernel by value.

    Raises
    ------
    BackendError
        When there is no driver, or it refuses the map.
    """
    # A stride over one matrix alone is never used, but it is checked.
    batch_stride = matrix.batch_stride if matrix.n_batches > 1 else matrix.ld * matrix.n_rows
    memory = np.zeros(MAP_BYTES + MAP_ALIGNMENT_BYTES, dtype=np.uint8)
    offset = -memory.ctypes.data % MAP_ALIGNMENT_BYTES
    encoded = memory[offset : offset + MAP_BYTES]
    extents = (matrix.n_columns, matrix.n_rows, matrix.n_batches)
    strides = (matrix.ld * ELEMENT_BYTES, batch_stride * ELEMENT_BYTES)
    status = _driver().cuTensorMapEncodeTiled(
        ctypes.c_void_p(encoded.ctypes.data),
        ctypes.c_int(DATA_TYPE[matrix.dtype]),
        ctypes.c_uint32(len(extents)),
        ctypes.c_void_p(matrix.address),
        (ctypes.c_uint64 * 3)(*extents),
        (ctypes.c_uint64 * 2)(*strides),
        (ctypes.c_uint32 * 3)(BOX_INNER, matrix.box_rows, 1),
        (ctypes.c_uint32 * 3)(1, 1, 1),
        ctypes.c_int(INTERLEAVE_NONE),
        ctypes.c_int(SWIZZLE_128B),
        ctypes.c_int(L2_PROMOTION_256B),
        ctypes.c_int(FILL_ZEROS),
    )
    if status != 0:
        msg = f"cuTensorMapEncodeTiled: status {status} for {matrix}"
        raise BackendError(msg)
    return encoded


@cache
def _driver() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        msg = "no Nvidia driver (libcuda.so.1 cannot be loaded)"
        raise BackendError(msg) from error
