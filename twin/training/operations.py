"""The operations of one transformer layer and of embedding, head and loss, for one micro-batch.

Shapes only: how many rows, columns and bytes one device works on under a plan. Times come from
the kernel models in `layer_time`.
"""

from __future__ import annotations

from typing import NamedTuple

from kernels.attention.model import AttentionShape
from kernels.gemm.model import FLOP_PER_MULTIPLY_ADD, GemmShape
from twin.training.job import TrainingJob
from twin.training.plan import Plan

__all__ = [
    "OTHER_RANKS",
    "AttentionCall",
    "Gemm",
    "attention_calls",
    "attention_shape",
    "head_gemm",
    "layer_gemms",
    "micro_batch_tokens",
    "ring_merge_bytes",
]

OTHER_RANKS = "attention, keys of other ranks"
"""Name of the calls that context parallelism adds."""

GRADIENT_BYTES = 4.0
"""Weight gradients are written in fp32. [byte]"""


class Gemm(NamedTuple):
    """One linear layer's product: tokens times a weight of n by k."""

    name: str
    m: float
    n: float
    k: float

    @property
    def flop(self) -> float:
        """Work of one direction. [flop]"""
        return FLOP_PER_MULTIPLY_ADD * self.m * self.n * self.k

    def forward(self, element_bytes: float, output_bytes: float) -> GemmShape:
        """Activations (m, k) times weights (k, n)."""
        return GemmShape(self.m, self.n, self.k, element_bytes, element_bytes, output_bytes, 1.0)

    def input_gradient(self, element_bytes: float, output_bytes: float) -> GemmShape:
        """Output gradients (m, n) times weights (n, k), which are stored as (k, n)."""
        width = element_bytes
        return GemmShape(self.m, self.k, self.n, width, width, output_bytes, 1.0, 0.0, 1.0)

    def weight_gradient(self, element_bytes: float) -> GemmShape:
        """Output gradients, stored as (m, n), transposed times activations (m, k)."""
        width = element_bytes
        return GemmShape(self.n, self.k, self.m, width, width, GRADIENT_BYTES, 1.0, 1.0, 0.0)


def micro_batch_tokens(job: TrainingJob, plan: Plan) -> float:
    """Tokens of one micro-batch on one device: context ranks share a sequence. [token]"""
    return float(plan.micro_batch) * job.seq_len / plan.cp


def layer_gemms(job: TrainingJob, plan: Plan) -> tuple[Gemm, ...]:
    """The four linear layers of a transformer layer, column- then row-parallel."""
    model, tp = job.model, plan.tp
    tokens = micro_batch_tokens(job, plan)
    attention_width = model.n_heads * model.head_dim / tp
    # Fewer key-value heads than tensor ranks are replicated.
    kv_width = max(model.n_kv_heads / tp, 1.0) * model.head_dim
    gates = 2.0 if model.is_gated_mlp else 1.0
    ffn_width = model.ffn_hidden / tp
    hidden = float(model.hidden)
    return (
        Gemm("qkv", tokens, attention_width + 2.0 * kv_width, hidden),
        Gemm("attention output", tokens, hidden, attention_width),
        Gemm("mlp up", tokens, gates * ffn_width, hidden),
        Gemm("mlp down", tokens, hidden, ffn_width),
    )


def head_gemm(job: TrainingJob, plan: Plan) -> Gemm:
    """The output head: logits over this rank's part of the vocabulary."""
    tokens = micro_batch_tokens(job, plan)
    return Gemm("output head", tokens, job.model.vocabulary / plan.tp, float(job.model.hidden))


class AttentionCall(NamedTuple):
    """One shape of fused attention, and how often a layer calls it in one direction."""

    name: str
    shape: AttentionShape
    n_calls: float
    """Calls of the rank that sets the pace. [1]"""
    n_mean_calls: float
    """Calls of the mean rank. [1]"""


def attention_shape(job: TrainingJob, plan: Plan) -> AttentionShape:
    """Fused attention of one micro-batch among the tokens of one device.

    Context ranks hold a share of the sequence each.
    """
    model = job.model
    length = job.seq_len / plan.cp
    return AttentionShape(
        batch=float(plan.micro_batch),
        n_heads=model.n_heads / plan.tp,
        n_kv_heads=max(model.n_kv_heads / plan.tp, 1.0),
        query_len=length,
        key_len=length,
        head_dim=float(model.head_dim),
        visible_fraction=0.5,
        element_bytes=job.activation_bytes,
    )


def attention_calls(job: TrainingJob, plan: Plan) -> tuple[AttentionCall, ...]:
    """Fused attention of one micro-batch: among one's own tokens, then with each other rank's keys.

    Balanced ranks hold chunks from both ends of the sequence and see half of each other rank's
    keys; otherwise the rank with the last chunk sees all keys of all others and sets the pace.

    References
    ----------
    H. Liu et al., Ring Attention with Blockwise Transformers, 2023; W. Brandon et al., Striped
    Attention, 2023, section 3 (imbalance of the causal ring).
    """
    own = attention_shape(job, plan)
    calls = [AttentionCall("attention core", own, 1.0, 1.0)]
    if plan.cp > 1:
        balanced = job.framework.context_balanced
        keys = own.key_len / 2.0 if balanced else own.key_len
        others = own._replace(key_len=keys, visible_fraction=1.0)
        n_calls = plan.cp - 1.0
        mean = n_calls if balanced else n_calls / 2.0
        calls.append(AttentionCall(OTHER_RANKS, others, n_calls, mean))
    return tuple(calls)


def ring_merge_bytes(job: TrainingJob, plan: Plan, *, is_forward: bool) -> float:
    """Traffic of joining what attention with each other rank's keys gave. [byte]

    Forward the partial output is read in 16 bits and added to a sum in fp32; backward gradients of
    queries, keys and values are added up in 16 bits. Unfused attention sees all keys at once.
    """
    if plan.cp == 1 or plan.attention == "unfused":
        return 0.0
    model = job.model
    tokens = micro_batch_tokens(job, plan)
    queries = tokens * model.n_heads * model.head_dim / plan.tp
    keys = 2.0 * tokens * max(model.n_kv_heads / plan.tp, 1.0) * model.head_dim
    narrow, wide = job.activation_bytes, 4.0
    per_call = queries * (narrow + 2.0 * wide) if is_forward else 3.0 * narrow * (queries + keys)
    return (plan.cp - 1.0) * per_call
