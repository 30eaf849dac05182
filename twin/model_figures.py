"""Figures of a model as the catalogue shows them: its shape and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator

from twin.workload.parameters import total_parameters
from twin.workload.transformer import Transformer

__all__ = ["model_figures"]

_HEAD = frozenset({"schema_version", "kind", "name", "title", "aliases", "source"})


def model_figures(model: Transformer) -> Iterator[tuple[str, float | str | bool]]:
    """Parameters first, then every part of the shape in the order of the file."""
    yield "parameters", float(total_parameters(model))
    for key in model.__struct_fields__:
        if key not in _HEAD:
            yield key, getattr(model, key)
