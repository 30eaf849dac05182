"""Weights of a small decoder-only transformer on the host, their gradients and moments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["StepShape", "Weights", "new_weights"]

Array = NDArray[np.floating]

INITIAL_SCALE = 0.02
"""Standard deviation of initial weights. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepShape:
    """A model without biases and with a head of its own, and its batch."""

    n_layers: int
    hidden: int
    ffn_hidden: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocabulary: int
    batch: int
    """Sequences in a step. [1]"""
    seq_len: int
    is_gated_mlp: bool = True
    """SwiGLU; else GELU."""
    norm: str = "rmsnorm"
    """rmsnorm or layernorm."""

    @property
    def n_tokens(self) -> int:
        """Tokens in a step. [token]"""
        return self.batch * self.seq_len

    @property
    def n_gates(self) -> int:
        """Products of the first half of the MLP. [1]"""
        return 2 if self.is_gated_mlp else 1

    @property
    def heads_width(self) -> int:
        """Columns of all query heads. [elements]"""
        return self.n_heads * self.head_dim

    @property
    def qkv_width(self) -> int:
        """Columns of queries, keys and values. [elements]"""
        return (self.n_heads + 2 * self.n_kv_heads) * self.head_dim


class Weights:
    """Arrays by name; a layer's carry its number, such as ``3.qkv``."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self.arrays = arrays

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def zeros(self) -> Weights:
        """Arrays of the same shapes that hold zeros."""
        return Weights({name: np.zeros_like(array) for name, array in self.arrays.items()})


def new_weights(
    shape: StepShape, *, dtype: type[np.floating] = np.float32, seed: int = 2718
) -> Weights:
    """Random weights; scales of norms are one and their shifts zero."""
    random = np.random.default_rng(seed)

    def normal(*sizes: int) -> Array:
        return (INITIAL_SCALE * random.standard_normal(sizes)).astype(dtype)

    arrays: dict[str, Array] = {"embedding": normal(shape.vocabulary, shape.hidden)}
    for layer in range(shape.n_layers):
        arrays |= _norm(f"{layer}.norm_1", shape, dtype)
        arrays[f"{layer}.qkv"] = normal(shape.hidden, shape.qkv_width)
        arrays[f"{layer}.out"] = normal(shape.heads_width, shape.hidden)
        arrays |= _norm(f"{layer}.norm_2", shape, dtype)
        arrays[f"{layer}.up"] = normal(shape.n_gates, shape.hidden, shape.ffn_hidden)
        arrays[f"{layer}.down"] = normal(shape.ffn_hidden, shape.hidden)
    arrays |= _norm("norm", shape, dtype)
    arrays["head"] = normal(shape.hidden, shape.vocabulary)
    return Weights(arrays)


def _norm(name: str, shape: StepShape, dtype: type[np.floating]) -> dict[str, Array]:
    found: dict[str, Array] = {name: np.ones(shape.hidden, dtype)}
    if shape.norm == "layernorm":
        found[f"{name}.shift"] = np.zeros(shape.hidden, dtype)
    return found
