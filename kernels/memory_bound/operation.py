"""Performance model of single memory-bound operations on a matrix: streams, softmax, norms.

Element-wise operations stream their operands. Operations along a row add what a row costs by
itself: a block of threads reads it, reduces, waits at barriers. Rows short enough for one warp
need none of that. A row that no longer fits into registers and shared memory is read again for
each pass. Arithmetic runs beside the traffic: an operation that computes much per element is bound
by the units' rate, and no faster on more bandwidth. Data small enough to stay in the second-level
cache comes from there. Where a block holds a row, the device fills with the first ones and drains
with the last.

References
----------
PyTorch, aten/src/ATen/native/cuda/SoftMax.cu (one warp a row up to 1024 columns, 16-byte loads,
shared memory while a row fits, three passes beyond).
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Matrix", "OperationMachine", "operation_time_s"]

CACHE_SHARPNESS = 8.0
"""How sharply a working set outgrows the cache. [1]"""

CACHE_SHARE = 0.6
"""Part of the cache that keeps a working set between calls, measured on an H100: each half of the
chip holds copies of the other's lines. [1]"""

SHARPEST = 100.0
"""Beyond this sharpness a row's length decides at once. [1]"""


class Matrix(NamedTuple):
    """What one operation works on; those along rows take `n_columns` elements at a time."""

    n_rows: float
    n_columns: float
    element_bytes: float
    n_passes: float
    """Operands read plus results written, in matrices of this size. [1]"""
    is_aligned: float
    """1 where rows begin on 16 bytes, else 0."""


class OperationMachine(NamedTuple):
    """What the model knows of a device and of one class of operations."""

    memory_bandwidth_bytes_per_s: float
    bandwidth_efficiency_fraction: float
    cached_bandwidth_ratio: float
    cache_bytes: float
    n_units: float
    launch_s: float
    traffic_ratio: float
    row_s: float
    unaligned_row_s: float
    short_row_columns: float
    long_row_bytes: float
    long_row_traffic_ratio: float
    long_row_sharpness: float
    element_s: float
    overlap_exponent: float
    fill_rows: float


def _bandwidth_bytes_per_s(footprint_bytes: float, machine: OperationMachine) -> float:
    bandwidth = machine.bandwidth_efficiency_fraction * machine.memory_bandwidth_bytes_per_s
    if machine.cache_bytes <= 0.0:
        return bandwidth
    kept_bytes = CACHE_SHARE * machine.cache_bytes
    cached = 1.0 / (1.0 + (footprint_bytes / kept_bytes) ** CACHE_SHARPNESS)
    return float(bandwidth * (1.0 + cached * (machine.cached_bandwidth_ratio - 1.0)))


def _repeated(row_bytes: float, machine: OperationMachine) -> float:
    """Traffic over that of a row which stays on chip. [1]"""
    if machine.long_row_bytes <= 0.0:
        return 1.0
    if machine.long_row_sharpness > SHARPEST:
        return machine.long_row_traffic_ratio if row_bytes >= machine.long_row_bytes else 1.0
    beyond = 1.0 / (1.0 + (machine.long_row_bytes / row_bytes) ** machine.long_row_sharpness)
    return float(1.0 + beyond * (machine.long_row_traffic_ratio - 1.0))


def operation_time_s(matrix: Matrix, machine: OperationMachine) -> float:
    """Time of one operation on a matrix.

    Parameters
    ----------
    matrix
        What the operation works on.
    machine
        Device and fitted parameters of the class of operations.

    Returns
    -------
    float
        Launch, the longer of traffic and arithmetic, and what each row costs by itself. [s]
    """
    n_elements = matrix.n_rows * matrix.n_columns
    least_bytes = n_elements * matrix.element_bytes * matrix.n_passes
    repeated = _repeated(matrix.n_columns * matrix.element_bytes, machine)
    traffic_bytes = least_bytes * machine.traffic_ratio * repeated
    busy_s = traffic_bytes / _bandwidth_bytes_per_s(least_bytes, machine)
    if machine.element_s > 0.0:
        arithmetic_s = n_elements * repeated * machine.element_s / machine.n_units
        hidden = (arithmetic_s / busy_s) ** machine.overlap_exponent
        busy_s *= (1.0 + hidden) ** (1.0 / machine.overlap_exponent)
    filled = 1.0 + machine.fill_rows * machine.n_units / matrix.n_rows
    time_s = machine.launch_s + busy_s * filled
    if matrix.n_columns > machine.short_row_columns:
        row_s = machine.row_s if matrix.is_aligned > 0.0 else machine.unaligned_row_s
        time_s += matrix.n_rows * row_s / machine.n_units
    return time_s
