"""Predicts steps of one job, keeping kernel times that plans share."""

from __future__ import annotations

from twin.energy.clock import PowerMachine
from twin.training.device_model import DeviceModel
from twin.training.job import TrainingJob
from twin.training.plan import Plan
from twin.training.step import (
    KernelCache,
    Step,
    predict_step,
    recompute_share,
    straggler_fraction,
)

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
    """Step times of one job under any plan."""

    def __init__(self, job: TrainingJob) -> None:
        self.job = job
        self.device = DeviceModel(
            job.machine.accelerator, job.precision, job.framework.attention_implementations
        )
        self.device.peak_flop_per_s(job.precision)
        self.power = power_machine(self.device)
        self._cache = KernelCache()

    def least_time_s(self, plan: Plan) -> float:
        """A bound that no step of the plan falls below: compute, bubble and host work. [s]

        Cheap beside `step`, so that a search can pass over plans that cannot win.
        """
        compute = self._cache.layer_compute(self.job, plan, self.device, self.power)
        n_micro_batches = self.job.global_batch // (plan.dp * plan.micro_batch)
        repeated_s = recompute_share(self.job, plan) * compute.forward.time_s
        layers_s = self.job.model.n_layers * (compute.layer_s + repeated_s)
        stage_s = (layers_s + compute.head_s) / plan.pp
        pipeline_s = (n_micro_batches + (plan.pp - 1) / plan.vpp) * stage_s
        return (1.0 + straggler_fraction(self.job)) * (pipeline_s + self.job.framework.host.step_s)

    def step(self, plan: Plan) -> Step:
        """Predict one step of a plan that `check_plan` has accepted."""
        return predict_step(self.job, plan, device=self.device, power=self.power, cache=self._cache)
