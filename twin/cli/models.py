"""`twin models`: the catalogue of models that can be trained."""

from __future__ import annotations

from pathlib import Path

import click

from twin.cli.output import current_command, emit_json, table
from twin.workload.catalogue import ModelCatalogue
from twin.workload.parameters import (
    embedding_parameters,
    head_parameters,
    layer_matrix_parameters,
    layer_parameters,
    model_flop_per_token,
    total_parameters,
)
from twin.workload.transformer import Transformer

__all__ = ["models"]

FLOP_SEQ_LENS = (2048, 8192)
"""Sequence lengths at which `show` states the work per token. [token]"""

profiles_option = click.option(
    "--profiles",
    "profile_dirs",
    metavar="DIR",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of your own files, looked at first.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


@click.group()
def models() -> None:
    """The catalogue of models that can be trained."""


@models.command("list")
@profiles_option
@json_option
def list_models(*, profile_dirs: tuple[Path, ...], as_json: bool) -> None:
    """Names, sizes and shapes of all models."""
    catalogue = ModelCatalogue(profile_dirs)
    known = [catalogue.model(name) for name in catalogue.names()]
    if as_json:
        emit_json(
            {"models": [_summary(model) for model in known]},
            command=current_command(),
            profile_hashes={f"model/{m.name}": catalogue.hash_of(m.name) for m in known},
        )
        return
    header = ["name", "parameters", "layers", "hidden", "heads", "kv heads", "vocabulary"]
    for line in table([_row(model) for model in known], header=header, align="lrrrrrr", indent=0):
        click.echo(line)


@models.command("show")
@click.argument("name")
@profiles_option
@json_option
def show_model(*, name: str, profile_dirs: tuple[Path, ...], as_json: bool) -> None:
    """One model: its shape, its source and what follows from it.

    NAME is a name or alias of the catalogue, or the path of a TOML file.
    """
    catalogue = ModelCatalogue(profile_dirs)
    model = catalogue.model(name)
    if as_json:
        emit_json(
            _details(model),
            command=current_command(),
            profile_hashes={f"model/{model.name}": catalogue.hash_of(name)},
        )
        return
    for line in _text(model):
        click.echo(line)


def _summary(model: Transformer) -> dict[str, object]:
    return {
        "name": model.name,
        "title": model.title,
        "aliases": model.aliases,
        "n_parameters": total_parameters(model),
        "n_layers": model.n_layers,
        "hidden": model.hidden,
        "n_heads": model.n_heads,
        "n_kv_heads": model.n_kv_heads,
        "vocabulary": model.vocabulary,
    }


def _details(model: Transformer) -> dict[str, object]:
    return {
        "model": model,
        "n_parameters": total_parameters(model),
        "n_layer_parameters": layer_parameters(model),
        "n_layer_matrix_parameters": layer_matrix_parameters(model),
        "n_embedding_parameters": embedding_parameters(model),
        "n_head_parameters": head_parameters(model),
        "model_flop_per_token": {
            str(seq_len): model_flop_per_token(model, seq_len) for seq_len in FLOP_SEQ_LENS
        },
    }


def _row(model: Transformer) -> list[str]:
    shape = (model.n_layers, model.hidden, model.n_heads, model.n_kv_heads, model.vocabulary)
    return [model.name, _billions(total_parameters(model)), *(f"{n:,}" for n in shape)]


def _text(model: Transformer) -> list[str]:
    mlp = "gated" if model.is_gated_mlp else "plain"
    embedding = "one table" if model.has_tied_embeddings else "two tables"
    rows = [
        ["parameters", f"{total_parameters(model):,} ({_billions(total_parameters(model))})"],
        ["of one layer", f"{layer_parameters(model):,}"],
        ["of the embedding", f"{embedding_parameters(model):,}"],
        ["of the head alone", f"{head_parameters(model):,}"],
        ["layers", f"{model.n_layers:,}"],
        ["hidden", f"{model.hidden:,}"],
        ["MLP", f"{model.ffn_hidden:,}, {mlp}"],
        ["heads", f"{model.n_heads} of {model.head_dim}, {model.n_kv_heads} for keys and values"],
        ["vocabulary", f"{model.vocabulary:,}, {embedding} for embedding and head"],
        ["positions", _positions(model)],
        ["norm, biases", f"{model.norm}, {_biases(model)}"],
        *(_flop_row(model, seq_len) for seq_len in FLOP_SEQ_LENS),
        ["aliases", ", ".join(model.aliases) or "none"],
        ["source", model.source or "not stated"],
    ]
    return [f"{model.title} ({model.name})", *table(rows)]


def _flop_row(model: Transformer, seq_len: int) -> list[str]:
    work = model_flop_per_token(model, seq_len) / 1e9
    return [f"at {seq_len:,} tokens", f"{work:,.1f} Gflop per token, causal attention as half"]


def _positions(model: Transformer) -> str:
    n_rows = model.n_learned_positions
    return f"{n_rows:,} learned" if n_rows else "no table (rotary or linear biases)"


def _biases(model: Transformer) -> str:
    if model.has_biases:
        return "biases on every linear layer"
    return "biases on query, key and value" if model.has_qkv_biases else "no biases"


def _billions(n_parameters: int) -> str:
    return f"{n_parameters / 1e9:,.2f} B"
