"""Performance model of attention of one query token against a cache of keys and values.

All that counts is how fast the cache is read: by all units together at the memory's bandwidth, by
one unit no faster than a multiple of its share. Long caches are cut into parts so that more units
read; a part has a least length. Groups of query heads share one reading.

References
----------
T. Dao et al., Flash-Decoding for long-context inference, 2023 (split of the keys).
"""

from __future__ import annotations

from typing import NamedTuple

from kernels.attention.model import AttentionShape, cached_traffic_time_s
from kernels.smooth import power_mean_join

__all__ = ["DecodeMachine", "DecodeTime", "attention_decode_time"]

JOIN_EXPONENT = 4.0
"""Smooth maximum of memory, units and arithmetic. [1]"""

DECODE_PRODUCTS_FLOP = 4.0
"""Two products of one multiply-add each per query head, key and element. [flop]"""


class DecodeMachine(NamedTuple):
    """What the model of decoding knows of a device and an implementation."""

    n_units: float
    peak_flop_per_s: float
    memory_bandwidth_bytes_per_s: float
    cache_bytes: float
    memory_efficiency_fraction: float
    unit_bandwidth_ratio: float
    """What one unit reads over its share of the memory bandwidth. [1]"""
    part_tokens: float
    """Keys of the shortest part that a cache is cut into. [1]"""
    matrix_efficiency_fraction: float
    item_latency_s: float
    """Work around one part, on its unit. [s]"""
    launch_s: float


class DecodeTime(NamedTuple):
    """Predicted time and the limits behind it."""

    time_s: float
    memory_s: float
    units_s: float
    """Reading by the units that have a part. [s]"""
    arithmetic_s: float
    item_s: float
    launch_s: float


def attention_decode_time(shape: AttentionShape, machine: DecodeMachine) -> DecodeTime:
    """Time of one call that decodes one token of each sequence.

    Parameters
    ----------
    shape
        batch, heads, key_len (length of the caches) [1] and element width [byte]; the query is
        one token, whatever query_len says.
    machine
        Device figures and fitted parameters of the implementation.

    Returns
    -------
    DecodeTime
        time_s includes the launch. [s]
    """
    heads = shape.batch * shape.n_kv_heads
    cache_bytes = 2.0 * heads * shape.key_len * shape.head_dim * shape.element_bytes
    memory_s = cached_traffic_time_s(
        cache_bytes,
        working_set_bytes=cache_bytes,
        cache_bytes=machine.cache_bytes,
        bandwidth_bytes_per_s=machine.memory_efficiency_fraction
        * machine.memory_bandwidth_bytes_per_s,
    )
    parts = heads * max(shape.key_len / machine.part_tokens, 1.0)
    readers = min(parts, machine.n_units)
    unit_bytes_per_s = (
        machine.unit_bandwidth_ratio * machine.memory_bandwidth_bytes_per_s / machine.n_units
    )
    units_s = cache_bytes / (readers * unit_bytes_per_s)
    flop = DECODE_PRODUCTS_FLOP * shape.batch * shape.n_heads * shape.key_len * shape.head_dim
    arithmetic_s = flop / (machine.matrix_efficiency_fraction * machine.peak_flop_per_s)
    item_s = machine.item_latency_s * max(heads / machine.n_units, 1.0)
    reading_s = power_mean_join(memory_s, units_s, JOIN_EXPONENT)
    busy_s = power_mean_join(reading_s, arithmetic_s, JOIN_EXPONENT)
    return DecodeTime(
        time_s=machine.launch_s + item_s + busy_s,
        memory_s=memory_s,
        units_s=units_s,
        arithmetic_s=arithmetic_s,
        item_s=item_s,
        launch_s=machine.launch_s,
    )
