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

__all__ = [
    "BOX_INNER",
    "MAP_BYTES",
    "MatrixInMemory",
    "TensorInMemory",
    "encode_tensor_map",
    "why_not_mappable",
]

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
class TensorInMemory:
    """16-bit elements along several axes, the innermost, contiguous one first."""

    address: int
    """Of the first element."""
    dtype: str
    """fp16 or bf16."""
    extents: tuple[int, ...]
    """Elements along each axis, two axes at least. [1]"""
    strides: tuple[int, ...]
    """Elements from one to the next along each axis but the innermost. [1]"""
    box_rows: int
    """Rows (second axis) that one copy brings, at most 256; of other axes it brings one. [1]"""


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

    def tensor(self) -> TensorInMemory:
        """Describe the same as a tensor of three axes."""
        return TensorInMemory(
            address=self.address,
            dtype=self.dtype,
            extents=(self.n_columns, self.n_rows, self.n_batches),
            strides=(self.ld, self.batch_stride),
            box_rows=self.box_rows,
        )


def why_not_mappable(tensor: TensorInMemory | MatrixInMemory) -> str | None:
    """Say in a few words why the copy engine cannot read a tensor; None when it can."""
    if isinstance(tensor, MatrixInMemory):
        names: tuple[str, ...] = ("ld", "batch_stride")
        tensor = tensor.tensor()
    else:
        names = tuple(f"stride {i}" for i in range(1, len(tensor.extents)))
    if tensor.address % ROW_ALIGNMENT_BYTES:
        return f"address {tensor.address:#x} is no multiple of {ROW_ALIGNMENT_BYTES} bytes"
    for i, (name, stride) in enumerate(zip(names, tensor.strides, strict=True)):
        if not _is_used(tensor, i):
            continue
        if stride <= 0 or stride * ELEMENT_BYTES % ROW_ALIGNMENT_BYTES:
            return f"{name} {stride} is no positive multiple of 8 elements"
    if min(tensor.extents) < 1:
        return "it is empty"
    return None


def encode_tensor_map(tensor: TensorInMemory | MatrixInMemory) -> NDArray[np.uint8]:
    """Let the driver encode a map.

    Parameters
    ----------
    tensor
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
    if isinstance(tensor, MatrixInMemory):
        tensor = tensor.tensor()
    memory = np.zeros(MAP_BYTES + MAP_ALIGNMENT_BYTES, dtype=np.uint8)
    offset = -memory.ctypes.data % MAP_ALIGNMENT_BYTES
    encoded = memory[offset : offset + MAP_BYTES]
    n_axes = len(tensor.extents)
    box = (BOX_INNER, tensor.box_rows, *(1,) * (n_axes - 2))
    status = _driver().cuTensorMapEncodeTiled(
        ctypes.c_void_p(encoded.ctypes.data),
        ctypes.c_int(DATA_TYPE[tensor.dtype]),
        ctypes.c_uint32(n_axes),
        ctypes.c_void_p(tensor.address),
        (ctypes.c_uint64 * n_axes)(*tensor.extents),
        (ctypes.c_uint64 * (n_axes - 1))(*_strides_bytes(tensor)),
        (ctypes.c_uint32 * n_axes)(*box),
        (ctypes.c_uint32 * n_axes)(*(1,) * n_axes),
        ctypes.c_int(INTERLEAVE_NONE),
        ctypes.c_int(SWIZZLE_128B),
        ctypes.c_int(L2_PROMOTION_256B),
        ctypes.c_int(FILL_ZEROS),
    )
    if status != 0:
        msg = f"cuTensorMapEncodeTiled: status {status} for {tensor}"
        raise BackendError(msg)
    return encoded


def _is_used(tensor: TensorInMemory, i_stride: int) -> bool:
    """Whether there is anything a stride leads to; that of rows counts in any case."""
    return i_stride == 0 or tensor.extents[i_stride + 1] > 1


def _strides_bytes(tensor: TensorInMemory) -> list[int]:
    """Strides for the driver, which checks those that nothing uses, too. [byte]."""
    found: list[int] = []
    for i, stride in enumerate(tensor.strides):
        is_used = _is_used(tensor, i)
        found.append(stride * ELEMENT_BYTES if is_used else found[-1] * tensor.extents[i])
    return found


@cache
def _driver() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        msg = "no Nvidia driver (libcuda.so.1 cannot be loaded)"
        raise BackendError(msg) from error
