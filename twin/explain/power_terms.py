"""Terms of power: device, node, all nodes, facility."""

from __future__ import annotations

from twin.energy.step_energy import StepPower
from twin.explain.inputs import ProfileInputs, computed, given, total
from twin.explain.term import Term
from twin.training.predictor import StepPredictor

__all__ = ["power_terms"]

CALIBRATION_KEY = "accelerator.calibration.power"


def _device_term(predictor: StepPredictor, power: StepPower, inputs: ProfileInputs) -> Term:
    fitted = predictor.device.power_calibration
    busy = inputs.parameter(
        "busy power",
        fitted.busy_w,
        "W",
        key=f"{CALIBRATION_KEY}.busy_w",
        provenance=fitted.provenance,
    )
    per_flop = inputs.parameter(
        "energy per 16-bit flop",
        fitted.energy_per_flop_j,
        "J/flop",
        key=f"{CALIBRATION_KEY}.energy_per_flop_j",
        provenance=fitted.provenance,
    )
    per_byte = inputs.parameter(
        "energy per memory byte",
        fitted.energy_per_hbm_byte_j,
        "J/byte",
        key=f"{CALIBRATION_KEY}.energy_per_hbm_byte_j",
        provenance=fitted.provenance,
    )
    parts = (
        (
            "occupied units",
            power.busy_w,
            "busy power · (kernels · clock · voltage² + waiting · share)",
            (busy,),
        ),
        ("arithmetic", power.arithmetic_w, "energy per flop · work · voltage² / step", (per_flop,)),
        ("memory traffic", power.hbm_w, "energy per byte · bytes / step", (per_byte,)),
        ("links", power.link_w, "energy per byte · bytes sent / step", ()),
    )
    return total(
        "device_power_w",
        "W",
        (
            inputs.figure("idle", power.idle_w, "W", "accelerator.power.idle_w"),
            *(
                computed(name, value, "W", relation="formula", formula=formula, children=children)
                for name, value, formula, children in parts
            ),
        ),
    )


def _node_term(
    predictor: StepPredictor, power: StepPower, inputs: ProfileInputs, device: Term
) -> Term:
    node = predictor.job.machine.node
    parts = node.power
    figures = (
        ("one processor", parts.cpu_training_w, "W", "cpu_training_w"),
        ("memory", parts.memory_w, "W", "memory_w"),
        ("one network card", parts.nic_w, "W", "nic_w"),
        ("link switches", parts.switch_w, "W", "switch_w"),
        ("storage", parts.storage_w, "W", "storage_w"),
        ("fans", parts.fan_fraction, "1", "fan_fraction"),
        ("supply efficiency", parts.supply_efficiency_fraction, "1", "supply_efficiency_fraction"),
    )
    job = predictor.job
    n_used = job.n_devices_per_node if job.n_nodes == 1 else node.n_devices
    devices = computed(
        "devices in use",
        n_used * power.device_w,
        "W",
        relation="product",
        formula="devices in use · device power",
        children=(given("devices in use", n_used, "1", "scenario"), device),
    )
    idle = computed(
        "unused devices",
        (node.n_devices - n_used) * power.idle_w,
        "W",
        relation="formula",
        formula="unused devices of the node · idle power",
    )
    return computed(
        "node_power_w",
        power.node_w,
        "W",
        relation="formula",
        formula=(
            "(devices + processors + memory + cards + switches + storage) · (1 + fans) / supply"
        ),
        children=(
            devices,
            *((idle,) if n_used < node.n_devices else ()),
            given("processors", parts.n_cpus, "1", "node profile"),
            given("network cards", node.network.n_nics, "1", "node profile"),
            *(
                inputs.figure(name, value, unit, f"node.power.{attribute}")
                for name, value, unit, attribute in figures
            ),
        ),
    )


def power_terms(predictor: StepPredictor, power: StepPower) -> dict[str, Term]:
    """Trees of device, node, IT and facility power."""
    job = predictor.job
    inputs = ProfileInputs(job.machine)
    device = _device_term(predictor, power, inputs)
    node = _node_term(predictor, power, inputs, device)
    nodes = computed(
        "nodes",
        power.it_w - power.network_w,
        "W",
        relation="formula",
        formula="nodes · node power; unused devices of the last node idle",
        children=(given("nodes", job.n_nodes, "1", "scenario"), node),
    )
    network = computed(
        "network",
        power.network_w,
        "W",
        relation="formula",
        formula="switch power per card · cards · nodes",
        children=(
            inputs.figure(
                "switches per card",
                job.machine.cluster.fabric.switch_power_per_nic_w,
                "W",
                "cluster.fabric.switch_power_per_nic_w",
            ),
        ),
    )
    it = total("it_power_w", "W", (nodes, network))
    facility = computed(
        "facility_power_w",
        power.facility_w,
        "W",
        relation="product",
        formula="it power · pue",
        children=(it, inputs.figure("pue", power.pue, "1", "site.pue")),
    )
    return {
        "device_power_w": device,
        "node_power_w": node,
        "it_power_w": it,
        "facility_power_w": facility,
    }
