"""Power of a node and of everything around it, from its parts."""

from __future__ import annotations

from hardware_profiles.cluster import Fabric, Node

__all__ = ["network_power_w", "node_power_w", "server_parts_w"]


def server_parts_w(node: Node) -> float:
    """Parts of a server beside accelerators and fans, while it trains. [W]"""
    parts = node.power
    return (
        parts.n_cpus * parts.cpu_training_w
        + parts.memory_w
        + node.network.n_nics * parts.nic_w
        + parts.switch_w
        + parts.storage_w
    )


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
    inside_w = (devices_w + server_parts_w(node)) * (1.0 + node.power.fan_fraction)
    return inside_w / node.power.supply_efficiency_fraction


def network_power_w(fabric: Fabric, node: Node, n_nodes: int) -> float:
    """Power of the switches between nodes, shared by network cards. [W]"""
    if n_nodes <= 1:
        return 0.0
    return fabric.switch_power_per_nic_w * node.network.n_nics * n_nodes
