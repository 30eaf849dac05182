"""Every term of the step switched off once: what it buys on which source.

Most terms are causes of the breakdown and are left out of the sum. The rest are switched in the
prediction itself. Each variant gets one factor for all runs, so that a term counts for what it
tells runs apart by, not for its mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from twin.training.predictor import StepPredictor
from twin.training.step import CAUSES, Step
from twin.validation.run_constants import RunConstants
from twin.validation.run_machines import RunMachines
from twin.validation.run_prediction import run_job
from twin.validation.run_request import RunRequest
from twin.validation.statistics import percentile

__all__ = ["Ablation", "ablations"]

WITHOUT_LIMIT_W = 1e6
"""A cap that no device reaches. [W]"""

NOTHING = 1e-9

TOGETHER = {
    "matrix products": ("gemm_forward", "gemm_backward"),
    "attention": ("attention_forward", "attention_backward"),
}
"""Causes that are one term in two directions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """Mean absolute errors with one term switched off."""

    name: str
    by_source: Mapping[str, float]
    """Source to its mean absolute error. [1]"""
    median: float
    """Over all runs, every one counting alike. [1]"""


@dataclass(frozen=True, slots=True)
class _Switch:
    """A term that is no cause of its own."""

    name: str
    constants: RunConstants
    changed: Callable[[RunRequest], RunRequest] = lambda request: request
    power_cap_w: float | None = None


def _with_plan(request: RunRequest, **changes: object) -> RunRequest:
    return replace(request, plan=replace(request.plan, **changes))  # type: ignore[arg-type]


SWITCHES = (
    _Switch("clock that the power limit leaves", RunConstants(), power_cap_w=WITHOUT_LIMIT_W),
    _Switch(
        "casts below 16 bits",
        RunConstants.of({("megatron-core", "low_precision_casts"): NOTHING}),
    ),
    _Switch(
        "weight gradients added in fp32",
        RunConstants.of({("megatron-core", "traffic.gradient_accumulation_bytes"): 0.0}),
    ),
    _Switch(
        "chunked overlap of tensor-parallel traffic",
        RunConstants.of({("megatron-bridge", "overlap.tensor_parallel_fraction"): 0.0}),
    ),
    _Switch(
        "sends behind compute",
        RunConstants.of(
            {
                ("megatron-core", "overlap.pipeline_exposed_fraction"): 1.0,
                ("megatron-core", "overlap.interleaved_exposed_fraction"): 1.0,
            }
        ),
    ),
    _Switch(
        "groups of shards",
        RunConstants(),
        changed=lambda request: _with_plan(request, shard_group=None),
    ),
    _Switch(
        "embedding and head counted as layers",
        RunConstants(),
        changed=lambda request: _with_plan(request, counts_ends_as_layers=False),
    ),
)


def _step(request: RunRequest, machines: RunMachines, switch: _Switch) -> Step:
    changed = switch.changed(request)
    job = run_job(changed, machines, switch.constants)
    if switch.power_cap_w is not None:
        job = replace(job, power_cap_w=switch.power_cap_w)
    return StepPredictor(job).step(changed.plan)


def _terms() -> dict[str, tuple[str, ...]]:
    paired = {cause for causes in TOGETHER.values() for cause in causes}
    single = {cause: (cause,) for cause in CAUSES if cause not in paired}
    return {**TOGETHER, **single}


def _ablation(name: str, requests: Sequence[RunRequest], times_s: Sequence[float]) -> Ablation:
    logs: dict[str, list[float]] = {}
    for request, time_s in zip(requests, times_s, strict=True):
        log = math.log(time_s / request.measured_step_time_s)
        logs.setdefault(request.source_id, []).append(log)
    # Every source counts alike in the one factor.
    middle = percentile([percentile(found, 0.5) for found in logs.values()], 0.5)
    errors = {
        source: [abs(math.expm1(log - middle)) for log in found] for source, found in logs.items()
    }
    every = [error for found in errors.values() for error in found]
    return Ablation(
        name=name,
        by_source={source: sum(found) / len(found) for source, found in sorted(errors.items())},
        median=percentile(every, 0.5),
    )


def ablations(requests: Sequence[RunRequest], machines: RunMachines) -> tuple[Ablation, ...]:
    """The full model, then each term switched off.

    Parameters
    ----------
    requests
        Runs that can be predicted.
    machines
        Machines they ran on.
    """
    steps = [_step(request, machines, _Switch("", RunConstants())) for request in requests]
    found = [_ablation("everything on", requests, [step.time_s for step in steps])]
    for name, causes in _terms().items():
        times_s = [step.time_s - sum(step.breakdown[c] for c in causes) for step in steps]
        found.append(_ablation(name.replace("_", " "), requests, times_s))
    for switch in SWITCHES:
        switched = [_step(request, machines, switch).time_s for request in requests]
        found.append(_ablation(switch.name, requests, switched))
    return tuple(found)
