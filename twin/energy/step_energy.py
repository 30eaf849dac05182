"""Energy and mean power of a step: device, node, job and facility."""

from __future__ import annotations

from dataclasses import dataclass

from twin.energy.clock import PowerMachine, busy_power_w, operand_energy_ratio, voltage_fraction
from twin.energy.node_power import network_power_w, node_power_w
from twin.training.executed_work import executed_work
from twin.training.job import TrainingJob
from twin.training.layer_time import KernelTime
from twin.training.plan import Plan
from twin.training.step import Step, optimizer_bytes
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


def _hbm_bytes(kernel: KernelTime) -> float:
    return kernel.hbm_bytes


def step_power(job: TrainingJob, plan: Plan, step: Step, machine: PowerMachine) -> StepPower:
    """Mean power of a step from the activity of its parts.

    Idle and busy power run for the whole step, since waiting kernels occupy the chip; arithmetic
    and traffic draw what their work costs, so bubbles and exposed communication lower the mean.
    """
    clock = step.compute.clock_fraction
    voltage = voltage_fraction(clock, machine)

    def weighted_flop(kernel: KernelTime) -> float:
        return kernel.flop * operand_energy_ratio(kernel.dtype, machine)

    flop = sum(executed_work(job, plan, step, weighted_flop))
    hbm_bytes = sum(executed_work(job, plan, step, _hbm_bytes)) + optimizer_bytes(job, plan)
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
