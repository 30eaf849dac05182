"""Fitted and measured parameters of kernel models, as they stand in ``[calibration]`` tables.

Every struct carries how it was obtained (`Provenance`), so that an explanation can say of each
parameter whether it was fitted, on how many samples, and with what residual spread.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping

import msgspec

__all__ = [
    "SOFT_ROW_SHARPNESS",
    "STREAM_OVERLAP",
    "AttentionCalibration",
    "AttentionDecode",
    "BandwidthCalibration",
    "Calibration",
    "CollectiveCalibration",
    "CollectiveImplementation",
    "GemmCalibration",
    "GemmImplementation",
    "MemoryBoundCalibration",
    "OperationCalibration",
    "PowerCalibration",
    "Provenance",
    "Residual",
    "widened",
]


_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a set of parameters comes from."""

    figure_class: str
    """One of measured, fitted, assumed, inherited."""
    source: str
    """Data set, document or reasoning behind the values."""
    date: str | None = None
    """Day of the fit, ISO format."""
    code_version: str | None = None
    """Version of the twin whose formulas were fitted."""
    n_samples: int | None = None
    """Rows the parameters were fitted on. [1]"""
    n_heldout: int | None = None
    """Rows that were set aside and judged. [1]"""
    heldout_median_ape_fraction: float | None = None
    """Median absolute relative error on the rows set aside. [1]"""
    heldout_mean_ape_fraction: float | None = None
    """Mean absolute relative error on them. [1]"""
    heldout_p90_ape_fraction: float | None = None
    """Ninetieth percentile of their absolute relative error. [1]"""
    left_out_median_ape_fraction: float | None = None
    """Median error on this device when all of its own rows are left out of the fit. [1]"""
    relative_spread_fraction: float
    """Standard deviation of log(measured / predicted) that intervals use. [1]"""

    def __post_init__(self) -> None:
        if self.date is not None and _DATE.fullmatch(self.date) is None:
            msg = f'date = "{self.date}": expected a day such as 2026-11-26'
            raise ValueError(msg)


LARGEST_PERMILLE = 300
"""A correction may correct, never carry. [1e-3]"""


@functools.lru_cache(maxsize=512)
def whole_numbers(text: str) -> tuple[int, ...]:
    """Whole numbers that stand in a text with white space between them."""
    return tuple(map(int, text.split()))


class Residual(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a formula leaves over, on a coarse grid of sizes; see kernels/residual.py."""

    starts_log2: tuple[float, ...]
    """Binary logarithm of the least size of each axis. [1]"""
    steps_log2: tuple[float, ...]
    """Distance between the nodes of each axis. [octaves]"""
    counts: tuple[int, ...]
    """Nodes of each axis. [1]"""
    values_permille: str
    """ln(measured / predicted) at the nodes, the last axis fastest: whole numbers in a text, which
    a profile of thousands of them is read faster from than from a list. [1e-3]"""

    def __post_init__(self) -> None:
        n_axes = len(self.counts)
        if len(self.starts_log2) != n_axes or len(self.steps_log2) != n_axes:
            msg = f"starts_log2, steps_log2 and counts: expected {n_axes} numbers in each"
            raise ValueError(msg)
        if min(self.counts, default=1) < 1 or min(self.steps_log2, default=1.0) <= 0.0:
            msg = "counts and steps_log2: expected numbers above 0"
            raise ValueError(msg)
        try:
            values = whole_numbers(self.values_permille)
        except ValueError as error:
            msg = f"values_permille: expected whole numbers: {error}"
            raise ValueError(msg) from error
        if len(values) != math.prod(self.counts):
            msg = (
                f"values_permille: expected {math.prod(self.counts)} numbers, as counts says; "
                f"there are {len(values)}"
            )
            raise ValueError(msg)
        if any(abs(value) > LARGEST_PERMILLE for value in values):
            msg = f"values_permille: expected numbers up to {LARGEST_PERMILLE} either way"
            raise ValueError(msg)

    @property
    def values(self) -> tuple[int, ...]:
        """The numbers of `values_permille`. [1e-3]"""
        return whole_numbers(self.values_permille)


class GemmImplementation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the timings of one library differ from the kernel of the device's dtype."""

    rate_ratio: float = 1.0
    """Share of the peak over the device's own. [1]"""
    memory_ratio: float = 1.0
    """Share of the memory bandwidth over the device's own. [1]"""
    supply_ratio: float = 1.0
    """Operand supply over the device's own, besides what the memory ratio does to it. [1]"""
    fill_ratio: float = 1.0
    """Pipeline fill over the device's own. [1]"""
    lone_block_ratio: float = 1.0
    """Arithmetic of waves that hold one block of results, over that of waves that hold more. [1]"""
    cut_line_ratio: float = 0.0
    """Further operand traffic for each cache line that a short piece of a row cuts. [1]"""
    is_batch_seen: bool = True
    """Whether kernels are chosen for the whole batch, or as for one product of it."""
    pack_a_ratio: float = 1.0
    """Packing of A on a processor over the device's own. [1]"""
    pack_b_ratio: float = 1.0
    """The same of B. [1]"""
    cached_pack_ratio: float = 1.0
    """Speed of packing from the cache on a processor over the device's own. [1]"""
    transposed_a_ratio: float = 1.0
    """What a transposed A adds to packing, over what it adds to the device's own. [1]"""
    transposed_b_ratio: float = 1.0
    """The same of B. [1]"""
    tile_rows: float = 1.0
    """Rows of the tile in registers that a processor's kernel pads to. [1]"""
    tile_columns: float = 1.0
    """The same of columns. [1]"""
    overhead_s: float = 0.0
    """Further launches and host time in each timing. [s]"""
    conversion_bytes_per_element: float = 0.0
    """Traffic that converts one element of the activations, at the datasheet bandwidth. [byte]"""
    residual: Residual | None = None
    provenance: Provenance


class GemmCalibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of the GEMM model for one device and one dtype; see kernels/gemm/model.py."""

    tensor_efficiency_fraction: float
    """Share of the dense datasheet peak that the inner loop sustains. [1]"""
    memory_efficiency_fraction: float
    """Share of the datasheet memory bandwidth that operand traffic reaches. [1]"""
    launch_s: float
    """Floor of one kernel inside a tight loop. [s]"""
    feed_bytes_per_clock: float
    """Operands that one compute unit draws in a clock. [byte]"""
    feed_flop_per_clock: float | None = None
    """Dense operations in a clock of the units that showed it; none: units of any rate. [flop]"""
    fill_depth: float
    """Pipeline fill, as extra depth of the reduction dimension. [elements]"""
    fill_repeat_fraction: float = 1.0
    """Share of the fill that every further wave pays again; persistent kernels hide it. [1]"""
    wave_smoothing_fraction: float
    """0: whole waves only; 1: no wave loss at all. [1]"""
    split_s: float
    """Fixed cost of reducing partial sums when the depth is split. [s]"""
    droop_fraction: float
    """Loss of rate of very long kernels against short ones. [1]"""
    droop_time_s: float
    """Kernel time at which half of the droop is reached. [s]"""
    droop_limit_j_per_flop: float | None = None
    """Board limit over dense peak of the devices that drooped so; none: not known. [J/flop]"""
    overlap_exponent: float
    """Exponent of the smooth maximum that joins the limits. [1]"""
    stride_conflict_ratio: float = 0.0
    """Further time of the operand supply where rows begin whole periods apart. [1]"""
    stride_period_bytes: float = 131072.0
    """Distance of addresses that share a memory channel and a cache set. [byte]"""
    pack_a_s: float = 0.0
    """Copying one element of A into blocks; above 0 on processors: kernels/gemm/packed.py. [s]"""
    pack_b_s: float = 0.0
    """The same of B. [s]"""
    cached_pack_ratio: float = 1.0
    """Speed of copying operands that the second-level cache holds over those in memory. [1]"""
    cached_fill_ratio: float = 1.0
    """The same of loading and storing results. [1]"""
    pack_cache_ratio: float = 1.0
    """All caches that a product finds on a processor over the second-level one. [1]"""
    cached_transposed_ratio: float = 1.0
    """Speed of packing what is stored transposed from the cache over that from memory. [1]"""
    transposed_a_ratio: float = 1.0
    """Packing an A that is stored as (k, m) over one in memory that is stored as (m, k). [1]"""
    transposed_b_ratio: float = 1.0
    """Packing a B that is stored as (n, k) over one in memory that is stored as (k, n). [1]"""
    residual: Residual | None = None
    implementations: dict[str, GemmImplementation] = {}
    """By library, as kernels/libraries.toml names them."""
    provenance: Provenance


class AttentionDecode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of decoding one token against a cache; see kernels/attention/decode.py."""

    memory_efficiency_fraction: float
    """Share of the memory bandwidth at which long caches are read. [1]"""
    unit_bandwidth_ratio: float
    """What one compute unit reads over its share of the memory bandwidth. [1]"""
    part_tokens: float
    """Keys of the shortest part that a cache is cut into. [1]"""
    matrix_efficiency_fraction: float
    """Share of the dense peak that the products reach. [1]"""
    item_latency_s: float
    """Work around one part, on its compute unit. [s]"""
    launch_s: float
    """Floor of one call, host side included. [s]"""
    cache_share_ratio: float = 0.0
    """Part of the last-level cache that keeps keys and values between calls. [1]"""
    provenance: Provenance


class AttentionCalibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of fused attention for one device and one implementation.

    The defaults describe a kernel with blocks of 64, 128 and 256 queries, without side traffic.
    """

    matrix_efficiency_fraction: float
    """Share of the dense peak that the two matrix products of a block sustain. [1]"""
    memory_efficiency_fraction: float
    """Share of the memory bandwidth that Q, K, V and O traffic reaches. [1]"""
    exponentials_per_clock_per_unit: float
    """Exponentials one compute unit evaluates per clock. [1]"""
    block_latency_s: float
    """Dependency latency of one step over a key block. [s]"""
    diagonal_blocks: float
    """Extra key blocks that each work item of a causal mask visits. [1]"""
    launch_s: float
    """Floor of one call, host side included. [s]"""
    traffic_factor: float
    """Memory traffic of the kernel over one pass of Q, K, V and O. [1]"""
    join_exponent: float
    """Exponent of the sum of matrix time and exponential time; 1 is no overlap. [1]"""
    backward_matrix_efficiency_fraction: float
    """Share of the dense peak that the five products of the backward pass sustain. [1]"""
    item_latency_s: float = 0.0
    """Start and end of one work item. [s]"""
    item_latency_fixed_fraction: float = 0.0
    """Share of it that does not grow with the block of queries. [1]"""
    wave_smoothing_fraction: float = 0.7
    """0: whole waves only; 1: no wave loss at all. [1]"""
    lone_item_ratio: float = 1.0
    """Step time of an item alone on its unit over its share of the device's rate. [1]"""
    split_s: float = 1.0
    """Fixed cost of splitting keys over units; large where the library never does. [s]"""
    query_block: float = 256.0
    """Rows of the largest block of queries. [1]"""
    narrow_query_block: float = 256.0
    """The same for heads of at most 96. [1]"""
    least_query_block: float = 64.0
    """Rows of the smallest block. [1]"""
    key_block: float = 128.0
    """Keys that one step visits. [1]"""
    least_head_dim: float = 64.0
    """Narrower heads cost as much; kernels of GPUs pad them. [1]"""
    group_packing_fraction: float = 0.0
    """How far the query heads of a group share blocks of queries. [1]"""
    token_packing_fraction: float = 0.0
    """The same for a single query token. [1]"""
    head_96_over_64_ratio: float = 1.5
    """Cost of a head dim up to 96 over that of one up to 64. [1]"""
    head_128_over_96_ratio: float = 4.0 / 3.0
    """Cost of a head dim up to 128 over that of one up to 96. [1]"""
    head_192_over_128_ratio: float = 1.5
    """Cost of a head dim up to 192 over that of one up to 128. [1]"""
    head_256_over_192_ratio: float = 4.0 / 3.0
    """Cost of a head dim up to 256 over that of one up to 192. [1]"""
    head_512_over_256_ratio: float = 2.0
    """Cost of a head dim up to 512 over that of one up to 256. [1]"""
    unaligned_head_ratio: float = 1.0
    """Cost of a head dim that is no multiple of 16 over that of its class. [1]"""
    side_query_ratio: float = 0.0
    """Traffic of the library around the kernel, over that of Q and O. [1]"""
    side_key_ratio: float = 0.0
    """Traffic of the library around the kernel, over that of K and V. [1]"""
    cache_share_ratio: float = 0.0
    """Part of the last-level cache that keeps Q, K, V and O between kernels. [1]"""
    droop_fraction: float = 0.0
    """Loss of rate of very long kernels against short ones. [1]"""
    backward_latency_ratio: float = 2.0
    """Dependent stages of a step of the backward pass over those of a forward one. [1]"""
    backward_side_ratio: float = 0.0
    """Traffic before and after the backward kernel, over that of Q and O. [1]"""
    backward_launch_s: float | None = None
    """Floor of one backward call; none: as the forward one. [s]"""
    residual: Residual | None = None
    """Axes: batch times query heads, query length, head dim."""
    backward_residual: Residual | None = None
    decode: AttentionDecode | None = None
    provenance: Provenance
    backward_provenance: Provenance


class CollectiveImplementation(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """How another library's collective differs from the vendor's; see all_reduce/implementation."""

    host_s: float = 0.0
    """Host time of one call that is launched on its own; device work hides behind it. [s]"""
    copy_passes: float = 0.0
    """Copies of the message inside device memory before and after, as multiples of it. [1]"""
    latency_ratio: float = 1.0
    """Latency over that of the vendor's library. [1]"""
    bandwidth_ratio: float = 1.0
    """Bandwidth of large messages over that of the vendor's library. [1]"""
    kernel_latency_s: float = 0.0
    """Latency of a peer-to-peer kernel of its own with two ranks. [s]"""
    kernel_latency_per_rank_s: float = 0.0
    """Latency that each further rank adds to it. [s]"""
    kernel_efficiency_fraction: float = 0.8
    """Share of the link peak that this kernel reaches. [1]"""
    kernel_limit_bytes: float = 0.0
    """Message up to which this kernel is used; 0 for never. [byte]"""
    provenance: Provenance


class CollectiveCalibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of one collective operation inside a node; see kernels/all_reduce/model.py."""

    bandwidth_efficiency_fraction: float
    """Share of the one-way link peak that large messages reach. [1]"""
    latency_s: float
    """Latency with two ranks. [s]"""
    latency_per_rank_s: float
    """Latency added by each further rank. [s]"""
    local_copy_fraction: float
    """Weight c of the term c/ranks: each rank copies its own shard. [1]"""
    pipeline_exponent: float
    """q of (latency^q + transfer^q)^(1/q); below 1, since chunks are pipelined. [1]"""
    low_latency_fraction: float
    """Latency of the low-latency protocol over the latency above. [1]"""
    low_latency_slowdown: float
    """Extra transfer time of the low-latency protocol, as a multiple. [1]"""
    in_switch_gain: float = 1.0
    """Speed-up of large all-reduces by reduction in the switch with eight ranks or more. [1]"""
    residual: Residual | None = None
    """Correction over (message bytes, ranks, 1)."""
    implementations: dict[str, CollectiveImplementation] = {}
    """By library class, as kernels/libraries.toml names them."""
    provenance: Provenance


SOFT_ROW_SHARPNESS = 6.0
"""Rows outgrow caches gradually: block sizes differ between a library's cases. [1]"""

STREAM_OVERLAP = 6.0
"""How well arithmetic of a stream hides behind its traffic, as in products. [1]"""


class OperationCalibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one class of memory-bound operations differs from a plain stream."""

    traffic_ratio: float = 1.0
    """Traffic over one read of every operand and one write of every result. [1]"""
    launch_s: float | None = None
    """Floor of one call as it was timed, framework included; none: the stream's own. [s]"""
    row_s: float = 0.0
    """Barriers and reductions of one row in one compute unit, where a row takes a block. [s]"""
    unaligned_row_s: float = 0.0
    """The same where rows do not begin on 16 bytes. [s]"""
    short_row_columns: float = 0.0
    """Row up to which one warp does a row and no barrier is needed. [1]"""
    long_row_bytes: float = 0.0
    """Row beyond which it no longer stays on chip and is read again; 0 for never. [byte]"""
    long_row_traffic_ratio: float = 1.0
    """Traffic of rows far beyond that, over that of short rows. [1]"""
    long_row_sharpness: float = SOFT_ROW_SHARPNESS
    """How sharply rows outgrow the chip; high where a library decides by their length. [1]"""
    element_s: float = 0.0
    """Arithmetic of one element in one compute unit; 0 where it always hides behind traffic. [s]"""
    byte_s: float = 0.0
    """What each byte of an element adds to that: wider loads take longer to arrive. [s]"""
    overlap_exponent: float = STREAM_OVERLAP
    """How well arithmetic and traffic overlap; 1 for one after the other. [1]"""
    fill_rows: float = 0.0
    """Rows of each compute unit in which the device fills and drains. [1]"""
    held_row_columns: float = 0.0
    """Row up to which threads keep it in registers, a warp short ones and a block others; 0 where
    none do. [1]"""
    held_row_s: float = 0.0
    """What a warp or a block takes for such a row, however long. [s]"""
    held_register_s: float = 0.0
    """What each value that a thread holds adds to it. [s]"""
    plain_row_bytes: float = 0.0
    """Row from which a block goes through it again and again, two at a time; 0 for never. [byte]"""
    plain_round_s: float = 0.0
    """What all passes over one vector of each thread of that block take. [s]"""
    plain_rest_s: float = 0.0
    """The same for one element of each thread, of the rest that no vectors fill. [s]"""
    row_element_ratio: float = 1.0
    """Width of the elements that rows are made of, over that of the operation's type. [1]"""
    row_traffic_share: float = 1.0
    """Share of the traffic that the kernel of those rows moves; the rest is others'. [1]"""
    serial_row_s: float = 0.0
    """What a row takes in kernels that run in one block, however large the device. [s]"""
    block_s: float = 0.0
    """What a block takes for the part of 65536 elements that is cut out for it. [s]"""
    cached_bandwidth_ratio: float = 1.0
    """Bandwidth of data that stays in the second-level cache, over that of memory. [1]"""
    residual: Residual | None = None
    """Correction over (rows, columns, 1 for aligned rows and 2 for others)."""
    provenance: Provenance


class BandwidthCalibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bandwidth of device memory against occupancy, from streaming kernels."""

    peak_fraction: float
    """Share of the datasheet bandwidth that no occupancy exceeds. [1]"""
    saturation_fraction: float
    """Occupancy at which bytes in flight alone would reach that share. [1]"""
    join_exponent: float
    """Exponent of the smooth minimum of bytes in flight and peak. [1]"""


class MemoryBoundCalibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of streaming kernels (norms, activations, optimizer) on one device."""

    bandwidth_efficiency_fraction: float
    """Share of the datasheet memory bandwidth that a stream reaches. [1]"""
    launch_s: float
    """Floor of one kernel on the device, without the framework's host time. [s]"""
    cached_bandwidth_ratio: float = 1.0
    """Bandwidth of data that stays in the second-level cache, over that of memory. [1]"""
    cache_bytes: float | None = None
    """Data that the caches of the device keep between kernels, where that was measured; none: the
    second-level cache. [byte]"""
    operations: dict[str, OperationCalibration] = {}
    """By class of operation; what no class covers is a plain stream."""
    bandwidth: dict[str, BandwidthCalibration] = {}
    """By streaming kernel: copy, read, write and their kin."""
    provenance: Provenance


class PowerCalibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of the power model of one device; see twin/energy/device_power.py."""

    busy_w: float
    """Power above idle of clocked, occupied compute units, at the reference clock. [W]"""
    energy_per_flop_j: float
    """Dynamic energy of one 16-bit tensor operation at the reference clock. [J/flop]"""
    energy_per_hbm_byte_j: float
    """Energy of moving one byte to or from device memory. [J/byte]"""
    energy_per_link_byte_j: float
    """Energy of sending one byte to another device, this device's share. [J/byte]"""
    voltage_slope: float
    """Relative fall of core voltage per relative fall of clock. [1]"""
    minimum_clock_fraction: float
    """Lowest clock the power controller goes to, over the reference clock. [1]"""
    low_precision_energy_ratio: float = 0.54
    """Energy of one 8-bit tensor operation over that of a 16-bit one; a 4-bit one takes its square.
    As our surveys of H100 and H200 have it: both precisions at the power limit. [1]"""
    provenance: Provenance


class Calibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All calibrated parameters of one accelerator; a missing family is uncalibrated."""

    gemm: dict[str, GemmCalibration] = {}
    """By dtype."""
    attention: dict[str, AttentionCalibration] = {}
    """By implementation: a key of the frameworks' attention choice."""
    collective: dict[str, CollectiveCalibration] = {}
    """By operation: all_reduce, all_gather, reduce_scatter, all_to_all, point_to_point."""
    memory_bound: MemoryBoundCalibration | None = None
    power: PowerCalibration | None = None


def widened(calibration: Calibration, least_spread_fraction: Mapping[str, float]) -> Calibration:
    """The same constants with intervals of at least a given spread.

    Parameters
    ----------
    calibration
        Constants of one device or family.
    least_spread_fraction
        Least spread by family of kernels, as `Calibration` names them; others stay. [1]
    """
    table = msgspec.to_builtins(calibration)
    for kind, least in least_spread_fraction.items():
        _widen(table.get(kind), least)
    return msgspec.convert(table, Calibration)


def _widen(held: object, least: float) -> None:
    if not isinstance(held, dict):
        return
    for value in held.values():
        _widen(value, least)
    if "relative_spread_fraction" in held:
        held["relative_spread_fraction"] = max(held["relative_spread_fraction"], least)
