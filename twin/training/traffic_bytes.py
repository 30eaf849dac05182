"""Bytes that one device sends to others in a step: what links and network cards carry."""

from __future__ import annotations

from kernels.all_reduce.model import wire_factor
from twin.training.job import TrainingJob
from twin.training.operations import micro_batch_tokens
from twin.training.plan import Plan
from twin.training.stages import parameters_per_rank

__all__ = ["link_bytes_per_step"]

TENSOR_REDUCTIONS = 4.0
"""All-reduces of a layer: two forward, two backward. [1]"""


def link_bytes_per_step(job: TrainingJob, plan: Plan, n_micro_batches: int) -> float:
    """Bytes sent by the mean device in one step, over all parallel dimensions. [byte]"""
    tokens = micro_batch_tokens(job, plan)
    activation = tokens * job.model.hidden * job.activation_bytes
    layers = n_micro_batches * job.model.n_layers / plan.pp
    sent = 0.0
    if plan.tp > 1:
        sent += layers * TENSOR_REDUCTIONS * activation * wire_factor(plan.tp, True)
    if plan.pp > 1:
        sent += 2.0 * plan.vpp * n_micro_batches * activation / plan.tp
    shards = plan.dp * plan.cp
    if shards > 1:
        times = n_micro_batches if plan.zero == 3 else 1
        width = job.framework.gradient_reduce_bytes + job.activation_bytes
        sent += times * parameters_per_rank(job.model, plan) * width * wire_factor(shards, False)
    return sent
