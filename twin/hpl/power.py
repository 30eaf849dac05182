"""Power of a machine while it runs HPL, from the activity of its devices."""

from __future__ import annotations

from typing import NamedTuple

from hardware_profiles.cluster import Machine
from twin.energy.node_power import NodeParts, network_power_w, node_parts, server_parts_w
from twin.energy.step_energy import Activity, DevicePower, device_power
from twin.hpl.constants import HplConstants
from twin.hpl.model import HplRun, HplSystem, hpl_flop

__all__ = ["HplPower", "hpl_power"]


class HplPower(NamedTuple):
    """Mean power over a run of HPL."""

    device: DevicePower
    node: NodeParts
    network_w: float
    system_w: float
    """All nodes at their inlets, and the switches between them. [W]"""


def hpl_power(
    machine: Machine, system: HplSystem, run: HplRun, constants: HplConstants, *, n_nodes: int
) -> HplPower:
    """Mean power of a machine over a run, as the twin's power model has it for training.

    Devices compute during updates and wait for what shows of panels and exchanges; the processors
    work as they do in training.
    """
    flop = hpl_flop(run.n_rows) / system.n_devices
    activity = Activity(
        period_s=run.time_s,
        occupied_s=run.update_s,
        weighted_flop=constants.fp64_energy_ratio * flop,
        hbm_bytes=run.hbm_bytes,
        link_bytes=run.link_bytes,
        clock_fraction=run.clock_fraction,
    )
    device = device_power(activity, system.power)
    node = machine.node
    parts = node_parts(node, node.n_devices * device.total_w, server_parts_w(node))
    network_w = network_power_w(machine.cluster.fabric, node, n_nodes)
    return HplPower(
        device=device,
        node=parts,
        network_w=network_w,
        system_w=n_nodes * parts.inlet_w + network_w,
    )
