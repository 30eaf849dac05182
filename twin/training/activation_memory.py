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

from typing import NamedTuple

from twin.training.job import ELEMENT_BYTES, TrainingJob
from twin.training.operations import micro_batch_tokens
from twin.training.plan import Plan, Recompute

__all__ = ["LayerActivations", "is_low_precision", "layer_activations"]

DROPOUT_MASK_BYTES = 1.0
"""One byte per element. [byte]"""

LOG_SUM_EXP_BYTES = 4.0
"""Kept by fused attention per query and head. [byte]"""

SCORE_BYTES = 5.0
"""Unfused attention keeps softmax output, dropout mask and dropout output. [byte]"""

GATHERED_SEQUENCES = 2.0
"""With sequence parallelism a layer's backward pass holds the whole sequence twice: the gathered
input of a linear layer and the gathered gradient of its output. [1]"""


class LayerActivations(NamedTuple):
    """Activations of one micro-batch on one device."""

    whole_bytes: float
    """What a layer keeps without recomputation. [byte]"""
    kept_bytes: float
    """What it keeps under the plan's recomputation. [byte]"""
    working_bytes: float
    """What its backward pass needs besides: what is recomputed, and the whole sequence where ranks
    share it. [byte]"""
    boundary_bytes: float
    """What a pipeline stage, or chunk of one, keeps at its borders. [byte]"""


class _Widths(NamedTuple):
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


def is_low_precision(job: TrainingJob) -> bool:
    """Whether matrix products take narrower operands than what lies between kernels."""
    return ELEMENT_BYTES[job.precision] < job.activation_bytes


def _widths(job: TrainingJob, plan: Plan) -> _Widths:
    model, rules, width = job.model, job.framework.memory, job.activation_bytes
    is_low = is_low_precision(job)
    return _Widths(
        stream=model.hidden / (plan.tp if plan.sequence_parallel else 1),
        queries=model.n_heads * model.head_dim / plan.tp,
        # Fewer key-value heads than tensor ranks are replicated.
        key_values=2.0 * max(model.n_kv_heads / plan.tp, 1.0) * model.head_dim,
        ffn=model.ffn_hidden / plan.tp,
        n_gates=2.0 if model.is_gated_mlp else 1.0,
        element_bytes=width,
        input_bytes=rules.fp8_input_bytes if is_low else width,
        activation_input_bytes=rules.fp8_activation_input_bytes if is_low else width,
    )


def _attention_core_bytes(job: TrainingJob, plan: Plan) -> float:
    """Per token: scores, or what fused attention keeps instead of them. [byte]"""
    heads = job.model.n_heads / plan.tp
    if plan.attention == "unfused":
        return SCORE_BYTES * heads * job.seq_len
    return LOG_SUM_EXP_BYTES * heads


def _whole_bytes(of: _Widths, *, core_bytes: float, has_dropout: bool) -> float:
    """Per token, without any recomputation. [byte]"""
    # Inputs of both norms, and what the column-parallel layers read of their outputs.
    norms = 2.0 * (of.element_bytes + of.input_bytes) * of.stream
    if has_dropout:
        norms += 2.0 * DROPOUT_MASK_BYTES * of.stream
    # Attention keeps its output for itself; the projection after it only another width of it.
    attention = of.element_bytes * (2.0 * of.queries + of.key_values)
    if of.input_bytes < of.element_bytes:
        attention += of.input_bytes * of.queries
    mlp = (of.activation_input_bytes * of.n_gates + of.input_bytes) * of.ffn
    return norms + attention + mlp + core_bytes


def _every_second_product_bytes(of: _Widths, *, core_bytes: float) -> float:
    """Per token, when every second matrix product and the attention core are spared.

    Of the seven products of a gated layer the first, third, fifth and last: queries, values, the
    first of the gates, and the output of the MLP; with the input of the layer. [byte]
    """
    kept = 2.0 * of.stream + 2.0 * of.queries + 0.5 * of.key_values + of.ffn
    return of.element_bytes * kept + core_bytes


def _kept_bytes(
    job: TrainingJob, plan: Plan, of: _Widths, *, recompute: Recompute, whole_bytes: float
) -> float:
    """Per token, under a recomputation. [byte]"""
    if recompute == "none":
        return whole_bytes
    if recompute == "selective":
        core = _attention_core_bytes(job, plan)
        if job.framework.memory.selective_keeps == "every_second_product":
            return _every_second_product_bytes(of, core_bytes=core)
        return whole_bytes - core if plan.attention == "unfused" else whole_bytes
    checkpoint = of.element_bytes * of.stream
    if plan.recompute_layers is None:
        return checkpoint
    share = min(1.0, plan.recompute_layers / job.model.n_layers)
    return share * checkpoint + (1.0 - share) * whole_bytes


def layer_activations(
    job: TrainingJob, plan: Plan, recompute: Recompute | None = None
) -> LayerActivations:
    """What one layer keeps and works with, and what a stage keeps at its borders.

    Recomputation is the plan's, or the one that is named.
    """
    of, rules = _widths(job, plan), job.framework.memory
    core = _attention_core_bytes(job, plan)
    whole = _whole_bytes(of, core_bytes=core, has_dropout=rules.has_dropout)
    kept = _kept_bytes(job, plan, of, recompute=recompute or plan.recompute, whole_bytes=whole)
    working = max(0.0, whole - kept)
    if plan.sequence_parallel:
        working += GATHERED_SEQUENCES * of.element_bytes * job.model.hidden
    border = rules.n_boundary_copies * of.element_bytes * of.stream if plan.pp > 1 else 0.0
    tokens = micro_batch_tokens(job, plan)
    return LayerActivations(tokens * whole, tokens * kept, tokens * working, tokens * border)
