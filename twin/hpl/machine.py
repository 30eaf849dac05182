"""From a machine of the catalogue to the figures that HPL depends on."""

from __future__ import annotations

from hardware_profiles.calibration import Provenance
from hardware_profiles.cluster import Machine
from hardware_profiles.errors import TweelingError
from twin.hpl.model import HplSystem
from twin.training.device_model import DeviceModel
from twin.training.predictor import power_machine

__all__ = ["HplError", "constant_hashes", "hpl_system", "power_provenance"]


class HplError(TweelingError):
    """A machine cannot run HPL."""


def hpl_system(machine: Machine, *, n_nodes: int, power_cap_w: float | None) -> HplSystem:
    """Figures of a machine for HPL.

    Parameters
    ----------
    machine
        Node, accelerator and fabric.
    n_nodes
        Nodes that ran, all their devices in use. [1]
    power_cap_w
        Cap of a device; its own limit where none was set. [W]

    Raises
    ------
    HplError
        The profile states no fp64 peak.
    """
    device, node, fabric = machine.accelerator, machine.node, machine.cluster.fabric
    peak = device.compute.fp64_matrix_flop_per_s or device.compute.peak_flop_per_s.get("fp64")
    if peak is None:
        msg = f"{device.name}: the profile states no fp64 peak, which HPL needs"
        raise HplError(msg)
    injection = node.network.n_nics * node.network.nic_bandwidth_bytes_per_s
    share = fabric.bandwidth_efficiency_fraction / (node.n_devices * fabric.oversubscription)
    network, side = injection * share, node.n_devices
    if n_nodes == 1 and device.link is not None:
        network, side = device.link.bandwidth_bytes_per_s, 1
    model = DeviceModel(device, "bf16", ())
    efficiency = model.stream().bandwidth_efficiency_fraction
    return HplSystem(
        n_devices=n_nodes * node.n_devices,
        peak_fp64_flop_per_s=peak,
        memory_bytes=device.memory.capacity_bytes,
        memory_bandwidth_bytes_per_s=efficiency * device.memory.bandwidth_bytes_per_s,
        n_devices_per_node=side,
        network_bytes_per_s=network,
        power_cap_w=power_cap_w or device.power.tdp_w,
        power=power_machine(model),
    )


def power_provenance(machine: Machine) -> Provenance:
    """What the power calibration of the device rests on."""
    return DeviceModel(machine.accelerator, "bf16", ()).power_calibration.provenance


def constant_hashes(machine: Machine) -> dict[str, str]:
    """SHA-256 of files behind the device's constants besides its own profile. [hex]"""
    return DeviceModel(machine.accelerator, "bf16", ()).constant_hashes
