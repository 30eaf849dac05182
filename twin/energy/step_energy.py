"""Energy and mean power of a step: device, node, job and facility."""

from __future__ import annotations

from dataclasses import dataclass

from twin.energy.clock import OPERAND_ENERGY_RATIO, PowerMachine, busy_power_w, voltage_fraction
from twin.energy.node_power import network_power_w, node_power_w
from twin.training.job import TrainingJob
from twin.training.layer_time import PassTime
from twin.training.plan import Plan
from twin.training.step import Step
from twin.training.traffic_bytes import link_bytes_per_step

__all__ = ["StepPower", "step_power"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPower:
    """Mean power over a step, from the chip to the meter of the building."""

    idle_w: float
    busy_w: float
    arithmetic_w: float
    hbm_w: float
    link_w: float
    device_w: float
    node_w: float
    network_w: float
    it_w: float
    facility_w: float
    pue: float


def _weighted_flop(job: TrainingJob, passes: PassTime) -> float:
    total = 0.0
    for kernel in passes.kernels:
        precision = job.precision if kernel.kind == "gemm" else "bf16"
        total += kernel.flop * OPERAND_ENERGY_RATIO[precision]
    return total


def _device_work(job: TrainingJob, plan: Plan, step: Step) -> tuple[float, float]:
    """Weighted work and memory traffic of one step on the mean device. [flop], [byte]"""
    compute = step.compute
    layers = step.n_micro_batches * job.model.n_layers / plan.pp
    heads = step.n_micro_batches / plan.pp
    repeated = step.recomputed_layers_slowest / max(step.n_layers_slowest, 1.0)
    forward_weight = layers * (1.0 + repeated)
    flop = forward_weight * _weighted_flop(job, compute.forward)
    flop += layers * _weighted_flop(job, compute.backward)
    flop += heads * (
        _weighted_flop(job, compute.head_forward) + _weighted_flop(job, compute.head_backward)
    )
    traffic = forward_weight * compute.forward.hbm_bytes + layers * compute.backward.hbm_bytes
    traffic += heads * (compute.head_forward.hbm_bytes + compute.head_backward.hbm_bytes)
    return flop, traffic


def step_power(job: TrainingJob, plan: Plan, step: Step, machine: PowerMachine) -> StepPower:
    """Mean power of a step from the activity of its parts.

    Idle and busy power run for the whole step, since waiting kernels occupy the chip; arithmetic
    and traffic draw what their work costs, so bubbles and exposed communication lower the mean.
    """
    clock = step.compute.clock_fraction
    voltage = voltage_fraction(clock, machine)
    flop, hbm_bytes = _device_work(job, plan, step)
    arithmetic_w = machine.energy_per_flop_j * flop * voltage * voltage / step.time_s
    hbm_w = machine.energy_per_hbm_byte_j * hbm_bytes / step.time_s
    link_bytes = link_bytes_per_step(job, plan, step.n_micro_batches)
    link_w = machine.energy_per_link_byte_j * link_bytes / step.time_s
    busy_w = busy_power_w(clock, machine)
    device_w = machine.idle_w + busy_w + arithmetic_w + hbm_w + link_w
    node = job.machine.node
    n_nodes = job.n_nodes
    n_unused = n_nodes * node.n_devices - job.n_devices
    full_w = node_power_w(node, device_w, n_idle_devices=0, idle_w=machine.idle_w)
    last_w = node_power_w(node, device_w, n_idle_devices=n_unused, idle_w=machine.idle_w)
    network_w = network_power_w(job.machine.cluster.fabric, node, n_nodes)
    it_w = (n_nodes - 1) * full_w + last_w + network_w
    pue = job.machine.site.pue
    return StepPower(
        idle_w=machine.idle_w,
        busy_w=busy_w,
        arithmetic_w=arithmetic_w,
        hbm_w=hbm_w,
        link_w=link_w,
        device_w=device_w,
        node_w=last_w if n_nodes == 1 else full_w,
        network_w=network_w,
        it_w=it_w,
        facility_w=it_w * pue,
        pue=pue,
    )
