"""Communication of a layer and of a step: how much of it is exposed, how much hides.

Overlap is never free: what hides behind compute takes memory bandwidth and compute units from
it, and a fraction of the hidden time comes back as slower compute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twin.training.groups import Communicators
from twin.training.job import LOW_PRECISIONS, TrainingJob
from twin.training.layer_time import PassTime
from twin.training.operations import micro_batch_tokens
from twin.training.plan import Plan
from twin.training.stages import parameters_per_rank
from twin.workload.parameters import (
    embedding_parameters,
    head_parameters,
    layer_parameters,
)

if TYPE_CHECKING:
    from twin.training.layer_compute import LayerCompute

__all__ = ["DataTraffic", "LayerTraffic", "data_traffic", "gather_bytes", "layer_traffic"]

COLLECTIVES_PER_PASS = 2.0
"""Tensor-parallel reductions per layer and direction: after attention and after the MLP. [1]"""

TENSORS_PER_LAYER = 7.0
"""Weights of a layer: queries, keys and values in one, attention output, three of the MLP, and two
norms. [1]"""

ZERO_SHARDS_PARAMETERS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTraffic:
    """Seconds of communication of one layer and micro-batch."""

    tp_exposed_s: float
    tp_hidden_s: float
    cp_exposed_s: float
    cp_hidden_s: float
    fsdp_exposed_s: float
    fsdp_hidden_s: float
    forward_exposed_s: float
    """Tensor- and context-parallel part of the forward pass: repeated by recomputation. [s]"""
    slowdown_fraction: float

    @property
    def exposed_s(self) -> float:
        """What adds to the layer's time. [s]"""
        return self.tp_exposed_s + self.cp_exposed_s + self.fsdp_exposed_s

    @property
    def slowdown_s(self) -> float:
        """Compute time lost to hidden communication. [s]"""
        hidden_s = self.tp_hidden_s + self.cp_hidden_s + self.fsdp_hidden_s
        return self.slowdown_fraction * hidden_s


@dataclass(frozen=True, slots=True, kw_only=True)
class DataTraffic:
    """Seconds of data-parallel communication of one step."""

    exposed_s: float
    hidden_s: float
    slowdown_s: float
    gradient_s: float
    parameter_s: float


def _tensor_pass_s(job: TrainingJob, plan: Plan, communicators: Communicators) -> float:
    """Tensor-parallel traffic of one direction of a layer. [s]"""
    if plan.tp == 1:
        return 0.0
    message = micro_batch_tokens(job, plan) * job.model.hidden * job.activation_bytes
    if plan.sequence_parallel:
        gather_s = communicators.tensor_time_s("all_gather", message)
        scatter_s = communicators.tensor_time_s("reduce_scatter", message)
        return COLLECTIVES_PER_PASS * (gather_s + scatter_s)
    return COLLECTIVES_PER_PASS * communicators.tensor_time_s("all_reduce", message)


def _is_ordered(job: TrainingJob) -> bool:
    """Whether collectives start when the kernels that they run beside do."""
    architecture = job.machine.accelerator.architecture
    return architecture not in job.framework.overlap.unordered_architectures


def _behind_weights_s(job: TrainingJob, plan: Plan, communicators: Communicators) -> float:
    """Backward reductions of column-parallel layers that run behind weight gradients. [s]"""
    hides = job.framework.overlap.tensor_backward_behind_weights and _is_ordered(job)
    if plan.tp == 1 or not hides:
        return 0.0
    message = micro_batch_tokens(job, plan) * job.model.hidden * job.activation_bytes
    operation = "reduce_scatter" if plan.sequence_parallel else "all_reduce"
    return COLLECTIVES_PER_PASS * communicators.tensor_time_s(operation, message)


def _regather_s(job: TrainingJob, plan: Plan, communicators: Communicators) -> float:
    """Backward gathers of sequence parallelism for the weight gradients; they overlap. [s]"""
    if plan.tp == 1 or not plan.sequence_parallel:
        return 0.0
    message = micro_batch_tokens(job, plan) * job.model.hidden * job.activation_bytes
    return COLLECTIVES_PER_PASS * communicators.tensor_time_s("all_gather", message)


def _context_seconds(
    job: TrainingJob,
    plan: Plan,
    communicators: Communicators,
    forward: PassTime,
    backward: PassTime,
) -> tuple[float, float, float]:
    """Keys and values passed around the context ring: forward exposed, all exposed, hidden. [s]"""
    if plan.cp == 1:
        return 0.0, 0.0, 0.0
    model = job.model
    kv_width = 2.0 * max(model.n_kv_heads / plan.tp, 1.0) * model.head_dim
    message = plan.micro_batch * job.seq_len * kv_width * job.activation_bytes
    forward_s = communicators.context_time_s("all_gather", message)
    backward_s = 2.0 * forward_s
    forward_exposed_s = max(0.0, forward_s - forward.kind_s("attention")) + forward_s / plan.cp
    backward_exposed_s = max(0.0, backward_s - backward.kind_s("attention")) + backward_s / plan.cp
    forward_exposed_s = min(forward_exposed_s, forward_s)
    backward_exposed_s = min(backward_exposed_s, backward_s)
    exposed_s = forward_exposed_s + backward_exposed_s
    return forward_exposed_s, exposed_s, forward_s + backward_s - exposed_s


def gather_bytes(job: TrainingJob) -> float:
    """Bytes per parameter of a layer that is gathered. [byte]"""
    if job.precision in LOW_PRECISIONS:
        return job.framework.low_precision_gather_bytes
    return job.activation_bytes


def _scatter_s(job: TrainingJob, communicators: Communicators, parameters: float) -> float:
    """Gradients of sharded parameters: scattered within a copy, added up between copies. [s]"""
    message = parameters * job.framework.gradient_reduce_bytes
    scatter_s = communicators.shard_time_s("reduce_scatter", message)
    return scatter_s + communicators.replica_time_s(message)


def _sharded_seconds(
    job: TrainingJob,
    plan: Plan,
    communicators: Communicators,
    forward: PassTime,
    backward: PassTime,
) -> tuple[float, float]:
    """Gathers and scatters of sharded parameters, layer by layer: exposed and hidden. [s]"""
    shards_gradients = plan.zero >= 2 and job.framework.reduces_every_micro_batch
    if plan.zero < ZERO_SHARDS_PARAMETERS and not shards_gradients:
        return 0.0, 0.0
    parameters = layer_parameters(job.model) / plan.tp
    gather_s = 0.0
    if plan.zero >= ZERO_SHARDS_PARAMETERS:
        gather_s = communicators.shard_time_s("all_gather", parameters * gather_bytes(job))
    scatter_s = _scatter_s(job, communicators, parameters)
    window = job.framework.overlap.sharded_fraction
    forward_exposed_s = max(0.0, gather_s - window * forward.time_s)
    backward_exposed_s = max(0.0, gather_s + scatter_s - window * backward.time_s)
    exposed_s = forward_exposed_s + backward_exposed_s
    return exposed_s, 2.0 * gather_s + scatter_s - exposed_s


def _sharded_ends_s(
    job: TrainingJob, plan: Plan, communicators: Communicators, compute: LayerCompute
) -> float:
    """Exposed traffic of sharded embedding and head, and of the first and last layer. [s]

    Embedding and head travel once per micro-batch and hide behind the head's own compute; the
    first gather and the last scatter of a step have nothing to hide behind.
    """
    ends = (embedding_parameters(job.model) + head_parameters(job.model)) / plan.tp / plan.pp
    layer = layer_parameters(job.model) / plan.tp

    def gather_s(parameters: float) -> float:
        return communicators.shard_time_s("all_gather", parameters * job.activation_bytes)

    def scatter_s(parameters: float) -> float:
        return _scatter_s(job, communicators, parameters)

    window_s = job.framework.overlap.sharded_fraction * compute.head_s
    n_micro_batches = job.global_batch // (plan.dp * plan.micro_batch)
    per_micro_batch_s = max(0.0, 2.0 * gather_s(ends) + scatter_s(ends) - window_s)
    return n_micro_batches * per_micro_batch_s + gather_s(layer) + scatter_s(layer)


def layer_traffic(
    job: TrainingJob,
    plan: Plan,
    communicators: Communicators,
    forward: PassTime,
    backward: PassTime,
) -> LayerTraffic:
    """Communication of one layer for one micro-batch, forward and backward."""
    overlap = job.framework.overlap
    pass_s = _tensor_pass_s(job, plan, communicators)
    regather_s = _regather_s(job, plan, communicators)
    # Nothing hides behind less compute than it takes itself.
    compute_s = forward.kind_s("gemm") + backward.kind_s("gemm")
    behind_weights_s = _behind_weights_s(job, plan, communicators)
    chunked_s = overlap.tensor_parallel_fraction * (2.0 * pass_s - behind_weights_s)
    hidden_s = min(behind_weights_s + chunked_s, compute_s)
    regather_hidden_s = overlap.tensor_parallel_fraction * regather_s
    if _is_ordered(job):
        regather_hidden_s = min(regather_s, max(0.0, compute_s - hidden_s))
    cp_forward_s, cp_exposed_s, cp_hidden_s = _context_seconds(
        job, plan, communicators, forward, backward
    )
    fsdp_exposed_s, fsdp_hidden_s = _sharded_seconds(job, plan, communicators, forward, backward)
    tp_forward_s = pass_s * (1.0 - overlap.tensor_parallel_fraction)
    tp_backward_s = 2.0 * pass_s - hidden_s + regather_s - regather_hidden_s - tp_forward_s
    forward_share = _added_share(forward, tp_forward_s + cp_forward_s)
    backward_share = _added_share(backward, tp_backward_s + cp_exposed_s - cp_forward_s)
    return LayerTraffic(
        tp_exposed_s=forward_share * tp_forward_s + backward_share * tp_backward_s,
        tp_hidden_s=hidden_s + regather_hidden_s,
        cp_exposed_s=forward_share * cp_forward_s + backward_share * (cp_exposed_s - cp_forward_s),
        cp_hidden_s=cp_hidden_s,
        fsdp_exposed_s=fsdp_exposed_s,
        fsdp_hidden_s=fsdp_hidden_s,
        forward_exposed_s=forward_share * (tp_forward_s + cp_forward_s),
        slowdown_fraction=overlap.slowdown_fraction,
    )


def _added_share(passes: PassTime, traffic_s: float) -> float:
    """Share of exposed traffic that lengthens a pass: the host's launches may take longer. [1]"""
    return passes.lengthened_s(traffic_s) / traffic_s if traffic_s > 0.0 else 0.0


def _windows_s(
    job: TrainingJob, plan: Plan, compute: LayerCompute, n_layers: float
) -> tuple[float, float]:
    """Compute that gradient reduction and parameter gathers may hide behind.

    With one chunk per stage only the last micro-batch's backward pass is left when gradients are
    complete; with interleaved chunks the earlier chunks finish while others still compute.
    """
    overlap = job.framework.overlap
    backward_s = n_layers * compute.backward.time_s
    forward_s = n_layers * compute.forward.time_s
    n_micro_batches = job.global_batch // (plan.dp * plan.micro_batch)
    chunks = 1.0
    if plan.vpp > 1:
        chunks = 1.0 / plan.vpp + (plan.vpp - 1.0) / plan.vpp * min(plan.pp, n_micro_batches)
    return (
        overlap.gradient_fraction * backward_s * chunks,
        overlap.parameter_fraction * forward_s * chunks,
    )


def _exposed_s(traffic_s: float, window_s: float, n_buckets: float) -> float:
    """Traffic beyond the window; the last bucket has nothing left to hide behind. [s]"""
    if window_s <= 0.0:
        return traffic_s
    return min(traffic_s, max(0.0, traffic_s - window_s) + traffic_s / max(1.0, n_buckets))


def _gather_updated_s(
    job: TrainingJob, plan: Plan, communicators: Communicators, parameters: float
) -> float:
    """Updated parameters on their way from the ranks that own them to all others. [s]"""
    message = parameters * job.activation_bytes
    if job.framework.parameter_gather == "broadcast":
        n_tensors = TENSORS_PER_LAYER * job.model.n_layers / plan.pp
        return communicators.broadcasts_time_s(message, n_tensors)
    return communicators.shard_time_s("all_gather", message)


def data_traffic(
    job: TrainingJob,
    plan: Plan,
    communicators: Communicators,
    compute: LayerCompute,
    *,
    n_layers: float,
) -> DataTraffic:
    """Gradient reduction and parameter gathers of one step.

    Sharded parameters travel layer by layer (`layer_traffic`); here only their ends are left.
    """
    shards_each_time = plan.zero >= 2 and job.framework.reduces_every_micro_batch
    if plan.dp * plan.cp == 1:
        return DataTraffic(
            exposed_s=0.0, hidden_s=0.0, slowdown_s=0.0, gradient_s=0.0, parameter_s=0.0
        )
    if plan.zero >= ZERO_SHARDS_PARAMETERS:
        ends_s = _sharded_ends_s(job, plan, communicators, compute)
        return DataTraffic(
            exposed_s=ends_s, hidden_s=0.0, slowdown_s=0.0, gradient_s=ends_s, parameter_s=0.0
        )
    parameters = parameters_per_rank(job.model, plan)
    gradient_bytes = parameters * job.framework.gradient_reduce_bytes
    parameter_s = 0.0
    if plan.zero == 0:
        gradient_s = communicators.data_time_s("all_reduce", gradient_bytes)
    else:
        gradient_s = _scatter_s(job, communicators, parameters)
        parameter_s = _gather_updated_s(job, plan, communicators, parameters)
    if shards_each_time:
        gradient_s = 0.0
    gradient_window_s, parameter_window_s = _windows_s(job, plan, compute, n_layers)
    exposed_s = _exposed_s(gradient_s, gradient_window_s, n_layers)
    exposed_s += _exposed_s(parameter_s, parameter_window_s, n_layers)
    hidden_s = gradient_s + parameter_s - exposed_s
    return DataTraffic(
        exposed_s=exposed_s,
        hidden_s=hidden_s,
        slowdown_s=job.framework.overlap.slowdown_fraction * hidden_s,
        gradient_s=gradient_s,
        parameter_s=parameter_s,
    )
