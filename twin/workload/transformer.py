"""A dense transformer: the shape of the model that is trained."""

from __future__ import annotations

from typing import Literal

import msgspec

from hardware_profiles.errors import TweelingError

__all__ = ["ModelError", "Transformer"]


class ModelError(TweelingError):
    """A model is unknown or its shape is impossible."""


class Transformer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Architecture of a dense decoder-only transformer."""

    schema_version: int
    kind: Literal["model"]
    name: str
    title: str
    n_layers: int
    hidden: int
    """Width of the residual stream. [1]"""
    ffn_hidden: int
    """Width of the MLP's inner layer. [1]"""
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocabulary: int
    is_gated_mlp: bool
    has_tied_embeddings: bool
    n_learned_positions: int = 0
    """Rows of a learned position table; 0 for rotary or linear-bias positions. [1]"""
    norm: Literal["layernorm", "rmsnorm"] = "rmsnorm"
    has_biases: bool = False
    """Biases on every linear layer."""
    has_qkv_biases: bool = False
    """Biases on the query, key and value projections only."""
    aliases: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse shapes that no transformer has."""
        for name in ("n_layers", "hidden", "ffn_hidden", "n_heads", "n_kv_heads", "head_dim"):
            if getattr(self, name) < 1:
                msg = f"model {self.name}: {name}={getattr(self, name)}; expected at least 1"
                raise ModelError(msg)
        if self.vocabulary < 1:
            msg = f"model {self.name}: vocabulary={self.vocabulary}; expected at least 1"
            raise ModelError(msg)
        if self.n_heads % self.n_kv_heads:
            msg = (
                f"model {self.name}: n_kv_heads={self.n_kv_heads} does not divide "
                f"n_heads={self.n_heads}"
            )
            raise ModelError(msg)
