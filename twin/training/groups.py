"""Communicators of a plan: which ranks talk, how many share a node, and over which wires.

Ranks are laid out tensor first, then context, data and pipeline, as the common frameworks do, so
tensor-parallel groups stay inside a node as long as they fit.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kernels.all_reduce.model import (
    PATTERNS,
    CollectiveGroup,
    NetworkMachine,
    collective_time_s,
    point_to_point_time_s,
)
from twin.training.device_model import DeviceModel
from twin.training.job import TrainingJob
from twin.training.plan import Plan

__all__ = ["Communicators", "KnownTimes"]

BROADCAST_CHUNK_BYTES = 2.0**20
"""What NCCL passes on at once: one slice of its buffer of 4 MiB. [byte]"""

KnownTimes = dict[tuple[str, float, int, int], float]
"""Seconds of the collectives of one job: by operation, message [byte], ranks and stride [1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Communicators:
    """Times of the collectives of one plan on one machine."""

    job: TrainingJob
    plan: Plan
    device: DeviceModel
    known: KnownTimes = field(default_factory=dict, compare=False, repr=False)
    """Shared by all plans of the same job on the same device."""

    def _domain_n_devices(self) -> int:
        domain = self.job.machine.node.intra_node.domain_n_devices
        return min(domain or self.job.machine.node.n_devices, self.job.n_devices)

    def ranks_per_node(self, n_ranks: int, stride: int) -> int:
        """Ranks of one group in one link domain, when neighbours are `stride` devices apart. [1]

        Groups that do not tile a domain evenly are counted by the largest even part.
        """
        inside = max(1, self._domain_n_devices() // stride)
        inside = min(inside, n_ranks)
        while n_ranks % inside:
            inside -= 1
        return inside

    def link_bandwidth_bytes_per_s(self, n_ranks: int, stride: int) -> float:
        """One-way bandwidth of a rank to its peers in the node, for a group of that size. [byte/s]

        A switch gives the full rate to any group. A mesh gives one link per peer, so small groups
        are slow; the two dies of one module have a wider one.
        """
        link = self.job.machine.accelerator.link
        if link is None:
            return self._nic_share_bytes_per_s(1)
        intra = self.job.machine.node.intra_node
        if intra.topology == "switch":
            return link.bandwidth_bytes_per_s
        if n_ranks == 2 and stride == 1 and intra.paired_bandwidth_bytes_per_s is not None:
            return intra.paired_bandwidth_bytes_per_s
        return min(link.bandwidth_bytes_per_s, (n_ranks - 1) * link.peer_bandwidth_bytes_per_s)

    def _nic_share_bytes_per_s(self, n_ranks_on_node: int) -> float:
        node = self.job.machine.node
        per_device = node.network.n_nics * node.network.nic_bandwidth_bytes_per_s / node.n_devices
        return per_device * n_ranks_on_node

    def network_bandwidth_bytes_per_s(self, n_ranks_on_node: int, n_nodes: float) -> float:
        """Line rate that a group may use on one node, thinned where the fabric is. [byte/s]

        Each rank brings its share of the node's cards. Beyond one non-blocking part of the
        fabric the share of neighbours outside it is oversubscribed.
        """
        fabric = self.job.machine.cluster.fabric
        share = self._nic_share_bytes_per_s(n_ranks_on_node)
        inside = fabric.group_n_nodes or 0
        if fabric.oversubscription <= 1.0 or n_nodes <= inside:
            return share
        crossing = 1.0 - inside / n_nodes
        return share / (1.0 + (fabric.oversubscription - 1.0) * crossing)

    def group(self, n_ranks: int, stride: int) -> CollectiveGroup:
        """The group of `n_ranks` whose neighbours are `stride` devices apart."""
        inside = self.ranks_per_node(n_ranks, stride)
        n_domains = max(1.0, n_ranks / inside)
        return CollectiveGroup(
            n_ranks=float(n_ranks),
            n_ranks_per_node=float(inside),
            link_bandwidth_bytes_per_s=self.link_bandwidth_bytes_per_s(max(2, inside), stride),
            network_bandwidth_bytes_per_s=self.network_bandwidth_bytes_per_s(inside, n_domains),
            network=self._network_machine(),
        )

    def _network_machine(self) -> NetworkMachine:
        fabric = self.job.machine.cluster.fabric
        return NetworkMachine(
            ring_efficiency_fraction=fabric.bandwidth_efficiency_fraction,
            tree_efficiency_fraction=fabric.tree_efficiency_fraction,
            latency_s=fabric.latency_s,
            latency_per_doubling_s=fabric.latency_per_node_s,
            latency_per_hop_s=fabric.latency_per_hop_s,
            chunk_ratio=fabric.chunk_ratio,
            decline_exponent=fabric.decline_exponent,
        )

    def time_s(self, operation: str, message_bytes: float, *, n_ranks: int, stride: int) -> float:
        """Time of one collective of a group. [s]"""
        if n_ranks <= 1:
            return 0.0
        key = (operation, message_bytes, n_ranks, stride)
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = self._new_time_s(
                operation, message_bytes, n_ranks=n_ranks, stride=stride
            )
        return found

    def _new_time_s(
        self, operation: str, message_bytes: float, *, n_ranks: int, stride: int
    ) -> float:
        has_switch = self.job.machine.node.intra_node.has_in_switch_reduction
        machine = self.device.collective(operation, has_switch)
        group = self.group(n_ranks, stride)
        return collective_time_s(message_bytes, PATTERNS[operation], machine, group)

    def tensor_time_s(self, operation: str, message_bytes: float) -> float:
        """Time of one tensor-parallel collective. [s]"""
        return self.time_s(operation, message_bytes, n_ranks=self.plan.tp, stride=1)

    def context_time_s(self, operation: str, message_bytes: float) -> float:
        """Time of one context-parallel collective. [s]"""
        return self.time_s(operation, message_bytes, n_ranks=self.plan.cp, stride=self.plan.tp)

    def data_time_s(self, operation: str, message_bytes: float) -> float:
        """Time of one collective over all data-parallel ranks; context ranks are among them. [s]"""
        n_ranks = self.plan.n_gradient_ranks
        return self.time_s(operation, message_bytes, n_ranks=n_ranks, stride=self.plan.tp)

    def shard_time_s(self, operation: str, message_bytes: float) -> float:
        """Time of one collective over the ranks that share one copy of the states. [s]"""
        n_ranks = self.plan.n_shards
        return self.time_s(operation, message_bytes, n_ranks=n_ranks, stride=self.plan.tp)

    def replica_time_s(self, message_bytes: float) -> float:
        """Time to add up the shards of all copies, one message over all shards. [s]"""
        plan = self.plan
        n_copies = plan.n_gradient_ranks // plan.n_shards
        stride = plan.tp * plan.n_shards
        shard_bytes = message_bytes / plan.n_shards
        return self.time_s("all_reduce", shard_bytes, n_ranks=n_copies, stride=stride)

    def broadcasts_time_s(self, message_bytes: float, n_messages: float) -> float:
        """Time until the sharing ranks have broadcast their parts, one after the other. [s]

        A broadcast is a chain through all nodes. It carries its part once over the cards of every
        node, and its last byte follows the first by one chunk per node that it passes.

        Parameters
        ----------
        message_bytes
            Sum of all parts. [byte]
        n_messages
            Tensors that are sent; ranks beyond their number own nothing. [1]
        """
        n_ranks, stride = self.plan.n_shards, self.plan.tp
        if n_ranks <= 1:
            return 0.0
        group = self.group(n_ranks, stride)
        n_domains = group.n_ranks / group.n_ranks_per_node
        fitted = self.device.collective_calibration("all_gather")
        bandwidth = group.link_bandwidth_bytes_per_s * fitted.bandwidth_efficiency_fraction
        hop_s = fitted.latency_s
        if n_domains > 1.0:
            efficiency = self.job.machine.cluster.fabric.bandwidth_efficiency_fraction
            bandwidth = min(bandwidth, group.network_bandwidth_bytes_per_s * efficiency)
            card = self.job.machine.node.network.nic_bandwidth_bytes_per_s
            hop_s = BROADCAST_CHUNK_BYTES / card
        n_broadcasts = min(float(n_ranks), n_messages)
        return message_bytes / bandwidth + n_broadcasts * n_domains * hop_s

    def pipeline_send_s(self, message_bytes: float) -> float:
        """Time of one send to the next pipeline stage. [s]"""
        plan = self.plan
        if plan.pp == 1:
            return 0.0
        stride = plan.tp * plan.cp * plan.dp
        fitted = self.device.collective_calibration("point_to_point")
        link = self.job.machine.accelerator.link
        # The slowest boundary between stages sets the pace: one that crosses nodes, if any does.
        if stride * plan.pp <= self._domain_n_devices() and link is not None:
            bandwidth = link.peer_bandwidth_bytes_per_s * fitted.bandwidth_efficiency_fraction
            latency_s = fitted.latency_s
        else:
            fabric = self.job.machine.cluster.fabric
            bandwidth = self._nic_share_bytes_per_s(1) * fabric.bandwidth_efficiency_fraction
            latency_s = fabric.latency_s
        return point_to_point_time_s(
            message_bytes, bandwidth_bytes_per_s=bandwidth, latency_s=latency_s
        )
