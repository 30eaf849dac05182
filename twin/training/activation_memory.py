"""What one layer keeps of one micro-batch for its backward pass, tensor by tensor.

References
----------
V. Korthikanti et al., Reducing Activation Recomputation in Large Transformer Models, 2022,
section 4 (bytes by tensor; in-flight micro-batches and the surcharge of interleaving are counted
in `memory`).
NVIDIA/TransformerEngine, module/layernorm_linear.py (linear layers in 8 bits keep the 8-bit copy
of their input; norms, attention and the residual stream stay in 16 bits).
"""

from __future__ import annotations

from dataclasses import dataclass

from twin.training.job import TrainingJob
from twin.training.operations import micro_batch_tokens
from twin.training.plan import Plan

__all__ = [
    "activation_bytes_per_layer",
    "boundary_bytes",
    "kept_bytes_per_layer",
    "working_bytes",
]

DROPOUT_MASK_BYTES = 1.0
"""One byte per element. [byte]"""

LOG_SUM_EXP_BYTES = 4.0
"""Kept by fused attention per query and head. [byte]"""

SCORE_BYTES = 5.0
"""Unfused attention keeps softmax output, dropout mask and dropout output. [byte]"""

GATHERED_SEQUENCES = 2.0
"""With sequence parallelism a layer's backward pass holds the whole sequence twice: the gathered
input of a linear layer and the gathered gradient of its output. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Widths:
    """Per-token widths of one rank's tensors and the bytes of their elements."""

    stream: float
    """Hidden width where norms and residuals work. [1]"""
    queries: float
    key_values: float
    """Keys and values together. [1]"""
    ffn: float
    n_gates: float
    """Products that feed the activation of the MLP: 2 if gated. [1]"""
    element_bytes: float
    """Between kernels. [byte]"""
    input_bytes: float
    """Kept of the input of a linear layer. [byte]"""
    activation_input_bytes: float
    """Kept of the input of the MLP's activation. [byte]"""


def _widths(job: TrainingJob, plan: Plan) -> _Widths:
    model, rules, width = job.model, job.framework.memory, job.activation_bytes
    is_8_bit = job.precision == "fp8"
    return _Widths(
        stream=model.hidden / (plan.tp if plan.sequence_parallel else 1),
        queries=model.n_heads * model.head_dim / plan.tp,
        # Fewer key-value heads than tensor ranks are replicated.
        key_values=2.0 * max(model.n_kv_heads / plan.tp, 1.0) * model.head_dim,
        ffn=model.ffn_hidden / plan.tp,
        n_gates=2.0 if model.is_gated_mlp else 1.0,
        element_bytes=width,
        input_bytes=rules.fp8_input_bytes if is_8_bit else width,
        activation_input_bytes=rules.fp8_activation_input_bytes if is_8_bit else width,
    )


def _attention_core_bytes(job: TrainingJob, plan: Plan, tokens: float) -> float:
    """Scores, or what fused attention keeps instead of them. [byte]"""
    heads = job.model.n_heads / plan.tp
    if plan.attention == "unfused":
        return SCORE_BYTES * heads * tokens * job.seq_len
    return LOG_SUM_EXP_BYTES * heads * tokens


def activation_bytes_per_layer(job: TrainingJob, plan: Plan) -> float:
    """What one layer keeps of one micro-batch without any recomputation. [byte]"""
    tokens, of = micro_batch_tokens(job, plan), _widths(job, plan)
    # Inputs of both norms, and what the column-parallel layers read of their outputs.
    per_token = 2.0 * (of.element_bytes + of.input_bytes) * of.stream
    if job.framework.memory.has_dropout:
        per_token += 2.0 * DROPOUT_MASK_BYTES * of.stream
    # Attention keeps its output for itself; the projection after it only another width of it.
    per_token += of.element_bytes * (2.0 * of.queries + of.key_values)
    if of.input_bytes < of.element_bytes:
        per_token += of.input_bytes * of.queries
    per_token += (of.activation_input_bytes * of.n_gates + of.input_bytes) * of.ffn
    return tokens * per_token + _attention_core_bytes(job, plan, tokens)


def _every_second_product_bytes(job: TrainingJob, plan: Plan) -> float:
    """Kept when every second matrix product and the attention core are spared recomputation.

    Of the seven products of a gated layer the first, third, fifth and last: queries, values, the
    first of the gates, and the output of the MLP; with the input of the layer. [byte]
    """
    tokens, of = micro_batch_tokens(job, plan), _widths(job, plan)
    kept = 2.0 * of.stream + 2.0 * of.queries + 0.5 * of.key_values + of.ffn
    return tokens * of.element_bytes * kept + _attention_core_bytes(job, plan, tokens)


def _selective_bytes(job: TrainingJob, plan: Plan) -> float:
    if job.framework.memory.selective_keeps == "every_second_product":
        return _every_second_product_bytes(job, plan)
    full = activation_bytes_per_layer(job, plan)
    if plan.attention == "unfused":
        return full - _attention_core_bytes(job, plan, micro_batch_tokens(job, plan))
    return full


def kept_bytes_per_layer(job: TrainingJob, plan: Plan) -> float:
    """What one layer keeps of one micro-batch under the plan's recomputation. [byte]"""
    if plan.recompute == "selective":
        return _selective_bytes(job, plan)
    full = activation_bytes_per_layer(job, plan)
    if plan.recompute == "none":
        return full
    of = _widths(job, plan)
    checkpoint = micro_batch_tokens(job, plan) * of.element_bytes * of.stream
    if plan.recompute_layers is None:
        return checkpoint
    share = min(1.0, plan.recompute_layers / job.model.n_layers)
    return share * checkpoint + (1.0 - share) * full


def boundary_bytes(job: TrainingJob, plan: Plan) -> float:
    """What a pipeline stage keeps of one micro-batch at its borders. [byte]"""
    if plan.pp == 1:
        return 0.0
    stream = micro_batch_tokens(job, plan) * job.activation_bytes * _widths(job, plan).stream
    return job.framework.memory.n_boundary_copies * stream


def working_bytes(job: TrainingJob, plan: Plan) -> float:
    """What the backward pass of one layer needs besides what is kept. [byte]

    The recomputed activations of that layer, and the whole sequence where ranks share it.
    """
    working = 0.0
    if plan.recompute != "none":
        working += max(0.0, activation_bytes_per_layer(job, plan) - kept_bytes_per_layer(job, plan))
    if plan.sequence_parallel:
        tokens = micro_batch_tokens(job, plan)
        working += GATHERED_SEQUENCES * tokens * job.activation_bytes * job.model.hidden
    return working
