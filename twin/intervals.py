"""Intervals of predicted quantities, propagated analytically.

Each family of kernels has a residual spread from its calibration, each framework one from the
published runs, each network one of its class. Within a family the errors of a step are taken as
fully correlated, between families as independent; relative errors are log-normal.
"""

from __future__ import annotations

import math

from twin.energy.step_energy import StepPower
from twin.network_uncertainty import network_spread
from twin.prediction import Interval
from twin.training.job import TrainingJob
from twin.training.plan import Plan
from twin.training.predictor import StepPredictor
from twin.training.step import Step

__all__ = ["interval", "power_spread", "step_spread"]

NORMAL_P90 = 1.2815515655446004
"""Ninetieth percentile of the standard normal distribution. [1]"""

MEMORY_SPREAD_FRACTION = 0.16
"""Allocators and libraries differ. The width that holds 80 % of published figures between p10 and
p90, every source weighing the same and judged with the fitted constants of docs/memory.md left
out; one row that states neither sharding nor recomputation is not counted. [1]"""

SERVER_SPREAD_W = 400.0
"""Servers of different makers differ by this much in everything but accelerators. [W]"""

PIPELINE_SPREAD_FRACTION = 0.15
HOST_SPREAD_FRACTION = 0.3
COMMUNICATION_CAUSES = {
    "tp_communication": "all_gather",
    "cp_communication": "all_gather",
    "fsdp_communication": "all_gather",
    "dp_communication": "reduce_scatter",
    "pp_communication": "point_to_point",
}


def interval(value: float, spread: float) -> Interval:
    """Log-normal interval around a median.

    Parameters
    ----------
    value
        Median. [any]
    spread
        Standard deviation of its logarithm. [1]
    """
    factor = math.exp(NORMAL_P90 * spread)
    return Interval(p10=value / factor, p50=value, p90=value * factor)


def _families(predictor: StepPredictor) -> dict[str, tuple[tuple[str, ...], float]]:
    device = predictor.device
    gemm = device.gemm_calibration(predictor.job.precision).provenance
    attention = device.attention_calibration
    stream = device.memory_bound_calibration.provenance
    return {
        "gemm": (
            ("gemm_forward", "gemm_backward", "head_and_loss", "recompute"),
            gemm.relative_spread_fraction,
        ),
        "attention_forward": (
            ("attention_forward",),
            attention.provenance.relative_spread_fraction,
        ),
        "attention_backward": (
            ("attention_backward",),
            attention.backward_provenance.relative_spread_fraction,
        ),
        "memory_bound": (("memory_bound", "optimizer"), stream.relative_spread_fraction),
        "host": (("host_launch", "host_step", "stragglers"), HOST_SPREAD_FRACTION),
        "pipeline": (("pp_bubble", "overlap_slowdown"), PIPELINE_SPREAD_FRACTION),
    }


CLOCKED_CAUSES = (
    *("gemm_forward", "gemm_backward", "attention_forward", "attention_backward"),
    *("head_and_loss", "recompute"),
)
"""What a lower clock slows. [name]"""


def _capped_clock_spread(predictor: StepPredictor, clock_fraction: float) -> float:
    """Standard deviation of the logarithm of the clock that a power limit leaves. [1]

    At the limit f V(f)^2 times the energy of the work is what it is, so that the clock errs less
    than the energy by the exponent of the power over the clock.
    """
    if clock_fraction >= 1.0:
        return 0.0
    power = predictor.device.power_calibration
    voltage_fraction = 1.0 - power.voltage_slope * (1.0 - clock_fraction)
    exponent = 1.0 + 2.0 * power.voltage_slope * clock_fraction / voltage_fraction
    return power.provenance.relative_spread_fraction / exponent


def step_spread(predictor: StepPredictor, plan: Plan, step: Step) -> float:
    """Standard deviation of the logarithm of the step time. [1]

    Parameters
    ----------
    predictor
        What predicted the step.
    plan, step
        The plan that was predicted, and what came of it.
    """
    total_s = step.time_s
    variance = predictor.job.framework.relative_spread_fraction**2
    for causes, spread in _families(predictor).values():
        share = sum(step.breakdown[cause] for cause in causes) / total_s
        variance += (share * spread) ** 2
    clocked_s = sum(step.breakdown[cause] for cause in CLOCKED_CAUSES)
    clock_spread = _capped_clock_spread(predictor, step.compute.clock_fraction)
    variance += (clocked_s / total_s * clock_spread) ** 2
    for cause, operation in COMMUNICATION_CAUSES.items():
        fitted = predictor.device.collective_calibration(operation).provenance
        spread = fitted.relative_spread_fraction
        variance += (step.breakdown[cause] / total_s * spread) ** 2
    variance += network_spread(predictor, plan, step) ** 2
    return math.sqrt(variance)


def power_spread(job: TrainingJob, predictor: StepPredictor, power: StepPower) -> float:
    """Standard deviation of the logarithm of node power. [1]"""
    device = predictor.device.power_calibration.provenance.relative_spread_fraction
    devices_w = power.device_w * job.n_devices_per_node
    device_share = min(1.0, devices_w / power.node_w)
    server = SERVER_SPREAD_W / max(power.node_w, SERVER_SPREAD_W)
    return math.hypot(device * device_share, server)
