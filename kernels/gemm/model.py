"""Performance model of a dense matrix product on one device.

C[m, n] = A[m, k] B[k, n]. For each candidate tile and each split of the depth the time is the
smooth maximum of three limits: arithmetic in waves of tiles, the supply of operands to one compute
unit, and the compulsory traffic to device memory. On some devices the supply is slower where rows
begin a large power of two of bytes apart, which share few channels and cache sets. The library is
assumed to pick the best candidate; hard waves and a single tile are worse than no tiles at all,
measured on public GEMM tables. A thread of a processor has no tiles and waves: `packed` describes
it. All functions are pure scalar functions, so that one source serves the explained prediction in
plain Python and a compiled sweep.

References
----------
S. Williams, A. Waterman, D. Patterson, Roofline, CACM 52(4), 2009 (arithmetic and memory limits).
M. Osama et al., Stream-K, PPoPP 2023 (why whole waves overstate the loss).
"""

from __future__ import annotations

from typing import NamedTuple

from kernels.gemm.packed import PackedMachine, packed_gemm_time
from kernels.smooth import power_mean_join, smooth_waves

__all__ = [
    "FLOP_PER_MULTIPLY_ADD",
    "GemmMachine",
    "GemmShape",
    "GemmTime",
    "common_stride_bytes",
    "compulsory_traffic_bytes",
    "drooped_s",
    "gemm_time",
    "memory_limit_s",
    "tile_limits_s",
]

FLOP_PER_MULTIPLY_ADD = 2.0
"""A multiply and an add. [flop]"""

TILES = ((16.0, 64.0), (64.0, 64.0), (128.0, 64.0), (128.0, 128.0), (256.0, 128.0))
"""Rows and columns of the output tiles that libraries choose from. [elements]"""

SPLITS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Parts into which the depth k may be cut. [1]"""

SPLIT_WAVES = 4.0
"""Waves of work items beyond which no library splits the depth. [1]"""

NEVER_S = 1.0e30
"""Longer than any kernel: start of a search for the shortest. [s]"""

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
    feed_bytes_per_s: float
    """What all compute units together draw from the caches. [byte/s]"""
    fill_depth: float
    fill_repeat_fraction: float
    wave_smoothing_fraction: float
    split_s: float
    droop_fraction: float
    droop_time_s: float
    overlap_exponent: float
    stride_conflict_ratio: float
    """Further time of the operand supply where rows begin whole periods apart. [1]"""
    stride_period_bytes: float
    """Distance of addresses that share a memory channel and a cache set. [byte]"""
    pack_a_s: float = 0.0
    """Copying one element of A into blocks; above 0 on processors only. [s]"""
    pack_b_s: float = 0.0
    """The same of B. [s]"""
    cached_pack_ratio: float = 1.0
    """Speed of copying operands that the cache holds. [1]"""
    cache_bytes: float = 0.0
    """Second-level cache, for packing. [byte]"""
    cached_fill_ratio: float = 1.0
    """Speed of loading and storing a result that the cache holds. [1]"""
    pack_cache_ratio: float = 1.0
    """All caches that a product finds over the second-level one. [1]"""
    cached_transposed_ratio: float = 1.0
    """Speed of packing what is stored transposed from the cache over that from memory. [1]"""
    transposed_a_ratio: float = 1.0
    """Packing an A that is stored transposed over one in memory that is not. [1]"""
    transposed_b_ratio: float = 1.0
    """The same of B. [1]"""
    tile_m: float = 1.0
    """Rows of the tile in registers that a processor's kernel pads to. [1]"""
    tile_n: float = 1.0
    """The same of columns. [1]"""
    lone_block_ratio: float = 1.0
    """Arithmetic of waves that hold one block of results, over that of waves that hold more. [1]"""
    cut_line_ratio: float = 0.0
    """Further operand traffic for each cache line that a short piece of a row cuts. [1]"""


class GemmShape(NamedTuple):
    """Sizes of one product and the width of its operands."""

    m: float
    n: float
    k: float
    a_element_bytes: float
    b_element_bytes: float
    c_element_bytes: float
    batch: float
    """Independent products in one call. [1]"""
    transposed_a_fraction: float = 0.0
    """1 where A is stored as (k, m); only packing on processors tells the difference. [1]"""
    transposed_b_fraction: float = 0.0
    """1 where B is stored as (n, k). [1]"""


class GemmTime(NamedTuple):
    """Predicted time and the limits behind it, for the best candidate."""

    time_s: float
    arithmetic_s: float
    feed_s: float
    memory_s: float
    split_s: float
    launch_s: float
    tile_m: float
    tile_n: float
    n_splits: float


def compulsory_traffic_bytes(shape: GemmShape) -> float:
    """Each operand read once and the result written once. [byte]"""
    return shape.batch * (
        shape.m * shape.k * shape.a_element_bytes
        + shape.k * shape.n * shape.b_element_bytes
        + shape.m * shape.n * shape.c_element_bytes
    )


def _reduction_time_s(shape: GemmShape, machine: GemmMachine, n_splits: float) -> float:
    """Adding up the partial sums of a split depth: a fixed cost and their traffic. [s]"""
    if n_splits <= 1.0:
        return 0.0
    partial_bytes = shape.batch * n_splits * shape.m * shape.n * PARTIAL_SUM_BYTES
    return machine.split_s + partial_bytes / machine.feed_bytes_per_s


def common_stride_bytes(shape: GemmShape, machine: GemmMachine) -> float:
    """Largest power of two that divides the distance of two rows, as far as it matters. [byte]"""
    if machine.stride_conflict_ratio <= 0.0:
        return 0.0
    row_bytes = shape.k * shape.a_element_bytes
    longest_bytes = SPLITS[-1] * machine.stride_period_bytes
    common_bytes = 1.0
    while common_bytes < longest_bytes and row_bytes % (2.0 * common_bytes) == 0.0:
        common_bytes *= 2.0
    return common_bytes


def memory_limit_s(shape: GemmShape, machine: GemmMachine) -> float:
    """Compulsory traffic at the share of the bandwidth that the device reaches. [s]"""
    return compulsory_traffic_bytes(shape) / (
        machine.memory_efficiency_fraction * machine.memory_bandwidth_bytes_per_s
    )


def drooped_s(computing_s: float, memory_s: float, machine: GemmMachine) -> float:
    """What follows the clock and what does not, at the clock that a kernel of this length has.

    Parameters
    ----------
    computing_s
        Arithmetic and operand supply at the boost clock. [s]
    memory_s
        Compulsory traffic. [s]
    machine
        Its droop is that of the clock in long kernels.

    Returns
    -------
    float
        Both joined. [s]
    """
    body_s = power_mean_join(computing_s, memory_s, machine.overlap_exponent)
    if machine.droop_fraction <= 0.0:
        return body_s
    longer = 1.0 + machine.droop_fraction * body_s / (body_s + machine.droop_time_s)
    return power_mean_join(computing_s * longer, memory_s, machine.overlap_exponent)


def tile_limits_s(
    shape: GemmShape,
    machine: GemmMachine,
    tile: tuple[float, float],
    n_splits: float,
    *,
    common_bytes: float,
) -> tuple[float, float]:
    """Arithmetic and operand supply of one candidate.

    Parameters
    ----------
    shape, machine
        The product and the device.
    tile
        Rows and columns of the output tile. [elements]
    n_splits
        Parts that the depth is cut into. [1]
    common_bytes
        Of `common_stride_bytes`. [byte]

    Returns
    -------
    tuple
        Time of the multiply-adds in waves of tiles, and of the operands' way to the units. [s]
    """
    tile_m, tile_n = tile
    unit_flop_per_s = machine.tensor_efficiency_fraction * machine.peak_flop_per_s / machine.n_units
    unit_feed_bytes_per_s = machine.feed_bytes_per_s / machine.n_units
    tiles = shape.batch * -(-shape.m // tile_m) * -(-shape.n // tile_n)
    operand_bytes = tile_m * shape.a_element_bytes + tile_n * shape.b_element_bytes
    depth = shape.k / n_splits
    waves = smooth_waves(tiles * n_splits / machine.n_units, machine.wave_smoothing_fraction)
    fills = 1.0 + machine.fill_repeat_fraction * (waves - 1.0)
    multiply_adds = tile_m * tile_n * (waves * depth + fills * machine.fill_depth)
    arithmetic_s = FLOP_PER_MULTIPLY_ADD * multiply_adds / unit_flop_per_s
    feed_s = waves * operand_bytes * depth / unit_feed_bytes_per_s
    # Parts of a split depth begin at different places of a period.
    aligned = min(common_bytes / n_splits / machine.stride_period_bytes, 1.0)
    return arithmetic_s, feed_s * (1.0 + machine.stride_conflict_ratio * aligned)


def _packed(shape: GemmShape, machine: GemmMachine) -> GemmTime:
    """The product on one thread of a processor; `feed_s` is packing."""
    thread = PackedMachine(
        machine.tensor_efficiency_fraction * machine.peak_flop_per_s,
        machine.launch_s,
        machine.fill_depth,
        machine.pack_a_s * (1.0 + shape.transposed_a_fraction * (machine.transposed_a_ratio - 1.0)),
        machine.pack_b_s * (1.0 + shape.transposed_b_fraction * (machine.transposed_b_ratio - 1.0)),
        machine.cached_pack_ratio,
        machine.cached_fill_ratio,
        machine.pack_cache_ratio * machine.cache_bytes,
        shape.transposed_a_fraction,
        shape.transposed_b_fraction,
        machine.cached_transposed_ratio,
        machine.tile_m,
        machine.tile_n,
    )
    footprint_bytes = compulsory_traffic_bytes(shape) / shape.batch
    time = packed_gemm_time((shape.m, shape.n, shape.k, shape.batch), footprint_bytes, thread)
    return GemmTime(
        time.time_s, time.arithmetic_s, time.pack_s, 0.0, 0.0, machine.launch_s, 0.0, 0.0, 1.0
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
    since every candidate is monotone, growing sizes only remove candidates, and the minimum of
    monotone functions is monotone. One exception is measured: a depth whose rows share channels
    may cost more than the next depth.
    """
    if machine.pack_a_s + machine.pack_b_s > 0.0:
        return _packed(shape, machine)
    memory_s = memory_limit_s(shape, machine)
    common_bytes = common_stride_bytes(shape, machine)
    best = (NEVER_S, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    for tile_m, tile_n in TILES:
        tiles = shape.batch * -(-shape.m // tile_m) * -(-shape.n // tile_n)
        for n_splits in SPLITS:
            # With more tiles than a few waves a split never pays.
            if n_splits > 1.0 and tiles * n_splits > SPLIT_WAVES * machine.n_units:
                break
            arithmetic_s, feed_s = tile_limits_s(
                shape, machine, (tile_m, tile_n), n_splits, common_bytes=common_bytes
            )
            # The smooth maximum is at least the hard one: most candidates end here.
            if max(arithmetic_s, feed_s, memory_s) >= best[0]:
                continue
            computing_s = power_mean_join(arithmetic_s, feed_s, machine.overlap_exponent)
            if computing_s >= best[0]:
                continue
            body_s = drooped_s(computing_s, memory_s, machine)
            split_s = _reduction_time_s(shape, machine, n_splits)
            if body_s + split_s < best[0]:
                best = (body_s + split_s, arithmetic_s, feed_s, split_s, tile_m, tile_n, n_splits)
    return GemmTime(
        time_s=best[0] + machine.launch_s,
        arithmetic_s=best[1],
        feed_s=best[2],
        memory_s=memory_s,
        split_s=best[3],
        launch_s=machine.launch_s,
        tile_m=best[4],
        tile_n=best[5],
        n_splits=best[6],
    )
