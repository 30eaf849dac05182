"""Memory of the fullest device, by component.

Activations are counted tensor by tensor as a layer keeps them for its backward pass, in the
widths of mixed-precision training.

References
----------
V. Korthikanti et al., Reducing Activation Recomputation in Large Transformer Models, 2022,
section 4 (per-tensor activation bytes, in-flight micro-batches, interleaving surcharge).
S. Rajbhandari et al., ZeRO, SC20, section 3 (what each stage shards).
"""

from __future__ import annotations

from twin.prediction import MemoryUse
from twin.training.job import TrainingJob
from twin.training.operations import micro_batch_tokens
from twin.training.plan import Plan
from twin.training.stages import stage_parameters, stages_of
from twin.workload.parameters import layer_parameters

__all__ = ["activation_bytes_per_layer", "memory_use"]

DROPOUT_MASK_BYTES = 1.0
"""One byte per element. [byte]"""

LOG_SUM_EXP_BYTES = 4.0
"""Kept by fused attention per query and head. [byte]"""

SCORE_BYTES = 5.0
"""Unfused attention keeps softmax output, dropout mask and dropout output. [byte]"""

LOGIT_BYTES = 6.0
"""Logits in 16 bits and their gradient in fp32. [byte]"""

GATHERED_LAYERS = 2.0
"""Layers whose full parameters are present at once under ZeRO-3: current and prefetched. [1]"""

ZERO_SHARDS_OPTIMIZER, ZERO_SHARDS_GRADIENTS, ZERO_SHARDS_PARAMETERS = 1, 2, 3


def _attention_bytes(job: TrainingJob, plan: Plan, tokens: float) -> float:
    model = job.model
    heads = model.n_heads / plan.tp
    if plan.attention == "unfused":
        return SCORE_BYTES * heads * tokens * job.seq_len
    return LOG_SUM_EXP_BYTES * heads * tokens


def activation_bytes_per_layer(job: TrainingJob, plan: Plan) -> float:
    """What one layer keeps of one micro-batch without any recomputation. [byte]"""
    model, tp = job.model, plan.tp
    width = job.activation_bytes
    tokens = micro_batch_tokens(job, plan)
    split = tp if plan.sequence_parallel else 1
    gates = 2.0 if model.is_gated_mlp else 1.0
    # Inputs of both norms and both column-parallel layers.
    whole = 4.0 * width * model.hidden / split
    if job.framework.memory.has_dropout:
        whole += 2.0 * DROPOUT_MASK_BYTES * model.hidden / split
    queries = model.n_heads * model.head_dim / tp
    keys = 2.0 * max(model.n_kv_heads / tp, 1.0) * model.head_dim
    sharded = width * (2.0 * queries + keys + (gates + 1.0) * model.ffn_hidden / tp)
    return tokens * (whole + sharded) + _attention_bytes(job, plan, tokens)


def _kept_bytes_per_layer(job: TrainingJob, plan: Plan) -> float:
    full = activation_bytes_per_layer(job, plan)
    if plan.recompute == "none":
        return full
    tokens = micro_batch_tokens(job, plan)
    if plan.recompute == "selective":
        saved = _attention_bytes(job, plan, tokens) if plan.attention == "unfused" else 0.0
        saved += job.framework.selective_recompute_fraction * (full - saved)
        return full - saved
    split = plan.tp if plan.sequence_parallel else 1
    checkpoint = tokens * job.activation_bytes * job.model.hidden / split
    if plan.recompute_layers is None:
        return checkpoint
    share = min(1.0, plan.recompute_layers / job.model.n_layers)
    return share * checkpoint + (1.0 - share) * full


def _activation_bytes(job: TrainingJob, plan: Plan) -> float:
    n_micro_batches = job.global_batch // (plan.dp * plan.micro_batch)
    in_flight = float(min(plan.pp, n_micro_batches))
    if plan.vpp > 1:
        in_flight *= 1.0 + (plan.pp - 1.0) / (plan.pp * plan.vpp)
        in_flight = min(in_flight, float(n_micro_batches))
    kept = _kept_bytes_per_layer(job, plan) * stages_of(job.model, plan).first_layers * in_flight
    if plan.recompute == "full":
        kept += activation_bytes_per_layer(job, plan)
    return kept


def _buffer_bytes(job: TrainingJob, plan: Plan) -> float:
    tokens = micro_batch_tokens(job, plan)
    logits = tokens * job.model.vocabulary / plan.tp * LOGIT_BYTES if plan.pp == 1 else 0.0
    gathered = 0.0
    if plan.zero >= ZERO_SHARDS_PARAMETERS:
        gathered = GATHERED_LAYERS * layer_parameters(job.model) / plan.tp
        gathered *= job.activation_bytes + job.framework.gradient_reduce_bytes
    return logits + gathered


def memory_use(job: TrainingJob, plan: Plan) -> MemoryUse:
    """Memory of the fullest device: the first pipeline stage, which keeps most micro-batches."""
    rules = job.framework.memory
    first, last = stage_parameters(job.model, plan)
    parameters = max(first, last)
    shards = plan.dp * plan.cp
    weights = parameters * job.activation_bytes
    gradients = parameters * rules.gradient_buffer_bytes
    optimizer = parameters * rules.optimizer_state_bytes
    if plan.zero >= ZERO_SHARDS_OPTIMIZER:
        optimizer /= shards
    if plan.zero >= ZERO_SHARDS_GRADIENTS:
        gradients /= shards
    if plan.zero >= ZERO_SHARDS_PARAMETERS:
        weights /= shards
    activations = _activation_bytes(job, plan)
    return MemoryUse(
        weights_bytes=weights,
        gradients_bytes=gradients,
        optimizer_bytes=optimizer,
        activations_bytes=activations,
        buffers_bytes=_buffer_bytes(job, plan),
        overhead_bytes=rules.fixed_overhead_bytes + rules.fragmentation_fraction * activations,
    )
