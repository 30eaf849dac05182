"""The operations of one transformer layer and of embedding, head and loss, for one micro-batch.

Shapes only: how many rows, columns and bytes one device works on under a plan. Times come from
the kernel models in `layer_time`.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernels.attention.model import AttentionShape
from kernels.gemm.model import FLOP_PER_MULTIPLY_ADD, GemmShape
from twin.training.job import TrainingJob
from twin.training.plan import Plan

__all__ = ["Gemm", "attention_shape", "head_gemm", "layer_gemms", "micro_batch_tokens"]

GRADIENT_BYTES = 4.0
"""Weight gradients are written in fp32. [byte]"""


@dataclass(frozen=True, slots=True)
class Gemm:
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
        """Output gradients (m, n) times weights (n, k)."""
        return GemmShape(self.m, self.k, self.n, element_bytes, element_bytes, output_bytes, 1.0)

    def weight_gradient(self, element_bytes: float) -> GemmShape:
        """Output gradients (n, m) times activations (m, k): the depth is the tokens."""
        return GemmShape(self.n, self.k, self.m, element_bytes, element_bytes, GRADIENT_BYTES, 1.0)


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


def attention_shape(job: TrainingJob, plan: Plan) -> AttentionShape:
    """Fused attention of one micro-batch on one device.

    Context parallelism cuts the queries; with balanced chunks every rank sees the same share of
    the causal triangle.
    """
    model = job.model
    return AttentionShape(
        batch=float(plan.micro_batch),
        n_heads=model.n_heads / plan.tp,
        n_kv_heads=max(model.n_kv_heads / plan.tp, 1.0),
        query_len=job.seq_len / plan.cp,
        key_len=float(job.seq_len),
        head_dim=float(model.head_dim),
        visible_fraction=0.5,
        element_bytes=job.activation_bytes,
    )
