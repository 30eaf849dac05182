"""What a device does in a step that trains low-rank adapters on frozen weights.

The time of such a step is not modelled yet; its work is. Against full training the frozen weights
need no weight gradients (a third of the matrix work), no accumulation of them, no reduction over
the data-parallel group and no optimizer. The adapters themselves are below a percent of the work.
Power needs the mix of computing and waiting, not the time: what real steps take longer than this
mix (small kernels of adapters, older releases) is taken to draw the power of the mix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec

from twin.energy.step_energy import (
    COMMUNICATION_CAUSES,
    Activity,
    hbm_bytes,
    kernel_time_s,
    weighted_flop,
)
from twin.training.executed_work import executed_work
from twin.training.layer_time import KernelTime
from twin.training.plan import Plan
from twin.training.predictor import StepPredictor
from twin.training.traffic_bytes import activation_link_bytes

__all__ = ["adapter_activity"]

WEIGHT_GRADIENT = "weight gradient"
"""In the name of the kernels that frozen weights do without."""

WAITING_CAUSES = ("host_launch", "pp_bubble", "host_step", "stragglers")
"""Causes of a full step in which a device waits and which an adapter step has as well."""

Amount = Callable[[KernelTime], float]


def adapter_activity(predictor: StepPredictor, plan: Plan) -> Activity:
    """Activity of the mean device in an adapter step, over the time that it would take at best.

    Parameters
    ----------
    predictor
        Predicts the same job with all weights trained.
    plan
        Its layout.
    """
    framework = predictor.job.framework
    traffic = msgspec.structs.replace(framework.traffic, gradient_accumulation_bytes=0.0)
    framework = msgspec.structs.replace(framework, traffic=traffic)
    job = replace(predictor.job, framework=framework)
    step = StepPredictor(job).step(plan)

    def total(amount: Amount) -> float:
        return sum(executed_work(job, plan, step, _of_frozen_weights(amount)))

    communicating_s = sum(
        step.breakdown[cause] for cause in COMMUNICATION_CAUSES if cause != "dp_communication"
    )
    occupied_s = total(kernel_time_s) + step.breakdown["overlap_slowdown"] + communicating_s
    return Activity(
        period_s=occupied_s + sum(step.breakdown[cause] for cause in WAITING_CAUSES),
        occupied_s=occupied_s,
        weighted_flop=total(weighted_flop(predictor.power)),
        hbm_bytes=total(hbm_bytes),
        link_bytes=activation_link_bytes(job, plan, step.n_micro_batches),
        clock_fraction=step.compute.clock_fraction,
    )


def _of_frozen_weights(amount: Amount) -> Amount:
    """The same amount, nothing for weight gradients."""
    return lambda kernel: 0.0 if WEIGHT_GRADIENT in kernel.name else amount(kernel)
