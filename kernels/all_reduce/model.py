"""Performance model of collectives inside a node, and the door to those across nodes.

S is the message as nccl-tests counts it: the reduced buffer of an all-reduce, the gathered
buffer of an all-gather, the scattered one of a reduce-scatter, what one rank sends in all-to-all.
Inside a node the transfer is S (f + c/p) / B, with f the wire factor of the operation and c/p
the copy of each rank's own shard; it is joined with the latency by the law of a chunked
pipeline, (a^q + t^q)^(1/q) with q below 1, because a plain sum cannot follow the slow rise of
bandwidth from 1 MiB to 256 MiB. Small messages take a low-latency protocol instead.
Kernels of our own that read peers' memory are modelled in `kernels.all_reduce.peer_model`.

References
----------
nccl-tests, doc/PERFORMANCE.md (wire factors and bus bandwidth).
R. Thakur, R. Rabenseifner, W. Gropp, IJHPCA 19(1), 2005 (ring and tree costs).
"""

from __future__ import annotations

from kernels.all_reduce.groups import (
    PATTERNS,
    CollectiveGroup,
    CollectiveMachine,
    CollectivePattern,
    NetworkMachine,
    sustained_link_bytes_per_s,
    wire_factor,
)
from kernels.all_reduce.network import network_time_s
from kernels.all_reduce.peer_model import (
    PeerLimits,
    PeerMachine,
    one_shot_time_s,
    peer_limits,
    two_shot_time_s,
)
from kernels.smooth import power_mean_join, smooth_minimum

__all__ = [
    "PATTERNS",
    "CollectiveGroup",
    "CollectiveMachine",
    "CollectivePattern",
    "NetworkMachine",
    "PeerLimits",
    "PeerMachine",
    "collective_time_s",
    "in_node_time_s",
    "one_shot_time_s",
    "peer_limits",
    "point_to_point_time_s",
    "two_shot_time_s",
    "wire_factor",
]

PROTOCOL_JOIN_EXPONENT = 6.0
"""Exponent of the smooth minimum of the two protocols. [1]"""


def in_node_time_s(
    message_bytes: float,
    pattern: CollectivePattern,
    machine: CollectiveMachine,
    group: CollectiveGroup,
) -> float:
    """Time of a collective among the ranks of one node.

    Parameters
    ----------
    message_bytes
        Message as nccl-tests counts it, above 0. [byte]
    pattern
        What the operation moves.
    machine
        Fitted parameters of the operation inside a node.
    group
        Ranks and wires; only those inside the node count.

    Returns
    -------
    float
        Smooth minimum of the bandwidth protocol and the low-latency protocol. [s]
    """
    ranks = group.n_ranks_per_node
    factor = wire_factor(ranks, pattern)
    bandwidth = sustained_link_bytes_per_s(machine, group)
    transfer_s = message_bytes * (factor + machine.local_copy_fraction / ranks) / bandwidth
    latency_s = machine.latency_s + machine.latency_per_rank_s * (ranks - 2.0)
    high_s = power_mean_join(latency_s, transfer_s, machine.pipeline_exponent)
    low_s = latency_s * machine.low_latency_fraction + transfer_s * (
        1.0 + machine.low_latency_slowdown
    )
    return smooth_minimum(high_s, low_s, PROTOCOL_JOIN_EXPONENT)


def collective_time_s(
    message_bytes: float,
    pattern: CollectivePattern,
    machine: CollectiveMachine,
    group: CollectiveGroup,
) -> float:
    """Time until the last rank holds its result.

    Inside one node the fitted curve applies; across nodes that of `network_time_s`.

    Parameters
    ----------
    message_bytes
        Message as nccl-tests counts it. [byte]
    pattern
        What the operation moves: an entry of `PATTERNS`.
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
    if group.n_ranks <= group.n_ranks_per_node:
        return in_node_time_s(message_bytes, pattern, machine, group)
    return network_time_s(message_bytes, pattern, machine, group)


def point_to_point_time_s(
    message_bytes: float, *, bandwidth_bytes_per_s: float, latency_s: float
) -> float:
    """Time of one send between two devices: latency plus bytes over bandwidth. [s]"""
    if message_bytes <= 0.0:
        return 0.0
    return latency_s + message_bytes / bandwidth_bytes_per_s
