"""Performance model of fused (flash-style) attention, forward and backward, on one device.

Work items are blocks of queries of one head; each walks over blocks of keys. A step over one
key block costs its matrix products, joined with its exponentials, plus a fixed dependency
latency; that latency is why short sequences and narrow heads run far below peak. Items are
scheduled over the compute units; the longest one bounds small problems.

References
----------
T. Dao, FlashAttention-2, 2023, section 3 (work partitioning, FLOP counts).
J. Shah et al., FlashAttention-3, 2024, section 3.1 (exponentials against matrix products).
"""

from __future__ import annotations

from typing import NamedTuple

from kernels.smooth import power_mean_join, smooth_waves

__all__ = [
    "BACKWARD_PRODUCTS",
    "FORWARD_PRODUCTS",
    "AttentionMachine",
    "AttentionShape",
    "AttentionTime",
    "attention_backward_time",
    "attention_flop",
    "attention_forward_time",
]

FORWARD_PRODUCTS = 2.0
"""Matrix products of the forward pass: scores and output. [1]"""

BACKWARD_PRODUCTS = 5.0
"""Matrix products of the backward pass: scores again, and four gradients. [1]"""

KEY_BLOCK = 128.0
"""Keys that one step visits. [1]"""

QUERY_BLOCKS = (64.0, 128.0, 256.0)
"""Query rows of one work item that libraries choose from. [1]"""

PADDED_HEAD_DIMS = (64.0, 96.0, 128.0, 192.0, 256.0, 512.0)
"""Head widths that kernels are built for; others are padded. [1]"""

WAVE_SMOOTHING_FRACTION = 0.7
"""Items differ in length and are scheduled longest first, so waves blur. [1]"""

MEMORY_JOIN_EXPONENT = 4.0
"""Smooth maximum between the schedule and memory traffic. [1]"""

NEVER_S = 1.0e30
"""Longer than any kernel: start of a search for the shortest. [s]"""


class Direction(NamedTuple):
    """What tells the backward pass from the forward one."""

    products: float
    """Matrix products per pair of blocks. [1]"""
    latency_ratio: float
    """Dependent stages of one step over those of a forward step. [1]"""
    traffic_ratio: float
    """Traffic over Q, K, V and O once. [1]"""


FORWARD = Direction(FORWARD_PRODUCTS, 1.0, 1.0)

BACKWARD = Direction(BACKWARD_PRODUCTS, 2.0, 3.0)
"""Traffic: Q, K, V, O, dO read, dQ (fp32) read and written, dK, dV written. The pre-pass over O
and dO and the conversion of dQ queue behind one call: their traffic counts, their launch does
not."""


class AttentionMachine(NamedTuple):
    """What the attention model knows of a device and an implementation."""

    n_units: float
    clock_hz: float
    """Clock of the compute units. [Hz]"""
    peak_flop_per_s: float
    """Dense peak of the dtype at that clock. [flop/s]"""
    memory_bandwidth_bytes_per_s: float
    matrix_efficiency_fraction: float
    backward_matrix_efficiency_fraction: float
    memory_efficiency_fraction: float
    exponentials_per_clock_per_unit: float
    block_latency_s: float
    diagonal_blocks: float
    launch_s: float
    traffic_factor: float
    join_exponent: float


class AttentionShape(NamedTuple):
    """Sizes of one call."""

    batch: float
    n_heads: float
    n_kv_heads: float
    query_len: float
    key_len: float
    head_dim: float
    visible_fraction: float
    """Share of keys a query sees on average: 1/2 for causal, 1 for full. [1]"""
    element_bytes: float


class AttentionTime(NamedTuple):
    """Predicted time and the limits behind it."""

    time_s: float
    schedule_s: float
    """All items over all units. [s]"""
    longest_item_s: float
    memory_s: float
    launch_s: float
    block_s: float
    """One step over a key block. [s]"""
    query_block: float


def attention_flop(shape: AttentionShape, products: float) -> float:
    """Floating-point work of the matrix products that the mask leaves. [flop]"""
    pairs = shape.batch * shape.n_heads * shape.query_len * shape.key_len * shape.visible_fraction
    return 2.0 * products * pairs * shape.head_dim


def _padded_head_dim(head_dim: float) -> float:
    for padded in PADDED_HEAD_DIMS:
        if head_dim <= padded:
            return padded
    return head_dim


def _traffic_bytes(shape: AttentionShape) -> float:
    query_like = 2.0 * shape.query_len * shape.n_heads
    key_like = 2.0 * shape.key_len * shape.n_kv_heads
    return shape.batch * (query_like + key_like) * shape.head_dim * shape.element_bytes


def _block_time_s(
    shape: AttentionShape, machine: AttentionMachine, *, query_block: float, direction: Direction
) -> float:
    efficiency = machine.matrix_efficiency_fraction
    if direction.products > FORWARD_PRODUCTS:
        efficiency = machine.backward_matrix_efficiency_fraction
    pairs = query_block * KEY_BLOCK
    matrix_flop = 2.0 * direction.products * pairs * _padded_head_dim(shape.head_dim)
    matrix_s = matrix_flop * machine.n_units / (efficiency * machine.peak_flop_per_s)
    exponential_s = pairs / (machine.exponentials_per_clock_per_unit * machine.clock_hz)
    joined_s = power_mean_join(matrix_s, exponential_s, machine.join_exponent)
    return joined_s + machine.block_latency_s * direction.latency_ratio


def _mean_blocks(shape: AttentionShape, diagonal_blocks: float) -> float:
    """Key blocks that an item visits on average; a mask's edge cuts through some of them. [1]"""
    blocks = shape.key_len / KEY_BLOCK
    visible = blocks * shape.visible_fraction
    if shape.visible_fraction < 1.0:
        visible = min(blocks, visible + diagonal_blocks)
    return max(visible, 1.0)


def _attention_time(
    shape: AttentionShape, machine: AttentionMachine, direction: Direction
) -> AttentionTime:
    traffic_bytes = _traffic_bytes(shape) * machine.traffic_factor * direction.traffic_ratio
    memory_s = traffic_bytes / (
        machine.memory_efficiency_fraction * machine.memory_bandwidth_bytes_per_s
    )
    mean_blocks = _mean_blocks(shape, machine.diagonal_blocks)
    longest_blocks = max(shape.key_len / KEY_BLOCK, 1.0)
    heads = shape.batch * shape.n_heads
    best = (NEVER_S, 0.0, 0.0, 0.0, 0.0)
    for query_block in QUERY_BLOCKS:
        block_s = _block_time_s(shape, machine, query_block=query_block, direction=direction)
        items = heads * -(-shape.query_len // query_block)
        waves = smooth_waves(items / machine.n_units, WAVE_SMOOTHING_FRACTION)
        schedule_s = waves * mean_blocks * block_s
        longest_s = longest_blocks * block_s
        busy_s = max(schedule_s, longest_s)
        if busy_s < best[0]:
            best = (busy_s, schedule_s, longest_s, block_s, query_block)
    return AttentionTime(
        time_s=power_mean_join(best[0], memory_s, MEMORY_JOIN_EXPONENT) + machine.launch_s,
        schedule_s=best[1],
        longest_item_s=best[2],
        memory_s=memory_s,
        launch_s=machine.launch_s,
        block_s=best[3],
        query_block=best[4],
    )


def attention_forward_time(shape: AttentionShape, machine: AttentionMachine) -> AttentionTime:
    """Time of one fused forward call.

    Parameters
    ----------
    shape
        batch, heads, lengths [1] and element width [byte].
    machine
        Device figures and fitted parameters of the implementation.

    Returns
    -------
    AttentionTime
        Best query block; time_s includes the launch. [s]
    """
    return _attention_time(shape, machine, FORWARD)


def attention_backward_time(shape: AttentionShape, machine: AttentionMachine) -> AttentionTime:
    """Time of one fused backward call: five products for the forward's two.

    The pre-pass over O and dO and the conversion of dQ add traffic of their own.
    Public backward measurements on Nvidia parts are few, so the efficiency of the backward
    products carries a wide spread in the profiles.

    Returns
    -------
    AttentionTime
        Best query block; time_s includes the launch. [s]
    """
    return _attention_time(shape, machine, BACKWARD)
