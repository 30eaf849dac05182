"""Performance model of fused (flash-style) attention, forward and backward, on one device.

Work items are blocks of queries of one head; each walks over blocks of keys. A step over one key
block costs its matrix products, joined with its exponentials, plus a dependency latency. Items are
scheduled over the compute units in waves; a unit that works on a single item alone runs it slower
than its share of the device's rate, which bounds small problems unless the keys of an item are
split. Q, K, V and O pass through the memory, or through the last-level cache where they fit. What
a library does around the kernel (rotary embedding, writing a key-value cache) is traffic that adds
to the time.

References
----------
T. Dao, FlashAttention-2, 2023, section 3 (work partitioning, FLOP counts).
J. Shah et al., FlashAttention-3, 2024, section 3.1 (exponentials against matrix products), and its
code (heads of a group packed into one block of queries).
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
    "attention_roof_s",
    "cached_traffic_time_s",
]

FORWARD_PRODUCTS = 2.0
"""Matrix products of the forward pass: scores and output. [1]"""

BACKWARD_PRODUCTS = 5.0
"""Matrix products of the backward pass: scores again, and four gradients. [1]"""

BACKWARD_TRAFFIC_RATIO = 3.0
"""Traffic of the backward pass over Q, K, V and O once: they and dO are read, dQ (fp32) read and
written, dK and dV written. [1]"""

FULL_QUERY_BLOCK = 128.0
"""Rows of the block of queries that the latency of an item refers to. [1]"""

REFERENCE_HEAD_DIM = 128.0
"""Head dim whose cost the ratios of the other head dims refer to. [1]"""

NARROW_HEAD_DIM = 96.0
"""Heads up to this width leave registers for larger blocks of queries. [1]"""

HEAD_ALIGNMENT = 16.0
"""Matrix units take head dims that are multiples of this; others fall back. [1]"""

LARGEST_SPLIT = 16.0
"""Most parts that libraries cut the keys of an item into. [1]"""

CACHE_SPEED_UP = 4.0
"""Bandwidth of the last-level cache over that of the memory. [1]"""

CACHE_EXPONENT = 3.0
"""How sharply traffic goes to memory once it exceeds the cache. [1]"""

ITEM_JOIN_EXPONENT = 8.0
"""Smooth maximum between all items over all units and the longest item. [1]"""

MEMORY_JOIN_EXPONENT = 4.0
"""Smooth maximum between the schedule and memory traffic. [1]"""

DROOP_TIME_S = 5e-3
"""Kernel time at which half of the droop is reached. [s]"""

NEVER_S = 1.0e30
"""Longer than any kernel: start of a search for the shortest. [s]"""


class AttentionMachine(NamedTuple):
    """What the attention model knows of a device and an implementation."""

    n_units: float
    clock_hz: float
    """Clock of the compute units. [Hz]"""
    peak_flop_per_s: float
    """Dense peak of the dtype at that clock. [flop/s]"""
    memory_bandwidth_bytes_per_s: float
    cache_bytes: float
    """Traffic that the last-level cache holds between calls. [byte]"""
    matrix_efficiency_fraction: float
    memory_efficiency_fraction: float
    exponentials_per_clock_per_unit: float
    join_exponent: float
    block_latency_s: float
    item_latency_s: float
    """Start and end of a work item. [s]"""
    item_latency_fixed_fraction: float
    """Share of that latency which does not grow with the block of queries. [1]"""
    diagonal_blocks: float
    wave_smoothing_fraction: float
    lone_item_ratio: float
    """Step time of an item alone on its unit over its share of the device's rate. [1]"""
    split_s: float
    """Fixed cost of splitting keys over units. [s]"""
    query_block: float
    """Rows of the largest block of queries. [1]"""
    narrow_query_block: float
    """The same for heads of at most 96. [1]"""
    least_query_block: float
    """Rows of the smallest block. [1]"""
    group_packing_fraction: float
    """How far the heads of a group share blocks of queries. [1]"""
    token_packing_fraction: float
    """The same for a single query token. [1]"""
    head_96_over_64_ratio: float
    head_128_over_96_ratio: float
    head_192_over_128_ratio: float
    head_256_over_192_ratio: float
    head_512_over_256_ratio: float
    unaligned_head_ratio: float
    """Cost of a head dim that is no multiple of 16 over that of the next one. [1]"""
    launch_s: float
    traffic_factor: float
    side_query_ratio: float
    """Traffic around the kernel over that of Q and O. [1]"""
    side_key_ratio: float
    """Traffic around the kernel over that of K and V. [1]"""
    droop_fraction: float
    backward_matrix_efficiency_fraction: float
    backward_latency_ratio: float
    """Dependent stages of a backward step over those of a forward one. [1]"""
    backward_side_ratio: float
    """Traffic before and after the backward kernel over that of Q and O. [1]"""
    backward_launch_s: float
    key_block: float = 128.0
    """Keys that one step visits. [1]"""
    least_head_dim: float = 64.0
    """Heads narrower than this cost as much. [1]"""


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
    side_s: float
    """Traffic of the library around the kernel. [s]"""
    launch_s: float
    block_s: float
    """One step over a key block. [s]"""
    query_block: float
    n_splits: float
    """Parts that the keys of an item are cut into. [1]"""


class _Pass(NamedTuple):
    """What tells the backward pass from the forward one."""

    products: float
    """Matrix products per pair of blocks. [1]"""
    efficiency_fraction: float
    latency_ratio: float
    packing_fraction: float
    largest_split: float
    traffic_ratio: float
    side_query_ratio: float
    side_key_ratio: float
    launch_s: float


class _Schedule(NamedTuple):
    """One way to run all items."""

    busy_s: float
    all_items_s: float
    longest_item_s: float
    block_s: float
    query_block: float
    n_splits: float


def attention_flop(shape: AttentionShape, products: float) -> float:
    """Floating-point work of the matrix products that the mask leaves. [flop]"""
    pairs = shape.batch * shape.n_heads * shape.query_len * shape.key_len * shape.visible_fraction
    return 2.0 * products * pairs * shape.head_dim


def _head_cost(head_dim: float, machine: AttentionMachine) -> float:
    """Head dim whose products at the reference rate cost as much as this one's.

    Kernels exist for a few widths; others are padded to the next. The chain of ratios above one
    keeps a wider head from being faster.
    """
    cost = REFERENCE_HEAD_DIM
    if head_dim <= 96.0:
        cost /= machine.head_128_over_96_ratio
    if head_dim <= 64.0:
        cost *= max(head_dim, machine.least_head_dim) / 64.0 / machine.head_96_over_64_ratio
    if head_dim > 128.0:
        cost *= machine.head_192_over_128_ratio
    if head_dim > 192.0:
        cost *= machine.head_256_over_192_ratio
    if head_dim > 256.0:
        cost *= machine.head_512_over_256_ratio
    if head_dim > 512.0:
        cost *= head_dim / 512.0
    if head_dim % HEAD_ALIGNMENT > 0.0:
        cost *= machine.unaligned_head_ratio
    return cost


def attention_roof_s(
    shape: AttentionShape, machine: AttentionMachine, *, is_forward: bool
) -> float:
    """Time that no fused call falls below: matrix products, or exponentials, of what is visible.

    Inverse to the clock, since both are.

    Parameters
    ----------
    shape, machine
        As of `attention_forward_time` and `attention_backward_time`.
    is_forward
        Which of the two.

    Returns
    -------
    float
        Every unit busy all the time, without latencies, launches and traffic. [s]
    """
    products = FORWARD_PRODUCTS if is_forward else BACKWARD_PRODUCTS
    efficiency_fraction = machine.backward_matrix_efficiency_fraction
    if is_forward:
        efficiency_fraction = machine.matrix_efficiency_fraction
    pairs = shape.batch * shape.n_heads * shape.query_len * shape.key_len * shape.visible_fraction
    flop = 2.0 * products * pairs * _head_cost(shape.head_dim, machine)
    units_hz = machine.n_units * machine.clock_hz
    exponential_s = pairs / (machine.exponentials_per_clock_per_unit * units_hz)
    return max(flop / (efficiency_fraction * machine.peak_flop_per_s), exponential_s)


def _query_bytes(shape: AttentionShape) -> float:
    """Q and O once. [byte]"""
    return (
        2.0 * shape.batch * shape.n_heads * shape.query_len * shape.head_dim * shape.element_bytes
    )


def _key_bytes(shape: AttentionShape) -> float:
    """K and V once. [byte]"""
    return (
        2.0 * shape.batch * shape.n_kv_heads * shape.key_len * shape.head_dim * shape.element_bytes
    )


def cached_traffic_time_s(
    traffic_bytes: float,
    *,
    working_set_bytes: float,
    cache_bytes: float,
    bandwidth_bytes_per_s: float,
) -> float:
    """Time of traffic that finds its working set in the cache as far as it fits.

    Parameters
    ----------
    traffic_bytes
        Bytes read and written. [byte]
    working_set_bytes
        Distinct bytes between two uses. [byte]
    cache_bytes
        What the cache keeps. [byte]
    bandwidth_bytes_per_s
        Sustained bandwidth of the memory. [byte/s]

    Returns
    -------
    float
        Time at the bandwidth of the memory or up to four times that. [s]
    """
    missing = 1.0
    if cache_bytes > 0.0:
        missing = 1.0 / (1.0 + (cache_bytes / max(working_set_bytes, 1.0)) ** CACHE_EXPONENT)
    share = missing + (1.0 - missing) / CACHE_SPEED_UP
    return traffic_bytes * share / bandwidth_bytes_per_s


def _block_times_s(
    machine: AttentionMachine, way: _Pass, *, query_block: float, head_cost: float
) -> tuple[float, float]:
    """One step over a key block: among other items on the unit, and alone. [s]"""
    pairs = query_block * machine.key_block
    rate = way.efficiency_fraction * machine.peak_flop_per_s / machine.n_units
    matrix_s = 2.0 * way.products * pairs * head_cost / rate
    exponential_s = pairs / (machine.exponentials_per_clock_per_unit * machine.clock_hz)
    joined_s = power_mean_join(matrix_s, exponential_s, machine.join_exponent)
    latency_s = machine.block_latency_s * way.latency_ratio
    return joined_s + latency_s, joined_s * machine.lone_item_ratio + latency_s


def _n_items(shape: AttentionShape, way: _Pass, query_block: float) -> float:
    """Blocks of queries, with the heads of a group side by side as far as they are packed. [1]"""
    group = shape.n_heads / shape.n_kv_heads
    apart = shape.n_heads * -(-shape.query_len // query_block)
    packed = shape.n_kv_heads * -(-(shape.query_len * group) // query_block)
    return shape.batch * (apart + way.packing_fraction * (packed - apart))


def _mean_blocks(shape: AttentionShape, machine: AttentionMachine) -> float:
    """Key blocks that an item visits on average; a mask's edge cuts through some of them. [1]"""
    blocks = shape.key_len / machine.key_block
    visible = blocks * shape.visible_fraction
    if shape.visible_fraction < 1.0:
        visible = min(blocks, visible + machine.diagonal_blocks)
    return max(visible, 1.0)


def _schedule(
    shape: AttentionShape,
    machine: AttentionMachine,
    way: _Pass,
    *,
    query_block: float,
    head_cost: float,
) -> _Schedule:
    """The best split of keys for one block of queries."""
    block_s, lone_block_s = _block_times_s(
        machine, way, query_block=query_block, head_cost=head_cost
    )
    fixed = machine.item_latency_fixed_fraction
    item_share = fixed + (1.0 - fixed) * query_block / FULL_QUERY_BLOCK
    item_s = machine.item_latency_s * way.latency_ratio * item_share
    items = _n_items(shape, way, query_block)
    mean_blocks = _mean_blocks(shape, machine)
    most_blocks = max(shape.key_len / machine.key_block, 1.0)
    best = _Schedule(NEVER_S, 0.0, 0.0, block_s, query_block, 1.0)
    n_splits = 1.0
    while n_splits <= way.largest_split:
        waves = smooth_waves(items * n_splits / machine.n_units, machine.wave_smoothing_fraction)
        all_s = waves * (max(mean_blocks / n_splits, 1.0) * block_s + item_s)
        longest_s = max(most_blocks / n_splits, 1.0) * lone_block_s + item_s
        # The smooth maximum is at least the hard one: most splits end here.
        if max(all_s, longest_s) < best.busy_s:
            busy_s = power_mean_join(all_s, longest_s, ITEM_JOIN_EXPONENT)
            if n_splits > 1.0:
                busy_s += machine.split_s
            if busy_s < best.busy_s:
                best = _Schedule(busy_s, all_s, longest_s, block_s, query_block, n_splits)
        if n_splits >= most_blocks:
            break
        n_splits *= 2.0
    return best


def _best_schedule(shape: AttentionShape, machine: AttentionMachine, way: _Pass) -> _Schedule:
    """The best block of queries: the largest of the implementation, halved down to its smallest."""
    is_narrow = shape.head_dim <= NARROW_HEAD_DIM
    query_block = machine.narrow_query_block if is_narrow else machine.query_block
    head_cost = _head_cost(shape.head_dim, machine)
    best = _schedule(shape, machine, way, query_block=query_block, head_cost=head_cost)
    while 0.5 * query_block >= machine.least_query_block:
        query_block *= 0.5
        one = _schedule(shape, machine, way, query_block=query_block, head_cost=head_cost)
        if one.busy_s < best.busy_s:
            best = one
    return best


def _attention_time(shape: AttentionShape, machine: AttentionMachine, way: _Pass) -> AttentionTime:
    query_bytes, key_bytes = _query_bytes(shape), _key_bytes(shape)
    working_set_bytes = query_bytes + key_bytes
    byte_s = cached_traffic_time_s(
        1.0,
        working_set_bytes=working_set_bytes,
        cache_bytes=machine.cache_bytes,
        bandwidth_bytes_per_s=machine.memory_efficiency_fraction
        * machine.memory_bandwidth_bytes_per_s,
    )
    memory_s = working_set_bytes * machine.traffic_factor * way.traffic_ratio * byte_s
    side_s = (way.side_query_ratio * query_bytes + way.side_key_ratio * key_bytes) * byte_s
    best = _best_schedule(shape, machine, way)
    kernel_s = power_mean_join(best.busy_s, memory_s, MEMORY_JOIN_EXPONENT)
    kernel_s *= 1.0 + machine.droop_fraction * kernel_s / (kernel_s + DROOP_TIME_S)
    return AttentionTime(
        time_s=kernel_s + side_s + way.launch_s,
        schedule_s=best.all_items_s,
        longest_item_s=best.longest_item_s,
        memory_s=memory_s,
        side_s=side_s,
        launch_s=way.launch_s,
        block_s=best.block_s,
        query_block=best.query_block,
        n_splits=best.n_splits,
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
        Best block of queries and split of keys; time_s includes the launch. [s]

    Notes
    -----
    More batch, heads, tokens or head dim are never faster, with one exception that the
    measurements show: a head dim that is no multiple of 16 may cost more than the next multiple.
    """
    packing = machine.group_packing_fraction
    if shape.query_len <= 1.0:
        packing = max(packing, machine.token_packing_fraction)
    way = _Pass(
        products=FORWARD_PRODUCTS,
        efficiency_fraction=machine.matrix_efficiency_fraction,
        latency_ratio=1.0,
        packing_fraction=packing,
        largest_split=LARGEST_SPLIT,
        traffic_ratio=1.0,
        side_query_ratio=machine.side_query_ratio,
        side_key_ratio=machine.side_key_ratio,
        launch_s=machine.launch_s,
    )
    return _attention_time(shape, machine, way)


def attention_backward_time(shape: AttentionShape, machine: AttentionMachine) -> AttentionTime:
    """Time of one fused backward call: five products for the forward's two.

    A pre-pass reads O and dO, and dQ is cleared, collected in fp32 and converted: up to 3.5 times
    the traffic of Q and O, which adds to the time, and launches.
    Items are blocks of keys that walk over queries, so nothing is split or packed.

    Returns
    -------
    AttentionTime
        Best block; time_s includes the launches. [s]
    """
    way = _Pass(
        products=BACKWARD_PRODUCTS,
        efficiency_fraction=machine.backward_matrix_efficiency_fraction,
        latency_ratio=machine.backward_latency_ratio,
        packing_fraction=0.0,
        largest_split=1.0,
        traffic_ratio=BACKWARD_TRAFFIC_RATIO,
        side_query_ratio=machine.backward_side_ratio,
        side_key_ratio=0.0,
        launch_s=machine.backward_launch_s,
    )
    return _attention_time(shape, machine, way)
