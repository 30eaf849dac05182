"""One prediction: from a scenario to throughput, memory, power and energy.

>>> Predictor().predict(Scenario(cluster="dgx-h100", devices=64, model="llama-3-8b",
...                              seq_len=8192, global_batch=512)).mfu  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from twin.energy.step_energy import StepPower, step_power
from twin.intervals import MEMORY_SPREAD_FRACTION, interval, power_spread, step_spread
from twin.prediction import Interval, Prediction
from twin.reservations import figure_classes, warnings_of
from twin.scenario.resolve import Catalogues, resolve_job
from twin.scenario.scenario import Scenario
from twin.similar_runs import similar_runs
from twin.training.executed_work import executed_work
from twin.training.kernel_memory import KernelMemory
from twin.training.memory import memory_use
from twin.training.plan import Plan
from twin.training.plan_search import choose_plan
from twin.training.predictor import StepPredictor
from twin.training.step import Step
from twin.workload.parameters import model_flop_per_token

if TYPE_CHECKING:
    from twin.explain.term import Term

__all__ = ["Predictor"]


def _intervals(
    predictor: StepPredictor, time: float, power: StepPower, values: dict[str, float]
) -> dict[str, Interval]:
    """Intervals of all values, given the standard deviation of the logarithm of the step time."""
    watts = power_spread(predictor.job, predictor, power)
    joules = (time**2 + watts**2) ** 0.5
    spreads = {
        "step_time_s": time,
        "tokens_per_s": time,
        "tokens_per_s_per_device": time,
        "model_flop_per_s_per_device": time,
        "mfu": time,
        "hfu": time,
        "run_time_s": time,
        "run_energy_j": joules,
        "memory_bytes_per_device": MEMORY_SPREAD_FRACTION,
        "device_power_w": predictor.device.power_calibration.provenance.relative_spread_fraction,
        "node_power_w": watts,
        "it_power_w": watts,
        "facility_power_w": watts,
        "energy_per_step_j": joules,
        "energy_per_token_j": joules,
    }
    found = {
        name: interval(values[name], spread) for name, spread in spreads.items() if name in values
    }
    # A power cap is enforced: the device does not draw more, however uncertain the rest is.
    limit_w = max(predictor.job.power_cap_w, values["device_power_w"])
    device = found["device_power_w"]
    found["device_power_w"] = replace(device, p90=min(device.p90, limit_w))
    return found


def _hardware_to_model_flop(step: Step, predictor: StepPredictor, plan: Plan) -> float:
    """Work executed over work counted once: what recomputation adds. [1]"""
    once, repeated = executed_work(predictor.job, plan, step, lambda kernel: kernel.flop)
    return (once + repeated) / once


def _whole_run(scenario: Scenario, tokens_per_s: float, power: StepPower) -> dict[str, float]:
    """Time and energy for all tokens; nothing where their number is not given."""
    if scenario.tokens is None:
        return {}
    run_time_s = scenario.tokens / tokens_per_s
    return {"run_time_s": run_time_s, "run_energy_j": run_time_s * power.it_w}


class Predictor:
    """Answers scenarios; keeps catalogues loaded between questions, and kernels that they share.

    Parameters
    ----------
    profile_dirs
        The user's own folders of profiles and models, found before the shipped ones.
    """

    def __init__(self, profile_dirs: Sequence[Path] = ()) -> None:
        self.catalogues = Catalogues.with_folders(profile_dirs)
        self._kernels = KernelMemory()

    def predict(self, scenario: Scenario) -> Prediction:
        """Predict one training configuration.

        Raises
        ------
        TweelingError
            Bad input or an impossible plan; a plan that does not fit is an answer, not an error.
        """
        predictor = StepPredictor(resolve_job(scenario, self.catalogues), self._kernels)
        plan = choose_plan(predictor, scenario.plan)
        step = predictor.step(plan)
        return self._prediction(scenario, predictor, plan=plan, step=step)

    def explain(self, scenario: Scenario) -> dict[str, Term]:
        """The tree of terms behind each quantity of a prediction."""
        from twin.explain.prediction_terms import prediction_terms

        predictor = StepPredictor(resolve_job(scenario, self.catalogues), self._kernels)
        plan = choose_plan(predictor, scenario.plan)
        step = predictor.step(plan)
        prediction = self._prediction(scenario, predictor, plan=plan, step=step)
        return prediction_terms(prediction, predictor, step)

    def _hashes(self, scenario: Scenario, predictor: StepPredictor) -> dict[str, str]:
        model_key = f"model/{predictor.job.model.name}"
        return {
            **predictor.device.constant_hashes,
            **predictor.job.machine.profile_hashes,
            model_key: self.catalogues.models.hash_of(scenario.model),
        }

    def _prediction(
        self, scenario: Scenario, predictor: StepPredictor, *, plan: Plan, step: Step
    ) -> Prediction:
        job = predictor.job
        power = step_power(job, plan, step, predictor.power)
        memory = memory_use(job, plan)
        tokens_per_s = job.tokens_per_step / step.time_s
        flop_per_token = model_flop_per_token(job.model, job.seq_len)
        model_flop_per_s = tokens_per_s * flop_per_token / job.n_devices
        mfu = model_flop_per_s / predictor.device.peak_flop_per_s(job.precision)
        energy_per_step_j = power.it_w * step.time_s
        hfu = mfu * _hardware_to_model_flop(step, predictor, plan)
        run = _whole_run(scenario, tokens_per_s, power)
        values = {
            **run,
            "step_time_s": step.time_s,
            "tokens_per_s": tokens_per_s,
            "tokens_per_s_per_device": tokens_per_s / job.n_devices,
            "model_flop_per_s_per_device": model_flop_per_s,
            "mfu": mfu,
            "hfu": hfu,
            "memory_bytes_per_device": memory.total_bytes,
            "device_power_w": power.device_w,
            "node_power_w": power.node_w,
            "it_power_w": power.it_w,
            "facility_power_w": power.facility_w,
            "energy_per_step_j": energy_per_step_j,
            "energy_per_token_j": energy_per_step_j / job.tokens_per_step,
        }
        capacity = job.machine.accelerator.memory.capacity_bytes
        return Prediction(
            scenario=scenario,
            plan=plan,
            **values,
            memory_capacity_bytes=capacity,
            memory=memory,
            fits_memory=memory.total_bytes <= capacity,
            pue=power.pue,
            breakdown=step.breakdown,
            hidden=step.hidden,
            interval=_intervals(predictor, step_spread(predictor, plan, step), power, values),
            classes=figure_classes(predictor),
            similar_runs=similar_runs(predictor.job),
            warnings=warnings_of(predictor, plan, step=step, power=power, memory=memory),
            profile_hashes=self._hashes(scenario, predictor),
        )
