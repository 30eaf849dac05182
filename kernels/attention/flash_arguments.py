"""What the flash kernels are given: FlashArguments of flash_call.h, field by field."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.attention.flash_entry import FlashEntry
from kernels.attention.mask import Mask
from kernels.gpu.tensor_map import TensorInMemory

__all__ = ["FLASH_ARGUMENTS", "FlashCall", "Placed", "n_blocks", "placed"]

HEADS = np.dtype(
    [
        ("base", np.uint64),
        ("batch_stride", np.int64),
        ("head_stride", np.int64),
        ("row_stride", np.int64),
    ],
    align=True,
)
OPERANDS = ("q", "k", "v", "out", "d_out", "d_q", "d_k", "d_v")
SIZES = ("n_batches", "n_heads", "n_kv_heads", "query_len", "key_len", "head_dim")

FLASH_ARGUMENTS = np.dtype(
    [
        *((name, HEADS) for name in OPERANDS),
        *((name, np.uint64) for name in ("lse", "delta")),
        *((name, np.int32) for name in (*SIZES, "first", "last")),
        ("scale", np.float32),
    ],
    align=True,
)


class Placed(NamedTuple):
    """Where an array of four axes lies: (batch, heads, sequence, head_dim)."""

    address: int
    strides: tuple[int, int, int]
    """Of the first three axes, in elements. [1]"""


class FlashCall(NamedTuple):
    """One pass: sizes, mask, and where its arrays lie."""

    query_shape: tuple[int, int, int, int]
    """(batch, heads, query_len, head_dim)."""
    key_shape: tuple[int, int, int, int]
    """(batch, kv heads, key_len, head_dim)."""
    mask: Mask
    scale: float
    """Factor on the scores. [1]"""
    heads: dict[str, Placed]
    """By the names of FlashArguments; what a pass does not read may be missing."""
    lse: int
    """Address of (batch, heads, query_len) in fp32, contiguous."""
    delta: int = 0
    """The same, for the backward pass."""

    def tensors(self, entry: FlashEntry) -> tuple[TensorInMemory, ...]:
        """Operands that an entry reads through tensor maps: head_dim, sequence, heads, batch."""
        found = []
        for name, box_rows in entry.mapped:
            shape = self.key_shape if name in {"k", "v"} else self.query_shape
            address, strides = self.heads[name]
            tensor = TensorInMemory(
                address=address,
                dtype=entry.dtype,
                extents=shape[::-1],
                strides=strides[::-1],
                box_rows=box_rows,
            )
            found.append(tensor)
        return tuple(found)

    def arguments(self) -> NDArray[np.void]:
        """FlashArguments of this call."""
        n_batches, n_heads, query_len, head_dim = self.query_shape
        packed = np.zeros((), dtype=FLASH_ARGUMENTS)
        for name, placed in self.heads.items():
            packed[name] = (placed.address, *placed.strides)
        packed["lse"], packed["delta"] = self.lse, self.delta
        sizes = (n_batches, n_heads, self.key_shape[1], query_len, self.key_shape[2], head_dim)
        for name, value in zip(SIZES, sizes, strict=True):
            packed[name] = value
        packed["first"], packed["last"] = self.mask.band(query_len, self.key_shape[2])
        packed["scale"] = self.scale
        return packed


def n_blocks(call: FlashCall, entry: FlashEntry, *, over_keys: bool) -> int:
    """Blocks of a pass: one for each tile of queries of each head, or of keys. [1]"""
    n_batches, n_heads, length, _head_dim = call.key_shape if over_keys else call.query_shape
    n_tiles = -(-length // entry.rows_per_block)
    return n_tiles * n_heads * n_batches * entry.blocks_per_tile


def placed(array: Any) -> Placed:  # noqa: ANN401 -- CuPy's array, or NumPy's
    """Where an array lies; its last axis must be contiguous."""
    address = array.data.ptr if hasattr(array.data, "ptr") else array.ctypes.data
    batch, head, row = (stride // array.itemsize for stride in array.strides[:3])
    return Placed(int(address), (batch, head, row))
