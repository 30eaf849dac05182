"""Time of a pipeline: the stage that sets the pace, filling and draining, sends between stages."""

from __future__ import annotations

from typing import NamedTuple

from twin.training.job import TrainingJob
from twin.training.operations import micro_batch_tokens
from twin.training.plan import Plan
from twin.training.stages import stages_of

__all__ = ["Pace", "n_micro_batches_of", "pace_of", "pipeline_seconds", "send_bytes"]


def n_micro_batches_of(job: TrainingJob, plan: Plan) -> int:
    """Micro-batches that each pipeline works through in a step. [1]"""
    return job.global_batch // (plan.dp * plan.micro_batch)


class Pace(NamedTuple):
    """Seconds of one micro-batch on the stage that sets the pace, and of the mean stage."""

    slowest_s: float
    mean_s: float
    n_layers: float
    n_heads: float


def pace_of(job: TrainingJob, plan: Plan, layer_s: float, head_s: float) -> Pace:
    """The stage that sets the pace, from the seconds of a layer and of the head.

    Neither slowest nor mean falls when a layer or the head takes longer.
    """
    stages = stages_of(job.model, plan)
    if plan.pp == 1:
        total_s = stages.first_layers * layer_s + head_s
        return Pace(total_s, total_s, stages.first_layers, 1.0)
    middle_s = stages.middle_layers * layer_s
    last_s = stages.last_layers * layer_s + head_s
    mean_s = (job.model.n_layers * layer_s + head_s) / plan.pp
    if last_s >= middle_s:
        return Pace(last_s, mean_s, stages.last_layers, 1.0)
    return Pace(middle_s, mean_s, stages.middle_layers, 0.0)


def pipeline_seconds(
    job: TrainingJob, plan: Plan, pace: Pace, send_s: float
) -> tuple[float, float]:
    """Bubble and exposed sends of the pipeline schedule.

    Returns
    -------
    tuple of float
        Fill and drain (p-1)/v of the mean stage; sends that the schedule exposes. [s]

    References
    ----------
    D. Narayanan et al., SC21, section 2.2 (bubble of 1F1B and of interleaved chunks).
    """
    if plan.pp == 1:
        return 0.0, 0.0
    overlap = job.framework.overlap
    bubble_s = (plan.pp - 1) / plan.vpp * pace.mean_s
    exposed = overlap.pipeline_exposed_fraction
    if plan.vpp > 1:
        exposed = overlap.interleaved_exposed_fraction
    sends = 2.0 * plan.vpp * n_micro_batches_of(job, plan) * exposed + 2.0 * (plan.pp - 1)
    return bubble_s, sends * send_s


def send_bytes(job: TrainingJob, plan: Plan) -> float:
    """Activations between stages; tensor-parallel ranks each send their part. [byte]"""
    tokens = micro_batch_tokens(job, plan)
    return tokens * job.model.hidden * job.activation_bytes / plan.tp
