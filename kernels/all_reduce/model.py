"""Performance model of collectives inside a node and across nodes.

S is the message as nccl-tests counts it: the reduced buffer of an all-reduce, the gathered
buffer of an all-gather, the scattered one of a reduce-scatter, what one rank sends in all-to-all.
Inside a node the transfer is S (f + c/p) / B, with f the wire factor of the operation and c/p
the copy of each rank's own shard; it is joined with the latency by the law of a chunked
pipeline, (a^q + t^q)^(1/q) with q below 1, because a plain sum cannot follow the slow rise of
bandwidth from 1 MiB to 256 MiB. Small messages take a low-latency protocol instead.

References
----------
nccl-tests, doc/PERFORMANCE.md (wire factors and bus bandwidth).
R. Thakur, R. Rabenseifner, W. Gropp, IJHPCA 19(1), 2005 (ring and tree costs).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from kernels.smooth import power_mean_join

__all__ = [
    "CollectiveGroup",
    "CollectiveMachine",
    "collective_time_s",
    "point_to_point_time_s",
    "wire_factor",
]

PROTOCOL_JOIN_EXPONENT = -6.0
"""Negative exponent: a smooth minimum of the two protocols. [1]"""

IN_SWITCH_MINIMUM_RANKS = 8.0
"""In-switch reduction pays from eight ranks on. [1]"""


class CollectiveMachine(NamedTuple):
    """What the model knows of one operation inside a node."""

    bandwidth_efficiency_fraction: float
    latency_s: float
    latency_per_rank_s: float
    local_copy_fraction: float
    pipeline_exponent: float
    low_latency_fraction: float
    low_latency_slowdown: float
    in_switch_gain: float


class CollectiveGroup(NamedTuple):
    """The ranks that take part and the wires between them."""

    n_ranks: float
    n_ranks_per_node: float
    """Ranks of this group on one node. [1]"""
    link_bandwidth_bytes_per_s: float
    """One-way bandwidth of one rank to its peers in the node, for this group size. [byte/s]"""
    network_bandwidth_bytes_per_s: float
    """One-way line rate of the network cards this group may use on one node. [byte/s]"""
    network_efficiency_fraction: float
    network_latency_s: float
    network_latency_per_doubling_s: float


def wire_factor(n_ranks: float, is_all_reduce: bool) -> float:
    """Bytes that cross one rank's wire over the message: 2(p-1)/p or (p-1)/p. [1]"""
    share = (n_ranks - 1.0) / n_ranks
    return 2.0 * share if is_all_reduce else share


def _in_node_time_s(
    message_bytes: float, factor: float, machine: CollectiveMachine, group: CollectiveGroup
) -> float:
    ranks = group.n_ranks_per_node
    bandwidth = machine.bandwidth_efficiency_fraction * group.link_bandwidth_bytes_per_s
    if ranks >= IN_SWITCH_MINIMUM_RANKS:
        bandwidth *= machine.in_switch_gain
    transfer_s = message_bytes * (factor + machine.local_copy_fraction / ranks) / bandwidth
    latency_s = machine.latency_s + machine.latency_per_rank_s * (ranks - 2.0)
    high_s = power_mean_join(latency_s, transfer_s, machine.pipeline_exponent)
    low_s = latency_s * machine.low_latency_fraction + transfer_s * (
        1.0 + machine.low_latency_slowdown
    )
    # Smooth minimum of two positive times.
    ratio = min(high_s, low_s) / max(high_s, low_s)
    return float(
        min(high_s, low_s)
        * (1.0 + ratio**-PROTOCOL_JOIN_EXPONENT) ** (1.0 / PROTOCOL_JOIN_EXPONENT)
    )


def _network_time_s(
    message_bytes: float, factor: float, machine: CollectiveMachine, group: CollectiveGroup
) -> float:
    n_nodes = group.n_ranks / group.n_ranks_per_node
    bandwidth = group.network_bandwidth_bytes_per_s * group.network_efficiency_fraction
    if group.n_ranks_per_node > 1.0:
        inside = machine.bandwidth_efficiency_fraction * group.link_bandwidth_bytes_per_s
        bandwidth = min(bandwidth, inside)
    latency_s = group.network_latency_s + group.network_latency_per_doubling_s * math.log2(n_nodes)
    return power_mean_join(latency_s, message_bytes * factor / bandwidth, machine.pipeline_exponent)


def collective_time_s(
    message_bytes: float, is_all_reduce: bool, machine: CollectiveMachine, group: CollectiveGroup
) -> float:
    """Time until the last rank holds its result.

    Inside one node the fitted curve applies. Across nodes a ring or tree crosses each node once
    per network card of the group, so the slower of links and cards carries the whole message;
    start-up is the fabric's, growing with the logarithm of the nodes.

    Parameters
    ----------
    message_bytes
        Message as nccl-tests counts it. [byte]
    is_all_reduce
        All-reduce moves every byte twice; gathers, scatters and all-to-all once.
    machine
        Fitted parameters of the operation inside a node.
    group
        Ranks and wires.

    Returns
    -------
    float
        Time of the collective; 0 for one rank or an empty message. [s]
    """
    if group.n_ranks <= 1.0 or message_bytes <= 0.0:
        return 0.0
    factor = wire_factor(group.n_ranks, is_all_reduce)
    if group.n_ranks <= group.n_ranks_per_node:
        return _in_node_time_s(message_bytes, factor, machine, group)
    return _network_time_s(message_bytes, factor, machine, group)


def point_to_point_time_s(
    message_bytes: float, *, bandwidth_bytes_per_s: float, latency_s: float
) -> float:
    """Time of one send between two devices: latency plus bytes over bandwidth. [s]"""
    if message_bytes <= 0.0:
        return 0.0
    return latency_s + message_bytes / bandwidth_bytes_per_s
