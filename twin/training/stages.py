"""Layers and parameters on pipeline stages."""

from __future__ import annotations

import math
from dataclasses import dataclass

from twin.training.plan import Plan
from twin.workload.parameters import (
    embedding_parameters,
    head_parameters,
    layer_parameters,
)
from twin.workload.transformer import Transformer

__all__ = ["Stages", "stages_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """How many layers the first, a middle and the last stage hold."""

    first_layers: int
    middle_layers: int
    last_layers: int

    @property
    def most_layers(self) -> int:
        """Layers on the fullest stage. [1]"""
        return max(self.first_layers, self.middle_layers, self.last_layers)


def stages_of(model: Transformer, plan: Plan) -> Stages:
    """Distribute layers over stages.

    Where embedding and head are counted as a layer each (126 layers on 16 stages), the first and
    last stage hold one layer less; elsewhere the fullest stage holds the rounded-up share.
    """
    n_layers = model.n_layers
    chunks = plan.pp * plan.vpp
    if plan.pp == 1:
        return Stages(first_layers=n_layers, middle_layers=n_layers, last_layers=n_layers)
    if n_layers % chunks and (n_layers + 2) % chunks == 0:
        full = (n_layers + 2) // plan.pp
        return Stages(first_layers=full - 1, middle_layers=full, last_layers=full - 1)
    fullest = math.ceil(n_layers / plan.pp)
    return Stages(first_layers=fullest, middle_layers=fullest, last_layers=fullest)


def stage_parameters(model: Transformer, plan: Plan) -> tuple[float, float]:
    """Parameters of one tensor-parallel rank on the first and on the last stage.

    With tied embeddings both ends of the pipeline keep a copy.

    Returns
    -------
    tuple of float
        First and last stage. [1]
    """
    stages = stages_of(model, plan)
    layer = layer_parameters(model)
    embedding = embedding_parameters(model)
    head = head_parameters(model)
    if plan.pp == 1:
        total = (stages.first_layers * layer + embedding + head) / plan.tp
        return total, total
    last_extra = head if head > 0 else float(model.vocabulary) * model.hidden
    first = (stages.first_layers * layer + embedding) / plan.tp
    last = (stages.last_layers * layer + last_extra) / plan.tp
    return first, last


def parameters_per_rank(model: Transformer, plan: Plan) -> float:
    """Parameters of the fullest tensor-parallel rank, before any sharding over data. [1]"""
    stages = stages_of(model, plan)
    middle = stages.middle_layers * layer_parameters(model) / plan.tp
    return max(*stage_parameters(model, plan), middle)
