"""Predicts steps of one job, keeping kernel times that plans share."""

from __future__ import annotations

import copy
from dataclasses import replace

from hardware_profiles.cluster import Machine
from twin.energy.clock import PowerMachine
from twin.training.device_model import DeviceModel
from twin.training.job import TrainingJob
from twin.training.kernel_memory import KernelMemory
from twin.training.layer_compute import KernelCache
from twin.training.plan import Plan
from twin.training.step import Step, predict_step
from twin.training.step_bounds import StepBounds

__all__ = ["StepPredictor", "power_machine"]


def power_machine(device: DeviceModel) -> PowerMachine:
    """The device's power figures as the power model takes them."""
    fitted = device.power_calibration
    return PowerMachine(
        idle_w=device.accelerator.power.idle_w,
        busy_w=fitted.busy_w,
        energy_per_flop_j=fitted.energy_per_flop_j,
        energy_per_hbm_byte_j=fitted.energy_per_hbm_byte_j,
        energy_per_link_byte_j=fitted.energy_per_link_byte_j,
        voltage_slope=fitted.voltage_slope,
        minimum_clock_fraction=fitted.minimum_clock_fraction,
        low_precision_energy_ratio=fitted.low_precision_energy_ratio,
    )


class StepPredictor:
    """Step times of one job under any plan.

    Parameters
    ----------
    job
        What is trained, where and how.
    memory
        Kernels that other predictions know; without it nothing is shared.
    """

    def __init__(self, job: TrainingJob, memory: KernelMemory | None = None) -> None:
        self.job = job
        self.device = DeviceModel(
            job.machine.accelerator, job.precision, job.framework.attention_implementations
        )
        self.device.peak_flop_per_s(job.precision)
        self.power = power_machine(self.device)
        sampled = memory.kernels_of(job) if memory else None
        self._cache = KernelCache(job, self.device, self.power, sampled)
        self.bounds = StepBounds(self._cache)

    def with_network_of(self, machine: Machine) -> StepPredictor:
        """The same job on the same devices with another network; kernels are shared."""
        other = copy.copy(self)
        other.job = replace(self.job, machine=machine)
        other._cache = self._cache.with_job(other.job)
        other.bounds = StepBounds(other._cache)
        return other

    def step(self, plan: Plan) -> Step:
        """Predict one step of a plan that `check_plan` has accepted."""
        return predict_step(plan, self._cache)
