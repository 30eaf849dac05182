"""Parameters of a dense transformer and the matrix work that training one token takes."""

from __future__ import annotations

from twin.workload.transformer import Transformer

__all__ = [
    "attention_matrix_parameters",
    "embedding_parameters",
    "head_matrix_parameters",
    "head_parameters",
    "layer_matrix_parameters",
    "layer_parameters",
    "mlp_matrix_parameters",
    "model_flop_per_token",
    "total_parameters",
]

FLOP_PER_MATRIX_PARAMETER = 6
"""A multiply and an add, in the forward pass and for both gradients of the backward pass."""

ATTENTION_FLOP_PER_POSITION_AND_CHANNEL = 12
"""Two products (scores and weighted values) of two flop, forward and twice that backward."""


def attention_matrix_parameters(model: Transformer) -> int:
    """Weights of the query, key, value and output projections of one layer. [1]"""
    query_width = model.n_heads * model.head_dim
    key_value_width = 2 * model.n_kv_heads * model.head_dim
    return model.hidden * (query_width + key_value_width) + query_width * model.hidden


def mlp_matrix_parameters(model: Transformer) -> int:
    """Weights of the MLP of one layer: three matrices when gated, two otherwise. [1]"""
    n_matrices = 3 if model.is_gated_mlp else 2
    return n_matrices * model.hidden * model.ffn_hidden


def layer_matrix_parameters(model: Transformer) -> int:
    """Weights of all matrices of one layer, without biases and norms. [1]"""
    return attention_matrix_parameters(model) + mlp_matrix_parameters(model)


def layer_parameters(model: Transformer) -> int:
    """All parameters of one layer: matrices, biases and two norms. [1]"""
    return layer_matrix_parameters(model) + _layer_biases(model) + 2 * _norm_parameters(model)


def embedding_parameters(model: Transformer) -> int:
    """Token table and learned positions. [1]"""
    return (model.vocabulary + model.n_learned_positions) * model.hidden


def head_matrix_parameters(model: Transformer) -> int:
    """Size of the matrix that makes logits, whether or not it is shared with the embedding. [1]"""
    return model.vocabulary * model.hidden


def head_parameters(model: Transformer) -> int:
    """Parameters that only the output head has: none when it shares the token table. [1]"""
    return 0 if model.has_tied_embeddings else head_matrix_parameters(model)


def total_parameters(model: Transformer) -> int:
    """All parameters of the model, a shared embedding counted once, the final norm included. [1]"""
    layers = model.n_layers * layer_parameters(model)
    return layers + embedding_parameters(model) + head_parameters(model) + _norm_parameters(model)


def model_flop_per_token(
    model: Transformer, seq_len: int, *, causal_fraction: float = 0.5
) -> float:
    """Matrix work of forward and backward for one token, each product counted once.

    Convention: 6 flop per matrix parameter, the output head included, the embedding lookup, norms,
    biases and other memory-bound work not; plus ``12 · L · (a·d) · s`` for attention, times the
    share of the square that a causal mask leaves. Nothing is added for recomputation. With
    ``causal_fraction=1`` this is the count of Narayanan et al. 2021 and of PaLM's MFU.

    Parameters
    ----------
    model
        Shape of the model.
    seq_len
        Tokens per sequence. [token]
    causal_fraction
        Share of the score matrix that is counted: 0.5 for a causal mask, 1 for the full square. [1]

    Returns
    -------
    float
        Work per token. [flop/token]

    References
    ----------
    Narayanan et al., Efficient Large-Scale Language Model Training on GPU Clusters Using
    Megatron-LM, 2021, equation 3 without its recomputation; Chowdhery et al., PaLM, 2022,
    appendix B.
    """
    matrix_parameters = model.n_layers * layer_matrix_parameters(model)
    matrix_parameters += head_matrix_parameters(model)
    channels = model.n_layers * model.n_heads * model.head_dim
    attention_flop = ATTENTION_FLOP_PER_POSITION_AND_CHANNEL * channels * seq_len * causal_fraction
    return FLOP_PER_MATRIX_PARAMETER * matrix_parameters + attention_flop


def _norm_parameters(model: Transformer) -> int:
    """One norm: a scale, and a shift in a layer norm."""
    return 2 * model.hidden if model.norm == "layernorm" else model.hidden


def _layer_biases(model: Transformer) -> int:
    qkv = (model.n_heads + 2 * model.n_kv_heads) * model.head_dim
    if not model.has_biases:
        return qkv if model.has_qkv_biases else 0
    mlp_inner = (2 if model.is_gated_mlp else 1) * model.ffn_hidden
    return qkv + model.hidden + mlp_inner + model.hidden
