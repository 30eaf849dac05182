"""Performance model of single memory-bound operations on a matrix: streams, softmax, norms.

Element-wise operations stream their operands. Operations along a row add what a row costs by
itself: a block of threads reads it, reduces, waits at barriers. Rows short enough for one warp
need none of that. A row that no longer fits into registers and shared memory is read again for
each pass. Arithmetic runs beside the traffic: an operation that computes much per element is bound
by the units' rate, and no faster on more bandwidth. Data small enough to stay in the second-level
cache comes from there. Where a block holds a row, the device fills with the first ones and drains
with the last.

Where threads keep a row in their registers, one warp or one block has a latency for it (it loads,
reduces twice, and stores) and the row's length is the registers of each thread: these decide how
many rows a unit has under way. Such rows take the same time in any type and on any memory, as long
as memory can follow. Rows too long for that go through other kernels and may well be faster: the
loss over 16,032 classes was measured to take less than over 8,000.

References
----------
PyTorch, aten/src/ATen/native/cuda/SoftMax.cu (one warp a row up to 1024 columns, 16-byte loads,
shared memory while a row fits, three passes beyond; since 2.10 forward passes have one warp a row
up to 2048 columns, and a block of 1024 threads that keeps the row in up to nine registers each).
J. D. C. Little, Operations Research 9(3), 1961 (rows under way over latency).
"""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["Matrix", "OperationMachine", "operation_time_s"]

CACHE_SHARPNESS = 8.0
"""How sharply a working set outgrows the cache. [1]"""

CACHE_SHARE = 0.6
"""Part of the cache that keeps a working set between calls, measured on an H100: each half of the
chip holds copies of the other's lines. [1]"""

WARP_THREADS, BLOCK_THREADS = 32.0, 1024.0
"""Threads that take a short and a longer row. [1]"""

REGISTERS_PER_UNIT = 65536.0
"""Of 32 bits, in a unit of sm_80, sm_90 and sm_100 (kernels/gpu/architectures.toml). [1]"""

OTHER_REGISTERS = 24.0
"""Registers of a thread besides those that hold its row; assumed. [1]"""

VECTOR_BYTES = 16.0
"""Widest load of one thread. [byte]"""

WARPS_MOST = 64.0
"""Warps under way in a unit of these. [1]"""

TWO_BLOCKS_REGISTERS = 4.0
"""Held values of a thread up to which a unit has two blocks of 1024 threads under way: they share
its registers, 32 a thread. That suits what was measured of 4,096 columns, and one block of 8,192.
[1]"""

BLOCK_ELEMENTS = 65536.0
"""Elements that a block takes where a library cuts arrays into parts (PyTorch, multi-tensor apply:
chunks of 65536). [1]"""

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
    held_row_columns: float = 0.0
    held_row_s: float = 0.0
    held_register_s: float = 0.0
    plain_row_bytes: float = 0.0
    plain_round_s: float = 0.0
    plain_rest_s: float = 0.0
    row_element_ratio: float = 1.0
    row_traffic_share: float = 1.0
    serial_row_s: float = 0.0
    block_s: float = 0.0
    byte_s: float = 0.0


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


def _held_row_s(n_columns: float, machine: OperationMachine) -> float:
    """What a unit takes for one row that threads keep in registers. [s]"""
    if n_columns <= machine.short_row_columns:
        registers = n_columns / WARP_THREADS
        needed = WARP_THREADS * (registers + OTHER_REGISTERS)
        under_way = min(WARPS_MOST, REGISTERS_PER_UNIT / needed)
    else:
        registers = float(math.ceil(n_columns / BLOCK_THREADS))
        under_way = 2.0 if registers <= TWO_BLOCKS_REGISTERS else 1.0
    return (machine.held_row_s + registers * machine.held_register_s) / under_way


def _plain_row_s(n_columns: float, element_bytes: float, machine: OperationMachine) -> float:
    """The same for a row that a block goes through again and again, vectors first. [s]"""
    round_columns = BLOCK_THREADS * VECTOR_BYTES / element_bytes
    n_rounds = math.floor(n_columns / round_columns)
    n_rest = math.ceil((n_columns - n_rounds * round_columns) / BLOCK_THREADS)
    rounds_s = n_rounds * machine.plain_round_s + n_rest * machine.plain_rest_s
    return (machine.held_row_s + rounds_s) / 2.0


def _row_s(matrix: Matrix, machine: OperationMachine) -> float:
    """What a unit takes for one row by its latency; 0 where traffic alone decides. [s]"""
    if machine.held_row_s <= 0.0:
        return 0.0
    if matrix.n_columns <= machine.held_row_columns:
        return _held_row_s(matrix.n_columns, machine)
    element_bytes = matrix.element_bytes * machine.row_element_ratio
    if matrix.n_columns * element_bytes < machine.plain_row_bytes:
        return 0.0
    return _plain_row_s(matrix.n_columns, element_bytes, machine)


def _barriers_s(matrix: Matrix, machine: OperationMachine) -> float:
    """What rows that take a block cost besides their elements; short ones take a warp. [s]"""
    if matrix.n_columns <= machine.short_row_columns:
        return 0.0
    row_s = machine.row_s if matrix.is_aligned > 0.0 else machine.unaligned_row_s
    return matrix.n_rows * row_s / machine.n_units


def _together(first_s: float, second_s: float, exponent: float) -> float:
    """Two parts that overlap: the longer of them, and more where both are long. [s]"""
    longer, shorter = max(first_s, second_s), min(first_s, second_s)
    return float(longer * (1.0 + (shorter / longer) ** exponent) ** (1.0 / exponent))


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
    row_bytes = matrix.n_columns * matrix.element_bytes * machine.row_element_ratio
    repeated = _repeated(row_bytes, machine)
    traffic_bytes = least_bytes * machine.traffic_ratio * repeated
    busy_s = traffic_bytes / _bandwidth_bytes_per_s(least_bytes, machine)
    latency_s = matrix.n_rows * _row_s(matrix, machine) / machine.n_units
    barriers_s = _barriers_s(matrix, machine)
    if latency_s > 0.0:
        # Other kernels, such as a conversion before, come one after the other.
        own_s = machine.row_traffic_share * busy_s
        busy_s += _together(own_s, latency_s, machine.overlap_exponent) - own_s
    elif machine.element_s > 0.0:
        each_s = machine.element_s + matrix.element_bytes * machine.byte_s
        arithmetic_s = n_elements * repeated * each_s / machine.n_units
        busy_s = _together(busy_s, arithmetic_s + barriers_s, machine.overlap_exponent)
    else:
        busy_s += barriers_s
    if machine.block_s > 0.0:
        part_s = machine.block_s * min(1.0, n_elements / BLOCK_ELEMENTS)
        busy_s = _together(busy_s, part_s, machine.overlap_exponent)
    filled = 1.0 + machine.fill_rows * machine.n_units / matrix.n_rows
    return machine.launch_s + busy_s * filled + matrix.n_rows * machine.serial_row_s
