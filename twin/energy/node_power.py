"""Power of a node and of everything around it, from its parts."""

from __future__ import annotations

from dataclasses import dataclass

from hardware_profiles.cluster import Fabric, Node

__all__ = [
    "NodeParts",
    "network_power_w",
    "node_parts",
    "node_power_w",
    "server_parts_w",
    "waiting_server_parts_w",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeParts:
    """Power of one node by what draws it."""

    devices_w: float
    host_w: float
    """Processors, memory, network cards, link switches, storage. [W]"""
    fans_w: float
    """Fans and pumps. [W]"""
    supply_loss_w: float

    @property
    def behind_supply_w(self) -> float:
        """What the parts draw behind the power supplies. [W]"""
        return self.devices_w + self.host_w + self.fans_w

    @property
    def inlet_w(self) -> float:
        """What the node draws at its inlet. [W]"""
        return self.behind_supply_w + self.supply_loss_w


def _host_w(node: Node, cpu_w: float) -> float:
    parts = node.power
    return (
        parts.n_cpus * cpu_w
        + parts.memory_w
        + node.network.n_nics * parts.nic_w
        + parts.switch_w
        + parts.storage_w
    )


def server_parts_w(node: Node) -> float:
    """Parts of a server beside accelerators and fans, while it trains. [W]"""
    return _host_w(node, node.power.cpu_training_w)


def waiting_server_parts_w(node: Node) -> float:
    """The same while nothing trains: processors idle, everything else as before. [W]"""
    return _host_w(node, node.power.cpu_idle_w)


def node_parts(node: Node, devices_w: float, host_w: float) -> NodeParts:
    """Fans and supply losses that devices and other parts cause.

    Parameters
    ----------
    node
        Fans and supply of the server.
    devices_w
        All devices of the node together. [W]
    host_w
        Parts beside devices and fans: `server_parts_w` or `waiting_server_parts_w`. [W]
    """
    fans_w = (devices_w + host_w) * node.power.fan_fraction
    inside_w = devices_w + host_w + fans_w
    loss_w = inside_w / node.power.supply_efficiency_fraction - inside_w
    return NodeParts(devices_w=devices_w, host_w=host_w, fans_w=fans_w, supply_loss_w=loss_w)


def node_power_w(node: Node, device_power_w: float, *, n_idle_devices: int, idle_w: float) -> float:
    """Power at the inlet of one node.

    Parameters
    ----------
    node
        Parts and supply of the server.
    device_power_w
        Mean power of a device in use. [W]
    n_idle_devices
        Devices of the node that the job leaves unused. [1]
    idle_w
        Power of an unused device. [W]

    Returns
    -------
    float
        Devices, other parts and fans, over the efficiency of the supplies. [W]
    """
    n_used = node.n_devices - n_idle_devices
    devices_w = n_used * device_power_w + n_idle_devices * idle_w
    return node_parts(node, devices_w, server_parts_w(node)).inlet_w


def network_power_w(fabric: Fabric, node: Node, n_nodes: int) -> float:
    """Power of the switches between nodes, shared by network cards. [W]"""
    if n_nodes <= 1:
        return 0.0
    return fabric.switch_power_per_nic_w * node.network.n_nics * n_nodes
