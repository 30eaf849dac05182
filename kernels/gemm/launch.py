"""Launches of the GEMM kernels through CuPy: their arguments, binaries and grids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backends import BackendError
from kernels.gemm.sources import ELEMENTS, GemmEntry, gemm_source
from kernels.gemm.tile_choice import relative_time
from kernels.gpu.kernel_source import KernelSource
from kernels.gpu.launch import by_value, function_of, n_units_of
from kernels.gpu.tensor_map import MatrixInMemory, encode_tensor_map, why_not_mappable

__all__ = ["ARGUMENTS", "Operand", "Product", "entry_for", "launch"]

# GemmArguments of tiles.h, field by field.
ARGUMENTS = np.dtype(
    [
        *((name, np.uint64) for name in ("a", "b", "out")),
        *((f"{name}_ld", np.int64) for name in ("a", "b", "out")),
        *((f"{name}_batch_stride", np.int64) for name in ("a", "b", "out")),
        *((name, np.int32) for name in ("m", "n", "k", "n_batches")),
        *((name, np.float32) for name in ("alpha", "beta")),
    ],
    align=True,
)
MAX_GRID_Z = 65535
"""Blocks along the third axis of a grid. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """A matrix in device memory, or several one behind the other."""

    address: int
    """Of the first element."""
    itemsize_bytes: int
    """Size of an element. [byte]"""
    n_rows: int
    """Rows as stored. [1]"""
    n_columns: int
    """Contiguous elements of a row. [1]"""
    n_batches: int
    """Matrices. [1]"""
    ld: int
    """Elements from row to row. [1]"""
    batch_stride: int
    """Elements from matrix to matrix. [1]"""
    is_transposed: bool
    """Whether the product takes its transpose."""

    @classmethod
    def of(cls, array: Any, *, is_transposed: bool) -> Operand:  # noqa: ANN401 -- CuPy's array
        """Describe an array of two or three axes with contiguous rows."""
        rows, columns = array.shape[-2:]
        # A lone row has no stride that matters, nor has an empty array; its own may be anything.
        ld = array.strides[-2] // array.itemsize if rows > 1 and columns else columns
        is_batch = array.ndim == 3 and array.shape[0] > 1
        return cls(
            address=int(array.data.ptr),
            itemsize_bytes=int(array.itemsize),
            n_rows=rows,
            n_columns=columns,
            n_batches=array.shape[0] if array.ndim == 3 else 1,
            ld=ld,
            batch_stride=array.strides[0] // array.itemsize if is_batch else 0,
            is_transposed=is_transposed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """out = alpha op(a) op(b) + beta out."""

    a: Operand
    """Left operand."""
    b: Operand
    """Right operand."""
    out: Operand
    """Where the result goes."""
    m: int
    """Rows of the result. [1]"""
    n: int
    """Columns of the result. [1]"""
    k: int
    """Depth of the sums. [1]"""
    alpha: float
    """Factor of the product. [1]"""
    beta: float
    """Factor of what is in out. [1]"""
    dtype: str
    """bf16, fp16 or fp32."""

    @property
    def n_batches(self) -> int:
        """Products. [1]."""
        return self.out.n_batches

    @property
    def layout(self) -> str:
        """Two letters: n as stored, t transposed."""
        return "".join("t" if operand.is_transposed else "n" for operand in (self.a, self.b))

    def why_not_mappable(self) -> str | None:
        """Say in a few words why tensor maps cannot describe the operands; None when they can."""
        if self.dtype not in {"bf16", "fp16"}:
            return f"{self.dtype} has not 16 bits"
        for matrix in self.matrices(box_lines=(1, 1)):
            reason = why_not_mappable(matrix)
            if reason is not None:
                return reason
        return None

    def matrices(self, *, box_lines: tuple[int, int]) -> tuple[MatrixInMemory, MatrixInMemory]:
        """Both operands for tensor maps; `box_lines` are the lines of a tile of each.

        Along k a box is as high as the tile; across k it is 64 depths high.
        """
        along_k = (not self.a.is_transposed, self.b.is_transposed)
        found = [
            MatrixInMemory(
                address=operand.address,
                dtype=self.dtype,
                n_columns=operand.n_columns,
                n_rows=operand.n_rows,
                n_batches=operand.n_batches,
                ld=operand.ld,
                batch_stride=operand.batch_stride,
                box_rows=lines if is_along_k else 64,
            )
            for operand, lines, is_along_k in zip((self.a, self.b), box_lines, along_k, strict=True)
        ]
        return found[0], found[1]

    def arguments(self, *, first_batch: int, n_batches: int) -> NDArray[np.void]:
        """GemmArguments of `n_batches` products from `first_batch` on."""
        packed = np.zeros((), dtype=ARGUMENTS)
        for name, operand in (("a", self.a), ("b", self.b), ("out", self.out)):
            offset_bytes = first_batch * operand.batch_stride * operand.itemsize_bytes
            packed[name] = operand.address + offset_bytes
            packed[f"{name}_ld"] = operand.ld
            packed[f"{name}_batch_stride"] = operand.batch_stride
        for name in ("m", "n", "k", "alpha", "beta"):
            packed[name] = getattr(self, name)
        packed["n_batches"] = n_batches
        return packed


def entry_for(
    product: Product, *, kernel: str, n_units: int
) -> tuple[KernelSource[GemmEntry], GemmEntry]:
    """Source and entry of a kernel for a product.

    Parameters
    ----------
    product
        What is to be computed.
    kernel
        One of the package's own.
    n_units
        Multiprocessors of the device; where a kernel has tiles of several sizes they decide. [1]

    Raises
    ------
    BackendError
        When the kernel does not take the product's type or strides.
    """
    dtype = "tf32" if kernel == "mma" and product.dtype == "fp32" else product.dtype
    source = gemm_source(f"gemm_{kernel}")
    fitting = [
        entry
        for entry in source.entries
        if (entry.element, entry.layout) == (ELEMENTS[dtype], product.layout)
    ]
    if not fitting:
        msg = f"kernel {kernel} has no entry for {dtype}"
        raise BackendError(msg)
    if kernel == "wgmma":
        reason = "k is 0" if product.k == 0 else product.why_not_mappable()
        if reason is not None:
            msg = f"kernel wgmma cannot take an operand: {reason}; kernel mma takes any"
            raise BackendError(msg)
    sizes = {"m": product.m, "n": product.n, "n_batches": product.n_batches}
    return source, min(fitting, key=lambda entry: relative_time(entry, **sizes, n_units=n_units))


def launch(cupy: Any, product: Product, *, kernel: str) -> None:  # noqa: ANN401 -- module
    """Queue one of the package's kernels on CuPy's current stream.

    Raises
    ------
    BackendError
        When the kernel does not take the product, or the device does not take the kernel.
    """
    n_units = n_units_of(cupy)
    source, entry = entry_for(product, kernel=kernel, n_units=n_units)
    function = function_of(cupy, source, entry)
    tiles = -(-product.m // entry.tile_m) * -(-product.n // entry.tile_n)
    block = (entry.n_threads, 1, 1)
    if kernel == "wgmma":
        box_lines = (entry.tile_m, entry.tile_n)
        maps = [encode_tensor_map(matrix) for matrix in product.matrices(box_lines=box_lines)]
        grid = (min(n_units, tiles * product.n_batches), 1, 1)
        arguments = product.arguments(first_batch=0, n_batches=product.n_batches)
        values = tuple(by_value(cupy, value) for value in (*maps, arguments))
        function(grid, block, values, shared_mem=entry.dynamic_shared_bytes)
        return
    for first in range(0, product.n_batches, MAX_GRID_Z):
        n_batches = min(MAX_GRID_Z, product.n_batches - first)
        arguments = product.arguments(first_batch=first, n_batches=n_batches)
        grid = (tiles, 1, n_batches)
        values = (by_value(cupy, arguments),)
        function(grid, block, values, shared_mem=entry.dynamic_shared_bytes)
