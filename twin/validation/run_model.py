"""The transformer that a published run trained, from the shape that its row states."""

from __future__ import annotations

import math
import re

from twin.validation.runs_table import PublishedRun
from twin.workload.transformer import ModelError, Transformer

__all__ = ["run_transformer"]

GATED_FAMILIES = re.compile(r"llama|qwen|mistral|internlm|deepseek|gemma", re.IGNORECASE)
QKV_BIAS_FAMILIES = re.compile(r"qwen-?(?:1|2)", re.IGNORECASE)
UNTIED_PLAIN_FAMILIES = re.compile(r"nemotron|glm", re.IGNORECASE)
WITHOUT_POSITION_TABLE = re.compile(r"nemotron|bloom|glm|mpt", re.IGNORECASE)

UNSTATED_VOCABULARY = (
    # GPT-2's byte pairs serve every GPT of Megatron-LM and its descendants.
    (re.compile(r"nemotron", re.IGNORECASE), 256_000),
    (re.compile(r"gpt(?!-?\s?oss)|megatron|mt-nlg", re.IGNORECASE), 50_257),
)
GATED_FFN_MULTIPLE = 256
"""Llama's and InternLM's own rounding of an MLP width of 8/3 of the hidden width. [1]"""


def run_transformer(run: PublishedRun, *, vocabulary_multiple: int) -> Transformer:
    """Model of a run whose layers, hidden width and heads are stated.

    Blank cells: as many key-value heads as heads; head width hidden / heads; MLP width four times
    the hidden width, or 8/3 rounded up to 256 when gated; gated and normed as the family of the
    model's name; a GPT has GPT-2's vocabulary, one token table, learned positions and biases.

    Parameters
    ----------
    run
        The published run.
    vocabulary_multiple
        The vocabulary is padded to a multiple of this. [1]
    """
    if run.n_layers is None or run.hidden is None or run.n_heads is None:
        msg = f"run {run.run_id}: layers, hidden width and heads must be stated"
        raise ModelError(msg)
    is_gated = _is_gated(run)
    return Transformer(
        schema_version=1,
        kind="model",
        name=run.run_id,
        title=run.model_name,
        n_layers=run.n_layers,
        hidden=run.hidden,
        ffn_hidden=run.ffn_hidden or _unstated_ffn_hidden(run.hidden, is_gated=is_gated),
        n_heads=run.n_heads,
        n_kv_heads=run.n_kv_heads or run.n_heads,
        head_dim=run.head_dim or run.hidden // run.n_heads,
        vocabulary=_padded(_vocabulary(run), vocabulary_multiple),
        is_gated_mlp=is_gated,
        has_tied_embeddings=not is_gated and UNTIED_PLAIN_FAMILIES.search(run.model_name) is None,
        n_learned_positions=_n_learned_positions(run, is_gated=is_gated),
        norm="rmsnorm" if is_gated else "layernorm",
        has_biases=not is_gated,
        has_qkv_biases=QKV_BIAS_FAMILIES.search(run.model_name) is not None,
        source=run.provenance,
    )


def _is_gated(run: PublishedRun) -> bool:
    if run.is_gated_mlp is not None:
        return run.is_gated_mlp
    return GATED_FAMILIES.search(run.model_name) is not None


def _unstated_ffn_hidden(hidden: int, *, is_gated: bool) -> int:
    return _padded(math.ceil(8 * hidden / 3), GATED_FFN_MULTIPLE) if is_gated else 4 * hidden


def _vocabulary(run: PublishedRun) -> int:
    if run.vocabulary is not None:
        return run.vocabulary
    for family, vocabulary in UNSTATED_VOCABULARY:
        if family.search(run.model_name):
            return vocabulary
    msg = f'the vocabulary of "{run.model_name}" is not stated'
    raise ModelError(msg)


def _padded(size: int, multiple: int) -> int:
    return math.ceil(size / multiple) * multiple


def _n_learned_positions(run: PublishedRun, *, is_gated: bool) -> int:
    has_table = not is_gated and WITHOUT_POSITION_TABLE.search(run.model_name) is None
    return (run.seq_len or 0) if has_table else 0
