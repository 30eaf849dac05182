"""Performance model of collectives across nodes: a ring or a tree, whichever is faster.

A ring passes every byte through every node: 2(p-1)/p of the message per network door, and one hop
for each node. A tree moves 2(n-1)/n of it, since a node adds up its ranks before it sends; with two
nodes that is half of what a ring moves. Its depth is the logarithm of the nodes, but its pipeline
is cut into chunks that suit one hop and not the depth. With a chunk time of sqrt(l T), l the
latency of a level and T the transfer, d levels cost d (l + sqrt(l T)) before the last byte is
through; `chunk_ratio` scales the second part.

References
----------
P. Sanders, J. Speck, J. L. Traff, Parallel Computing 35, 2009 (two trees).
S. Jeaugey, "Massively scale your deep learning training with NCCL 2.4", 2019.
"""

from __future__ import annotations

import math

from kernels.all_reduce.groups import (
    CollectiveGroup,
    CollectiveMachine,
    CollectivePattern,
    NetworkMachine,
    sustained_link_bytes_per_s,
    wire_factor,
)
from kernels.smooth import power_mean_join, smooth_minimum

__all__ = ["network_time_s"]

ALGORITHM_JOIN_EXPONENT = 6.0
"""Exponent of the smooth minimum of ring and tree. [1]"""

STAGE_JOIN_EXPONENT = 4.0
"""Links and network cards work at once: the slower one counts, with some loss near parity. [1]"""

RING_CHUNK_RATIO = 0.5
"""Filling of a ring's pipeline over sqrt(hops x transfer): a ring is cut finer than a tree. [1]"""

PASSES_OF_ALL_REDUCE = 2.0


def _inside_s(
    message_bytes: float,
    factor: float,
    machine: CollectiveMachine,
    group: CollectiveGroup,
) -> float:
    if group.n_ranks_per_node <= 1.0:
        return 0.0
    return message_bytes * factor / sustained_link_bytes_per_s(machine, group)


def _ring_s(
    message_bytes: float,
    pattern: CollectivePattern,
    machine: CollectiveMachine,
    group: CollectiveGroup,
    door_bytes_per_s: float,
) -> float:
    network = group.network
    n_nodes = group.n_ranks / group.n_ranks_per_node
    factor = wire_factor(group.n_ranks, pattern)
    outside_s = message_bytes * factor / (network.ring_efficiency_fraction * door_bytes_per_s)
    inside_s = _inside_s(message_bytes, factor, machine, group)
    transfer_s = power_mean_join(outside_s, inside_s, STAGE_JOIN_EXPONENT)
    share = pattern.n_passes / PASSES_OF_ALL_REDUCE
    hops_s = share * network.latency_per_hop_s * (n_nodes - 1.0)
    filling_s = RING_CHUNK_RATIO * math.sqrt(hops_s * transfer_s)
    return network.latency_s + hops_s + transfer_s + filling_s


def _tree_s(
    message_bytes: float,
    pattern: CollectivePattern,
    machine: CollectiveMachine,
    group: CollectiveGroup,
    door_bytes_per_s: float,
) -> float:
    network = group.network
    n_nodes = group.n_ranks / group.n_ranks_per_node
    depth = math.log2(n_nodes)
    outside_s = message_bytes * wire_factor(n_nodes, pattern)
    outside_s /= network.tree_efficiency_fraction * door_bytes_per_s
    factor = wire_factor(group.n_ranks_per_node, pattern)
    inside_s = _inside_s(message_bytes, factor, machine, group)
    transfer_s = power_mean_join(outside_s, inside_s, STAGE_JOIN_EXPONENT)
    level_s = network.latency_per_doubling_s
    filling_s = network.chunk_ratio * depth * math.sqrt(level_s * transfer_s)
    return network.latency_s + level_s * (depth - 1.0) + transfer_s + filling_s


def _exchange_s(
    message_bytes: float,
    pattern: CollectivePattern,
    machine: CollectiveMachine,
    group: CollectiveGroup,
    door_bytes_per_s: float,
) -> float:
    """All-to-all: every rank sends its part for the other nodes through the node's door."""
    network = group.network
    on_node = group.n_ranks_per_node
    outside_share = pattern.n_passes * (group.n_ranks - on_node) / group.n_ranks
    outside_bytes = message_bytes * on_node * outside_share
    outside_s = outside_bytes / (network.ring_efficiency_fraction * door_bytes_per_s)
    inside_s = _inside_s(message_bytes, (on_node - 1.0) / group.n_ranks, machine, group)
    transfer_s = power_mean_join(outside_s, inside_s, STAGE_JOIN_EXPONENT)
    depth = math.log2(group.n_ranks / on_node)
    latency_s = network.latency_s + network.latency_per_doubling_s * (depth - 1.0)
    return power_mean_join(latency_s, transfer_s, machine.pipeline_exponent)


def network_time_s(
    message_bytes: float,
    pattern: CollectivePattern,
    machine: CollectiveMachine,
    group: CollectiveGroup,
) -> float:
    """Time of a collective over two nodes or more.

    Parameters
    ----------
    message_bytes
        Message as nccl-tests counts it, above 0. [byte]
    pattern
        What the operation moves.
    machine
        Fitted parameters of the operation inside a node.
    group
        Ranks and wires; as many ranks on each node.

    Returns
    -------
    float
        All-reduce: the faster of ring and tree. Gathers and scatters: a ring. All-to-all: what
        each node sends to the others. [s]
    """
    n_nodes = group.n_ranks / group.n_ranks_per_node
    network = group.network
    door = group.network_bandwidth_bytes_per_s * _decline(n_nodes, network)
    if pattern.exchanges > 0.0:
        return _exchange_s(message_bytes, pattern, machine, group, door)
    ring_s = _ring_s(message_bytes, pattern, machine, group, door)
    if pattern.n_passes < PASSES_OF_ALL_REDUCE:
        return ring_s
    tree_s = _tree_s(message_bytes, pattern, machine, group, door)
    return smooth_minimum(ring_s, tree_s, ALGORITHM_JOIN_EXPONENT)


def _decline(n_nodes: float, network: NetworkMachine) -> float:
    """Share of the bandwidth left where many nodes share a fabric; 1 on two nodes. [1]"""
    return float((0.5 * n_nodes) ** -network.decline_exponent)
