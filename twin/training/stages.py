"""Layers and parameters on pipeline stages."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from twin.training.plan import Plan
from twin.workload.parameters import (
    embedding_parameters,
    head_parameters,
    layer_parameters,
)
from twin.workload.transformer import Transformer

__all__ = ["Stages", "distributed", "stages_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """How many layers the first, a middle and the last stage hold."""

    first_layers: int
    middle_layers: int
    last_layers: int


def stages_of(model: Transformer, plan: Plan) -> Stages:
    """Distribute layers over stages.

    Where embedding and head are counted as a layer each (126 layers on 16 stages), the first and
    last stage hold one layer less; elsewhere the fullest stage holds the rounded-up share.
    """
    return distributed(model.n_layers, plan.pp, plan.vpp, plan.counts_ends_as_layers)


@functools.lru_cache(maxsize=1024)
def distributed(n_layers: int, pp: int, vpp: int, counts_ends: bool = True) -> Stages:
    """Layers over stages, as `stages_of` says."""
    chunks = pp * vpp
    if pp == 1:
        return Stages(first_layers=n_layers, middle_layers=n_layers, last_layers=n_layers)
    if counts_ends and n_layers % chunks and (n_layers + 2) % chunks == 0:
        full = (n_layers + 2) // pp
        return Stages(first_layers=full - 1, middle_layers=full, last_layers=full - 1)
    fullest = math.ceil(n_layers / pp)
    return Stages(first_layers=fullest, middle_layers=fullest, last_layers=fullest)


def stage_parameters(model: Transformer, plan: Plan) -> tuple[float, float]:
    """Parameters of one tensor-parallel rank on the first and on the last stage.

    With tied embeddings both ends of the pipeline keep a copy.

    Returns
    -------
    tuple of float
        First and last stage. [1]
    """
    return _end_parameters(model, stages_of(model, plan), plan.tp, plan.pp)


@functools.lru_cache(maxsize=4096)
def _end_parameters(model: Transformer, stages: Stages, tp: int, pp: int) -> tuple[float, float]:
    layer = layer_parameters(model)
    embedding = embedding_parameters(model)
    head = head_parameters(model)
    if pp == 1:
        total = (stages.first_layers * layer + embedding + head) / tp
        return total, total
    last_extra = head if head > 0 else float(model.vocabulary) * model.hidden
    first = (stages.first_layers * layer + embedding) / tp
    last = (stages.last_layers * layer + last_extra) / tp
    return first, last


def parameters_per_rank(model: Transformer, plan: Plan) -> float:
    """Parameters of the fullest tensor-parallel rank, before any sharding over data. [1]"""
    stages = stages_of(model, plan)
    middle = stages.middle_layers * layer_parameters(model) / plan.tp
    return max(*stage_parameters(model, plan), middle)
