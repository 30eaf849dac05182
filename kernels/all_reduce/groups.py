"""What the models of collectives know: the operation, the device, the ranks and their wires."""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "PATTERNS",
    "CollectiveGroup",
    "CollectiveMachine",
    "CollectivePattern",
    "NetworkMachine",
    "sustained_link_bytes_per_s",
    "wire_factor",
]

IN_SWITCH_MINIMUM_RANKS = 8.0
"""In-switch reduction pays from eight ranks on. [1]"""


class CollectivePattern(NamedTuple):
    """What one operation moves."""

    n_passes: float
    """Times that every byte crosses the wires: 2 for all-reduce, 1 for gathers. [1]"""
    exchanges: float
    """1 where every rank sends different data to every other one, else 0. [1]"""


PATTERNS: dict[str, CollectivePattern] = {
    "all_reduce": CollectivePattern(2.0, 0.0),
    "all_gather": CollectivePattern(1.0, 0.0),
    "reduce_scatter": CollectivePattern(1.0, 0.0),
    "all_to_all": CollectivePattern(1.0, 1.0),
    # Between two ranks the whole message crosses: 2 (p-1)/p is 1 for p = 2.
    "point_to_point": CollectivePattern(2.0, 1.0),
}
"""By operation, as calibration tables name them."""


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


class NetworkMachine(NamedTuple):
    """What the model knows of a network and the software that drives it."""

    ring_efficiency_fraction: float
    """Share of the line rate that a ring reaches. [1]"""
    tree_efficiency_fraction: float
    """Share of the line rate that a tree reaches. [1]"""
    latency_s: float
    """Start-up on two nodes. [s]"""
    latency_per_doubling_s: float
    """Start-up added by each doubling of nodes. [s]"""
    latency_per_hop_s: float
    """Time added by each further node of a ring, for two passes. [s]"""
    chunk_ratio: float
    """Filling of a tree's pipeline per level, over the best chunk of one hop. [1]"""
    decline_exponent: float
    """Bandwidth falls with the number of nodes to the power of minus this. [1]"""


class CollectiveGroup(NamedTuple):
    """The ranks that take part and the wires between them."""

    n_ranks: float
    n_ranks_per_node: float
    """Ranks of this group on one node. [1]"""
    link_bandwidth_bytes_per_s: float
    """One-way bandwidth of one rank to its peers in the node, for this group size. [byte/s]"""
    network_bandwidth_bytes_per_s: float
    """One-way line rate of the network cards this group may use on one node. [byte/s]"""
    network: NetworkMachine


def wire_factor(n_ranks: float, pattern: CollectivePattern) -> float:
    """Bytes that cross one rank's wire over the message: 2(p-1)/p or (p-1)/p. [1]"""
    return pattern.n_passes * (n_ranks - 1.0) / n_ranks


def sustained_link_bytes_per_s(machine: CollectiveMachine, group: CollectiveGroup) -> float:
    """Bandwidth of one rank inside the node, the switch's help counted in. [byte/s]"""
    bandwidth = machine.bandwidth_efficiency_fraction * group.link_bandwidth_bytes_per_s
    if group.n_ranks_per_node >= IN_SWITCH_MINIMUM_RANKS:
        return bandwidth * machine.in_switch_gain
    return bandwidth
