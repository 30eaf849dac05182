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

from dataclasses import dataclass

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

MASTER_BYTES = 4.0
"""Width of the master copy of the weights. [byte]"""

MOST_STAGES_WITHOUT_MIDDLE = 2

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """What one pipeline stage holds."""

    parameters: float
    n_layers: int
    in_flight: float
    """Micro-batches whose activations it keeps at once. [1]"""
    has_head: bool


def _in_flight(plan: Plan, n_micro_batches: int, index: int) -> float:
    """Micro-batches in flight on a stage: p - i for 1F1B; interleaving keeps more chunks. [1]"""
    after = plan.pp - index - 1
    if plan.vpp == 1:
        kept = float(after + 1)
    else:
        kept = ((plan.vpp - 1) * plan.pp + 2 * after + 1) / plan.vpp
    return min(kept, float(n_micro_batches))


def _stages(job: TrainingJob, plan: Plan) -> list[_Stage]:
    """First, second and last stage: one of them is the fullest."""
    n_micro_batches = job.global_batch // (plan.dp * plan.micro_batch)
    first, last = stage_parameters(job.model, plan)
    layers = stages_of(job.model, plan)
    found = [
        _Stage(
            parameters=first,
            n_layers=layers.first_layers,
            in_flight=_in_flight(plan, n_micro_batches, 0),
            has_head=plan.pp == 1,
        )
    ]
    if plan.pp > MOST_STAGES_WITHOUT_MIDDLE:
        found.append(
            _Stage(
                parameters=layers.middle_layers * layer_parameters(job.model) / plan.tp,
                n_layers=layers.middle_layers,
                in_flight=_in_flight(plan, n_micro_batches, 1),
                has_head=False,
            )
        )
    if plan.pp > 1:
        found.append(
            _Stage(
                parameters=last,
                n_layers=layers.last_layers,
                in_flight=_in_flight(plan, n_micro_batches, plan.pp - 1),
                has_head=True,
            )
        )
    return found


def _buffer_bytes(job: TrainingJob, plan: Plan, stage: _Stage) -> float:
    tokens = micro_batch_tokens(job, plan)
    logits = tokens * job.model.vocabulary / plan.tp * LOGIT_BYTES if stage.has_head else 0.0
    gathered = 0.0
    if plan.zero >= ZERO_SHARDS_PARAMETERS:
        gathered = GATHERED_LAYERS * layer_parameters(job.model) / plan.tp
        gathered *= job.activation_bytes + job.framework.gradient_reduce_bytes
    return logits + gathered


def _optimizer_bytes_per_parameter(job: TrainingJob) -> float:
    """Master copy and moments; weights in fp32 are their own master copy. [byte]"""
    state = job.framework.memory.optimizer_state_bytes
    return state - job.activation_bytes if job.activation_bytes >= MASTER_BYTES else state


def _shards_gradients(job: TrainingJob, plan: Plan) -> bool:
    """Whether accumulated gradients are kept in shards.

    Frameworks that reduce once per step keep them whole until then.
    """
    n_micro_batches = job.global_batch // (plan.dp * plan.micro_batch)
    reduces_in_time = job.framework.reduces_every_micro_batch or n_micro_batches == 1
    return plan.zero == ZERO_SHARDS_PARAMETERS or (
        plan.zero >= ZERO_SHARDS_GRADIENTS and reduces_in_time
    )


def _stage_use(
    job: TrainingJob, plan: Plan, stage: _Stage, kept_per_layer_bytes: float
) -> MemoryUse:
    rules = job.framework.memory
    shards = plan.dp * plan.cp
    weights = stage.parameters * job.activation_bytes
    gradients = stage.parameters * rules.gradient_buffer_bytes
    optimizer = stage.parameters * _optimizer_bytes_per_parameter(job)
    if plan.zero >= ZERO_SHARDS_OPTIMIZER:
        optimizer /= shards
    if _shards_gradients(job, plan):
        gradients /= shards
    if plan.zero >= ZERO_SHARDS_PARAMETERS:
        weights /= shards
    activations = kept_per_layer_bytes * stage.n_layers * stage.in_flight
    if plan.recompute == "full":
        activations += activation_bytes_per_layer(job, plan)
    return MemoryUse(
        weights_bytes=weights,
        gradients_bytes=gradients,
        optimizer_bytes=optimizer,
        activations_bytes=activations,
        buffers_bytes=_buffer_bytes(job, plan, stage),
        overhead_bytes=rules.fixed_overhead_bytes + rules.fragmentation_fraction * activations,
    )


def memory_use(job: TrainingJob, plan: Plan) -> MemoryUse:
    """Memory of the fullest device.

    The first stage keeps most micro-batches, the last one has the logits, and one between holds
    more layers where embedding and head are counted as layers; the fullest of them counts.
    """
    kept_bytes = _kept_bytes_per_layer(job, plan)
    uses = [_stage_use(job, plan, stage, kept_bytes) for stage in _stages(job, plan)]
    return max(uses, key=lambda use: use.total_bytes)
