"""Bytes that one device sends to others in a step: what links and network cards carry."""

from __future__ import annotations

from kernels.all_reduce.model import PATTERNS, wire_factor
from twin.training.communication import gather_bytes
from twin.training.job import TrainingJob
from twin.training.operations import micro_batch_tokens
from twin.training.plan import Plan
from twin.training.stages import parameters_per_rank

__all__ = ["activation_link_bytes", "layer_link_bytes", "link_bytes_per_step"]

TENSOR_REDUCTIONS = 4.0
"""All-reduces of a layer: two forward, two backward. [1]"""

CONTEXT_PASSES = 3.0
"""Keys and values go round once forward, once backward, and their gradients come back. [1]"""

ZERO_SHARDS_GRADIENTS, ZERO_SHARDS_PARAMETERS = 2, 3

ALL_REDUCE, ALL_GATHER = PATTERNS["all_reduce"], PATTERNS["all_gather"]


def layer_link_bytes(job: TrainingJob, plan: Plan) -> float:
    """Bytes that one device sends to tensor and context ranks in a layer, both passes. [byte]"""
    sent = 0.0
    if plan.tp > 1:
        activation = micro_batch_tokens(job, plan) * job.model.hidden * job.activation_bytes
        sent += TENSOR_REDUCTIONS * activation * wire_factor(plan.tp, ALL_REDUCE)
    if plan.cp > 1:
        kv_width = 2.0 * max(job.model.n_kv_heads / plan.tp, 1.0) * job.model.head_dim
        message = plan.micro_batch * job.seq_len * kv_width * job.activation_bytes
        sent += CONTEXT_PASSES * message * wire_factor(plan.cp, ALL_GATHER)
    return sent


def activation_link_bytes(job: TrainingJob, plan: Plan, n_micro_batches: int) -> float:
    """Bytes of activations, keys and values that the mean device sends in one step. [byte]"""
    layers = n_micro_batches * job.model.n_layers / plan.pp
    sent = layers * layer_link_bytes(job, plan)
    if plan.pp > 1:
        activation = micro_batch_tokens(job, plan) * job.model.hidden * job.activation_bytes
        sent += 2.0 * plan.vpp * n_micro_batches * activation / plan.tp
    return sent


def _data_link_bytes(job: TrainingJob, plan: Plan, n_micro_batches: int) -> float:
    """Bytes of gradients and parameters that one device sends to its replicas. [byte]

    Sharded states travel within a copy; gradients of the shard are added up between copies too.
    """
    parameters = parameters_per_rank(job.model, plan)
    gradient_bytes = parameters * job.framework.gradient_reduce_bytes
    if plan.zero == 0:
        return gradient_bytes * wire_factor(plan.n_gradient_ranks, ALL_REDUCE)
    shards_parameters = plan.zero >= ZERO_SHARDS_PARAMETERS
    reduces_each_time = (
        plan.zero >= ZERO_SHARDS_GRADIENTS and job.framework.reduces_every_micro_batch
    )
    n_reductions = n_micro_batches if shards_parameters or reduces_each_time else 1
    n_gathers = 2.0 * n_micro_batches if shards_parameters else 1.0
    width = gather_bytes(job) if shards_parameters else job.activation_bytes
    within = wire_factor(plan.n_shards, ALL_GATHER)
    n_copies = plan.n_gradient_ranks // plan.n_shards
    between = wire_factor(n_copies, ALL_REDUCE) / plan.n_shards
    reduced_bytes = n_reductions * gradient_bytes * (within + between)
    return reduced_bytes + n_gathers * parameters * width * within


def link_bytes_per_step(job: TrainingJob, plan: Plan, n_micro_batches: int) -> float:
    """Bytes sent by the mean device in one step, over all parallel dimensions. [byte]"""
    sent = activation_link_bytes(job, plan, n_micro_batches)
    return sent + _data_link_bytes(job, plan, n_micro_batches)
