"""Nodes, fabrics, clusters and sites: how accelerators are put together and where they stand."""

from __future__ import annotations

from typing import Literal

import msgspec

from hardware_profiles.accelerator import Accelerator, Source

__all__ = [
    "Cluster",
    "Fabric",
    "IntraNode",
    "Machine",
    "Network",
    "Node",
    "NodePower",
    "Partition",
    "Site",
]


class IntraNode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the devices of a node reach each other."""

    topology: Literal["switch", "mesh", "none"]
    """switch: full bandwidth between any two; mesh: one fixed link per pair; none: one device."""
    domain_n_devices: int | None = None
    """Devices in one link domain when it spans nodes, such as 72 in an NVL72 rack. [1]"""
    has_in_switch_reduction: bool = False
    """Whether the switch adds up all-reduces itself."""
    peer_bandwidth_bytes_per_s: float | None = None
    """Between two devices of this node, where its board wires them otherwise than the accelerator's
    profile says; a machine's accelerator carries it. [byte/s]"""
    paired_bandwidth_bytes_per_s: float | None = None
    """Between the two dies of one module, where that differs from other pairs. [byte/s]"""


class Network(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The node's doors to the fabric."""

    n_nics: int
    nic_bandwidth_bytes_per_s: float
    """Line rate of one network card, one direction. [byte/s]"""


class NodePower(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Power of everything in a node that is not an accelerator, by part."""

    n_cpus: int
    cpu_idle_w: float
    """One processor, idle. [W]"""
    cpu_training_w: float
    """One processor while it feeds accelerators. [W]"""
    memory_w: float
    nic_w: float
    """One network card. [W]"""
    switch_w: float
    """All link switches in the node. [W]"""
    storage_w: float
    fan_fraction: float
    """Fan and pump power over the power of all other parts, under load. [1]"""
    supply_efficiency_fraction: float
    """Power behind the supplies over power at the inlet. [1]"""


class Node(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server: some devices, their links, processors and network cards."""

    schema_version: int
    kind: Literal["node"]
    name: str
    title: str
    accelerator: str
    n_devices: int
    intra_node: IntraNode
    network: Network
    power: NodePower
    host_memory_bytes: float | None = None
    aliases: tuple[str, ...] = ()
    sources: tuple[Source, ...]


class Fabric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network between nodes."""

    name: str
    topology: Literal["fat-tree", "dragonfly", "rail-optimized", "none"]
    oversubscription: float
    """Injection bandwidth over bisection bandwidth; 1 is non-blocking. [1]"""
    group_n_nodes: int | None = None
    """Nodes below one leaf or in one group, where traffic is not oversubscribed. [1]"""
    bandwidth_efficiency_fraction: float
    """Share of the line rate that large collectives reach in a ring. [1]"""
    tree_efficiency_fraction: float = 0.75
    """Share of the line rate that a large all-reduce reaches in a tree. [1]"""
    latency_s: float
    """Start-up of one collective between two nodes. [s]"""
    latency_per_node_s: float
    """Start-up added by each doubling of nodes. [s]"""
    latency_per_hop_s: float = 12e-6
    """Time added by each further node of a ring, both passes of an all-reduce together. [s]"""
    chunk_ratio: float = 2.0
    """Filling of a tree's pipeline per level, over the best chunk of a single hop. [1]"""
    decline_exponent: float = 1e-3
    """Bandwidth falls with the number of nodes to the power of minus this. [1]"""
    switch_power_per_nic_w: float
    """Power of the network's switches, shared among the network cards. [W]"""


class Partition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a cluster with nodes of one kind; without `n_nodes`, a template of any size."""

    name: str
    node: str
    n_nodes: int | None = None


class Cluster(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One or more partitions on one fabric at one site."""

    schema_version: int
    kind: Literal["cluster"]
    name: str
    title: str
    status: Literal["operating", "proposal", "template", "announced"]
    site: str
    partitions: tuple[Partition, ...]
    fabric: Fabric
    aliases: tuple[str, ...] = ()
    sources: tuple[Source, ...]


class Site(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a cluster stands; a constant PUE until the site model knows weather."""

    schema_version: int
    kind: Literal["site"]
    name: str
    title: str
    country: str
    pue: float
    aliases: tuple[str, ...] = ()
    sources: tuple[Source, ...]


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """One partition of a cluster with every reference resolved: what a prediction runs on."""

    cluster: Cluster
    partition: Partition
    node: Node
    accelerator: Accelerator
    site: Site
    profile_hashes: dict[str, str]
    """SHA-256 of each file used, by ``kind/name``; overrides count. [hex]"""
    overridden_keys: tuple[str, ...] = ()
    """Dotted keys that the user set for once, such as ``accelerator.memory.capacity_bytes``."""
