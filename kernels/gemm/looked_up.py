"""Time of batched products whose kernel a library looks up in its table of tuned sizes.

rocBLAS takes the kernel of the tuned size nearest in rows, columns and depth, whatever the batch;
of equally near ones the fastest. The table is public, so the tile need not be guessed. What a tile
costs is the model's arithmetic in waves and supply of operands, with two effects that large tiles
hide: a wave that holds one block of results waits for each multiply-add before the next, and where
rows are not whole cache lines apart each short piece of a row cuts one line more.

References
----------
Tensile (ROCm), SolutionLibrary.py (the batch is part of the key for exact matches only) and
PropertyMatching.hpp (Euclidean distance, then speed).
rocBLAS (ROCm), library/src/blas3/Tensile/Logic/asm_full.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.gemm.model import (
    GemmMachine,
    GemmShape,
    drooped_s,
    memory_limit_s,
    tile_limits_s,
)
from kernels.smooth import power_mean_join

__all__ = ["NO_KERNEL", "LookedUpKernel", "TunedSizes", "looked_up_gemm_s", "tuned_sizes"]

FloatArray = npt.NDArray[np.float64]

BLOCK_RESULTS = 256.0
"""Results of one matrix instruction, 16 by 16. [elements]"""

LINE_BYTES = 128.0
"""Line of the second-level cache of CDNA and CDNA 2. [byte]"""

VECTOR_TIME_RATIO = 2.0
"""fp32 multiply-adds without matrix units take twice as long on CDNA and CDNA 2. [1]"""

SIZE_COLUMNS = 3
"""Columns of a table that are a size, rows, columns and depth; the others are the kernel's. [1]"""


class LookedUpKernel(NamedTuple):
    """The kernel that a table names for a size."""

    tile_n: float
    """Columns of the output tile; 0 where no table is known. [elements]"""
    tile_m: float
    """Rows of the output tile. [elements]"""
    depth_step: float
    """Depth that one pass of the loop takes; a remainder costs a whole one. [elements]"""
    depth_parts: float
    """Parts that the depth is cut into. [1]"""
    wave_results: float
    """Results that one wave holds. [elements]"""
    has_matrix_units: float
    """1 where the kernel uses them. [1]"""


NO_KERNEL = LookedUpKernel(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class TunedSizes:
    """Tuned sizes of one library and architecture with the kernels chosen for them."""

    def __init__(self, table: FloatArray) -> None:
        """Take rows of n, m, k and a kernel, the fastest first."""
        self._sizes = table[:, :SIZE_COLUMNS]
        self._kernels = table[:, SIZE_COLUMNS:]
        self._known: dict[tuple[float, float, float], int] = {}

    def kernels(self, sizes: FloatArray) -> FloatArray:
        """Kernels of the nearest tuned sizes, for rows that begin with m, n, k."""
        distinct, where = np.unique(sizes[:, :SIZE_COLUMNS], axis=0, return_inverse=True)
        nearest = [self._nearest(m, n, k) for m, n, k in distinct]
        return self._kernels[np.array(nearest, dtype=np.int64)[where.ravel()]]

    def _nearest(self, m: float, n: float, k: float) -> int:
        found = self._known.get((m, n, k))
        if found is None:
            found = int(np.argmin(((self._sizes - (n, m, k)) ** 2).sum(axis=1)))
            self._known[m, n, k] = found
        return found


@cache
def tuned_sizes(dtype: str, architecture: str) -> TunedSizes | None:
    """Tuned sizes for products of a dtype on an architecture; none where no table is shipped."""
    path = Path(__file__).parent / f"rocblas_{dtype}" / f"{architecture}.csv"
    if not path.is_file():
        return None
    rows = path.read_text(encoding="utf-8").splitlines()
    numbers = [row for row in rows if row[:1].isdigit()]
    return TunedSizes(np.array([row.split(",") for row in numbers], dtype=np.float64))


def _cut_line_factor(machine: GemmMachine, *, row: float, piece: float, line: float) -> float:
    """Traffic of a row's pieces over their bytes: more where rows cut lines. [1]"""
    if row % line == 0.0:
        return 1.0
    return 1.0 + machine.cut_line_ratio * line / max(piece, line)


def looked_up_gemm_s(shape: GemmShape, kernel: LookedUpKernel, machine: GemmMachine) -> float:
    """Time of one call with the kernel that the library's table names.

    Parameters
    ----------
    shape
        Sizes [elements] and operand widths [byte].
    kernel
        What `TunedSizes.kernels` found for the size.
    machine
        Device figures and fitted parameters.

    Returns
    -------
    float
        Time of the call, droop and launch floor included. [s]

    Notes
    -----
    More products in the batch are never faster. Larger products may be: their nearest tuned size is
    another one.
    """
    a_line, b_line = LINE_BYTES / shape.a_element_bytes, LINE_BYTES / shape.b_element_bytes
    a_factor = _cut_line_factor(machine, row=shape.k, piece=kernel.depth_step, line=a_line)
    b_factor = _cut_line_factor(machine, row=shape.n, piece=kernel.tile_n, line=b_line)
    step = kernel.depth_step
    stepped = GemmShape(
        shape.m,
        shape.n,
        -(-shape.k / kernel.depth_parts // step) * step * kernel.depth_parts,
        shape.a_element_bytes * a_factor,
        shape.b_element_bytes * b_factor,
        shape.c_element_bytes,
        shape.batch,
        shape.transposed_a_fraction,
        shape.transposed_b_fraction,
    )
    tile = (kernel.tile_m, kernel.tile_n)
    # Rows of such products are far shorter than the distance at which rows share channels.
    arithmetic_s, feed_s = tile_limits_s(
        stepped, machine, tile, kernel.depth_parts, common_bytes=0.0
    )
    if kernel.wave_results <= BLOCK_RESULTS:
        arithmetic_s *= machine.lone_block_ratio
    if kernel.has_matrix_units == 0.0:
        arithmetic_s *= VECTOR_TIME_RATIO
    memory_s = memory_limit_s(shape, machine)
    computing_s = power_mean_join(arithmetic_s, feed_s, machine.overlap_exponent)
    body_s = drooped_s(computing_s, memory_s, machine)
    if kernel.depth_parts > 1.0:
        # Every part adds its results to those in memory.
        added_bytes = shape.batch * shape.m * shape.n * shape.c_element_bytes
        bandwidth = machine.memory_efficiency_fraction * machine.memory_bandwidth_bytes_per_s
        body_s += 2.0 * kernel.depth_parts * added_bytes / bandwidth
    return body_s + machine.launch_s
