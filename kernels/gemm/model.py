"""Performance model of a dense matrix product on one device.

C[m, n] = A[m, k] B[k, n]. For each candidate tile and each split of the depth the time is the
smooth maximum of three limits: arithmetic in waves of tiles, the supply of operands to one
compute unit, and the compulsory traffic to device memory. The library is assumed to pick the
best candidate; hard waves and a single tile are worse than no tiles at all, measured on public
GEMM tables. All functions are pure scalar functions, so that one source serves the explained
prediction in plain Python and a compiled sweep.

References
----------
S. Williams, A. Waterman, D. Patterson, Roofline, CACM 52(4), 2009 (arithmetic and memory limits).
M. Osama et al., Stream-K, PPoPP 2023 (why whole waves overstate the loss).
"""

from __future__ import annotations

from typing import NamedTuple

from kernels.smooth import power_mean_join, smooth_waves

__all__ = ["FLOP_PER_MULTIPLY_ADD", "GemmMachine", "GemmShape", "GemmTime", "gemm_time"]

FLOP_PER_MULTIPLY_ADD = 2.0
"""A multiply and an add. [flop]"""

TILES = ((64.0, 64.0), (128.0, 64.0), (128.0, 128.0), (256.0, 128.0))
"""Rows and columns of the output tiles that libraries choose from. [elements]"""

SPLITS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Parts into which the depth k may be cut. [1]"""

PARTIAL_SUM_BYTES = 4.0
"""Partial sums of a split depth are kept in fp32. [byte]"""


class GemmMachine(NamedTuple):
    """What the GEMM model knows of a device at one dtype."""

    n_units: float
    """Compute units (SM or CU). [1]"""
    peak_flop_per_s: float
    """Dense datasheet peak at the boost clock. [flop/s]"""
    memory_bandwidth_bytes_per_s: float
    """Datasheet bandwidth of device memory. [byte/s]"""
    tensor_efficiency_fraction: float
    memory_efficiency_fraction: float
    launch_s: float
    feed_ratio: float
    fill_depth: float
    wave_smoothing_fraction: float
    split_s: float
    droop_fraction: float
    droop_time_s: float
    overlap_exponent: float


class GemmShape(NamedTuple):
    """Sizes of one product and the width of its operands."""

    m: float
    n: float
    k: float
    a_element_bytes: float
    b_element_bytes: float
    c_element_bytes: float


class GemmTime(NamedTuple):
    """Predicted time and the limits behind it, for the best candidate."""

    time_s: float
    arithmetic_s: float
    feed_s: float
    memory_s: float
    split_s: float
    launch_s: float
    droop_factor: float
    tile_m: float
    tile_n: float
    n_splits: float


def arithmetic_time_s(
    shape: GemmShape, machine: GemmMachine, *, waves: float, tile: float, depth: float
) -> float:
    """Time of all waves at the sustained tensor rate of one unit, pipeline fill included. [s]"""
    work_flop = FLOP_PER_MULTIPLY_ADD * tile * (depth + machine.fill_depth) * machine.n_units
    return waves * work_flop / (machine.tensor_efficiency_fraction * machine.peak_flop_per_s)


def compulsory_traffic_bytes(shape: GemmShape) -> float:
    """Each operand read once and the result written once. [byte]"""
    return (
        shape.m * shape.k * shape.a_element_bytes
        + shape.k * shape.n * shape.b_element_bytes
        + shape.m * shape.n * shape.c_element_bytes
    )


def _candidate(
    shape: GemmShape, machine: GemmMachine, tile_m: float, tile_n: float, n_splits: float
) -> GemmTime:
    bandwidth = machine.memory_efficiency_fraction * machine.memory_bandwidth_bytes_per_s
    feed_bandwidth = machine.feed_ratio * bandwidth
    rows = -(-shape.m // tile_m)
    columns = -(-shape.n // tile_n)
    depth = shape.k / n_splits
    waves = smooth_waves(
        rows * columns * n_splits / machine.n_units, machine.wave_smoothing_fraction
    )
    arithmetic_s = arithmetic_time_s(shape, machine, waves=waves, tile=tile_m * tile_n, depth=depth)
    operand_bytes = (tile_m * shape.a_element_bytes + tile_n * shape.b_element_bytes) * depth
    feed_s = waves * operand_bytes * machine.n_units / feed_bandwidth
    memory_s = compulsory_traffic_bytes(shape) / bandwidth
    body_s = power_mean_join(arithmetic_s, feed_s, machine.overlap_exponent)
    body_s = power_mean_join(body_s, memory_s, machine.overlap_exponent)
    reduction_s = 0.0
    if n_splits > 1.0:
        partial_bytes = n_splits * shape.m * shape.n * PARTIAL_SUM_BYTES
        reduction_s = machine.split_s + partial_bytes / feed_bandwidth
    time_s = body_s + reduction_s
    return GemmTime(
        time_s, arithmetic_s, feed_s, memory_s, reduction_s, 0.0, 1.0, tile_m, tile_n, n_splits
    )


def gemm_time(shape: GemmShape, machine: GemmMachine) -> GemmTime:
    """Time of one matrix product in a tight loop.

    Parameters
    ----------
    shape
        Sizes [elements] and operand widths [byte].
    machine
        Device figures and fitted parameters; scale peak_flop_per_s by the clock to lower it.

    Returns
    -------
    GemmTime
        The best candidate with its limits; time_s includes droop and the launch floor. [s]

    Notes
    -----
    Monotone: more m, n or k is never faster; more peak, bandwidth or efficiency never slower,
    since every candidate is monotone and the minimum of monotone functions is.
    """
    best = _candidate(shape, machine, 64.0, 64.0, 1.0)
    for tile_m, tile_n in TILES:
        tiles = -(-shape.m // tile_m) * -(-shape.n // tile_n)
        for n_splits in SPLITS:
            # More tiles than two waves never gain from a split; skipping them saves half the work.
            if n_splits > 1.0 and tiles * n_splits > 4.0 * machine.n_units:
                break
            candidate = _candidate(shape, machine, tile_m, tile_n, n_splits)
            if candidate.time_s < best.time_s:
                best = candidate
    droop = 1.0 + machine.droop_fraction * best.time_s / (best.time_s + machine.droop_time_s)
    return GemmTime(
        best.time_s * droop + machine.launch_s,
        best.arithmetic_s,
        best.feed_s,
        best.memory_s,
        best.split_s,
        machine.launch_s,
        droop,
        best.tile_m,
        best.tile_n,
        best.n_splits,
    )
