"""Energy and mean power of a step: device, node, job and facility."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from kernels.power_prior import WAITING_FRACTION
from twin.energy.clock import (
    PowerMachine,
    busy_power_w,
    energy_per_sent_byte_j,
    operand_energy_ratio,
    voltage_fraction,
)
from twin.energy.node_power import network_power_w, node_power_w
from twin.training.executed_work import executed_work
from twin.training.job import TrainingJob
from twin.training.layer_time import KernelTime
from twin.training.plan import Plan
from twin.training.step import Step, optimizer_bytes
from twin.training.traffic_bytes import link_bytes_per_step

__all__ = [
    "COMMUNICATION_CAUSES",
    "Activity",
    "DevicePower",
    "StepPower",
    "device_power",
    "hbm_bytes",
    "kernel_time_s",
    "step_activity",
    "step_power",
    "waiting_power_w",
    "weighted_flop",
]


COMMUNICATION_CAUSES = (
    *("tp_communication", "cp_communication", "fsdp_communication"),
    *("pp_communication", "dp_communication"),
)
"""Causes of a step in which kernels of communication run alone."""


class Activity(NamedTuple):
    """What one device does in a period, on the mean over the devices of a job."""

    period_s: float
    occupied_s: float
    """Time in which kernels compute, stream or communicate; the rest waits. [s]"""
    weighted_flop: float
    """Matrix work, weighted by the energy of its operand width. [flop]"""
    hbm_bytes: float
    link_bytes: float
    """Sent to other devices. [byte]"""
    clock_fraction: float
    """Clock over the boost clock while kernels run. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePower:
    """Mean power of a device over a period, by what draws it."""

    idle_w: float
    busy_w: float
    """Occupied units while kernels run, and the lit chip while it waits. [W]"""
    arithmetic_w: float
    hbm_w: float
    link_w: float

    @property
    def total_w(self) -> float:
        """Sum of the parts. [W]"""
        return self.idle_w + self.busy_w + self.arithmetic_w + self.hbm_w + self.link_w


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


def weighted_flop(machine: PowerMachine) -> Callable[[KernelTime], float]:
    """Matrix work of a kernel, weighted by the energy of its operand width. [flop]"""
    return lambda kernel: kernel.flop * operand_energy_ratio(kernel.dtype, machine)


def hbm_bytes(kernel: KernelTime) -> float:
    """Device-memory traffic of a kernel. [byte]"""
    return kernel.hbm_bytes


def kernel_time_s(kernel: KernelTime) -> float:
    """Time of a kernel on the device. [s]"""
    return kernel.time_s


def waiting_power_w(machine: PowerMachine) -> float:
    """Power of a device on which nothing runs: between steps, in bubbles, before launches. [W]"""
    return machine.idle_w + WAITING_FRACTION * machine.busy_w


def device_power(activity: Activity, machine: PowerMachine) -> DevicePower:
    """Mean power of a device from its activity.

    Idle power runs all the time. Occupied units draw busy power while kernels run and a part of
    it while the device waits; arithmetic and traffic draw what their work costs. So bubbles and
    host time lower the mean most, and communication, whose kernels do no arithmetic, less.
    """
    period_s = activity.period_s
    voltage = voltage_fraction(activity.clock_fraction, machine)
    occupied = min(1.0, activity.occupied_s / period_s)
    running_w = busy_power_w(activity.clock_fraction, machine)
    waiting_w = waiting_power_w(machine) - machine.idle_w
    arithmetic_j = machine.energy_per_flop_j * activity.weighted_flop * voltage * voltage
    return DevicePower(
        idle_w=machine.idle_w,
        busy_w=occupied * running_w + (1.0 - occupied) * min(waiting_w, running_w),
        arithmetic_w=arithmetic_j / period_s,
        hbm_w=machine.energy_per_hbm_byte_j * activity.hbm_bytes / period_s,
        link_w=energy_per_sent_byte_j(machine) * activity.link_bytes / period_s,
    )


def step_activity(job: TrainingJob, plan: Plan, step: Step, machine: PowerMachine) -> Activity:
    """What the mean device does in a step."""
    breakdown = step.breakdown
    streaming_s = breakdown["optimizer"] + breakdown["overlap_slowdown"]
    communicating_s = sum(breakdown[cause] for cause in COMMUNICATION_CAUSES)
    computing_s = sum(executed_work(job, plan, step, kernel_time_s))
    return Activity(
        period_s=step.time_s,
        occupied_s=computing_s + streaming_s + communicating_s,
        weighted_flop=sum(executed_work(job, plan, step, weighted_flop(machine))),
        hbm_bytes=sum(executed_work(job, plan, step, hbm_bytes)) + optimizer_bytes(job, plan),
        link_bytes=link_bytes_per_step(job, plan, step.n_micro_batches),
        clock_fraction=step.compute.clock_fraction,
    )


def step_power(job: TrainingJob, plan: Plan, step: Step, machine: PowerMachine) -> StepPower:
    """Mean power of a step from the activity of its parts; see `device_power`."""
    device = device_power(step_activity(job, plan, step, machine), machine)
    device_w = device.total_w
    node = job.machine.node
    n_nodes = job.n_nodes
    n_unused = n_nodes * node.n_devices - job.n_devices
    full_w = node_power_w(node, device_w, n_idle_devices=0, idle_w=machine.idle_w)
    last_w = node_power_w(node, device_w, n_idle_devices=n_unused, idle_w=machine.idle_w)
    network_w = network_power_w(job.machine.cluster.fabric, node, n_nodes)
    it_w = (n_nodes - 1) * full_w + last_w + network_w
    pue = job.machine.site.pue
    return StepPower(
        idle_w=device.idle_w,
        busy_w=device.busy_w,
        arithmetic_w=device.arithmetic_w,
        hbm_w=device.hbm_w,
        link_w=device.link_w,
        device_w=device_w,
        node_w=last_w if n_nodes == 1 else full_w,
        network_w=network_w,
        it_w=it_w,
        facility_w=it_w * pue,
        pue=pue,
    )
