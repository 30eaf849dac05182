"""Shapes of real training: matrix products and attention calls of known models' layers."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

__all__ = [
    "DIRECTIONS",
    "AttentionShape",
    "GemmShape",
    "LayerShape",
    "Linear",
    "attention_shapes",
    "gemm_of",
    "layer_shapes",
    "linear_layers",
    "training_gemms",
]

DIRECTIONS: Final = ("fwd", "dgrad", "wgrad")
TP_DEGREES: Final = (1, 2, 4, 8)
TOKENS: Final = (8192, 4096, 16384, 2048, 32768)
"""Tokens per micro-batch and device, the most common first. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """Widths of one transformer layer and of the output head."""

    name: str
    hidden: int
    ffn_hidden: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocabulary: int
    is_gated: bool
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """One linear layer on one device: y[tokens, n_out] = x[tokens, n_in] W^T."""

    name: str
    n_out: int
    n_in: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmShape:
    """C[m,n] = A[m,k] B[k,n], and where it comes from."""

    m: int
    n: int
    k: int
    layout: str
    """BLAS letters, as a column-major library sees the row-major operands."""
    direction: str = ""
    role: str = ""

    @property
    def flop(self) -> float:
        """Work, a multiply-add counted as two. [flop]."""
        return 2.0 * self.m * self.n * self.k

    @property
    def size(self) -> tuple[int, int, int, str]:
        """What makes two shapes the same measurement."""
        return self.m, self.n, self.k, self.layout


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionShape:
    """Self-attention of one micro-batch on one device."""

    batch: int
    heads_q: int
    heads_kv: int
    seq: int
    head_dim: int
    is_causal: bool
    role: str = ""

    @property
    def flop(self) -> float:
        """Work of the forward pass: two products, half of it under a causal mask. [flop]."""
        full = 4.0 * self.batch * self.heads_q * self.seq**2 * self.head_dim
        return full / 2 if self.is_causal else full

    @property
    def backward_flop(self) -> float:
        """Work of the backward pass: five products for the forward pass's two. [flop]."""
        return 2.5 * self.flop

    @property
    def n_elements(self) -> int:
        """Elements of Q, K, V and O together. [1]."""
        return 2 * self.batch * self.seq * self.head_dim * (self.heads_q + self.heads_kv)


@cache
def layer_shapes() -> tuple[LayerShape, ...]:
    """Return the table of models, in the order of layers.toml."""
    text = (Path(__file__).parent / "layers.toml").read_text(encoding="utf-8")
    return tuple(LayerShape(**entry) for entry in tomllib.loads(text)["model"])


def linear_layers(model: LayerShape, *, tp: int) -> tuple[Linear, ...]:
    """Linear layers of one transformer layer and the output head, per tensor-parallel rank.

    Column-parallel layers are split over their outputs, row-parallel ones over their inputs
    (Shoeybi et al. 2019, section 3). Key-value heads are replicated where tp exceeds their number.
    """
    heads = model.n_heads // tp
    kv_heads = max(1, model.n_kv_heads // tp)
    ffn = model.ffn_hidden // tp
    qkv = (heads + 2 * kv_heads) * model.head_dim
    return (
        Linear(name="qkv", n_out=qkv, n_in=model.hidden),
        Linear(name="proj", n_out=model.hidden, n_in=heads * model.head_dim),
        Linear(name="up", n_out=(2 if model.is_gated else 1) * ffn, n_in=model.hidden),
        Linear(name="down", n_out=model.hidden, n_in=ffn),
        Linear(name="head", n_out=model.vocabulary // tp, n_in=model.hidden),
    )


def gemm_of(linear: Linear, *, tokens: int, direction: str, role: str = "") -> GemmShape:
    """Matrix product of one pass of a linear layer.

    Forward x W^T, gradient of the input dy W, gradient of the weights dy^T x; all three do the
    same work.
    """
    out, inner = linear.n_out, linear.n_in
    sizes = {
        "fwd": (tokens, out, inner, "TN"),
        "dgrad": (tokens, inner, out, "NN"),
        "wgrad": (out, inner, tokens, "NT"),
    }
    m, n, k, layout = sizes[direction]
    return GemmShape(m=m, n=n, k=k, layout=layout, direction=direction, role=role)


def training_gemms(
    *,
    models: tuple[str, ...] | None = None,
    tp_degrees: tuple[int, ...] = TP_DEGREES,
    tokens: tuple[int, ...] = TOKENS,
    directions: tuple[str, ...] = DIRECTIONS,
) -> tuple[GemmShape, ...]:
    """Distinct matrix products of the models' layers, in the order given."""
    distinct: dict[tuple[int, int, int, str], GemmShape] = {}
    for shape in _all_gemms(models, tp_degrees, tokens, directions):
        distinct.setdefault(shape.size, shape)
    return tuple(distinct.values())


def _all_gemms(
    models: tuple[str, ...] | None,
    tp_degrees: tuple[int, ...],
    tokens: tuple[int, ...],
    directions: tuple[str, ...],
) -> Iterator[GemmShape]:
    chosen = [model for model in layer_shapes() if models is None or model.name in models]
    for n_tokens in tokens:
        for model in chosen:
            for tp in (degree for degree in tp_degrees if model.n_heads % degree == 0):
                for linear in linear_layers(model, tp=tp):
                    role = f"{model.name}/tp{tp}/{linear.name}"
                    for direction in directions:
                        yield gemm_of(linear, tokens=n_tokens, direction=direction, role=role)


def attention_shapes(
    *,
    models: tuple[str, ...] | None = None,
    tp_degrees: tuple[int, ...] = TP_DEGREES,
    lengths: tuple[int, ...] = (4096, 8192, 2048, 16384),
    tokens: int = 16384,
) -> tuple[AttentionShape, ...]:
    """Distinct causal attention calls of the models' layers at a constant number of tokens."""
    distinct: dict[tuple[int, ...], AttentionShape] = {}
    for seq in lengths:
        for model in layer_shapes():
            for tp in (degree for degree in tp_degrees if model.n_heads % degree == 0):
                if models is not None and model.name not in models:
                    continue
                shape = AttentionShape(
                    batch=max(1, tokens // seq),
                    heads_q=model.n_heads // tp,
                    heads_kv=max(1, model.n_kv_heads // tp),
                    seq=seq,
                    head_dim=model.head_dim,
                    is_causal=True,
                    role=f"{model.name}/tp{tp}",
                )
                key = (seq, shape.heads_q, shape.heads_kv, shape.head_dim)
                distinct.setdefault(key, shape)
    return tuple(distinct.values())
