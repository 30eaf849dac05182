"""What the twin answers: one frozen object per prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, assert_never

from twin.scenario.scenario import Scenario
from twin.training.plan import Plan

__all__ = ["Interval", "MemoryFigure", "MemoryUse", "Prediction", "PredictionWarning"]

MemoryFigure = Literal["allocated", "reserved", "device"]
"""What a report of memory counts: tensors; what the allocator holds; the whole device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Tenth, fiftieth and ninetieth percentile of a predicted quantity, in its unit."""

    p10: float
    p50: float
    p90: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarRuns:
    """Errors of published runs of the same kind, predicted with their own source left out."""

    scope: str
    """What they have in common, in words."""
    n: int
    median_ape: float
    """Of step time. [1]"""
    p90_ape: float
    bias: float
    """Mean signed error; positive is predicted too slow. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionWarning:
    """A reservation that belongs to a result."""

    code: str
    """Stable identifier such as W_EXTRAPOLATED."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """Memory of the fullest device, by component."""

    weights_bytes: float
    gradients_bytes: float
    optimizer_bytes: float
    activations_bytes: float
    buffers_bytes: float
    """Present for a moment: logits, gathered parameters, working set of one layer. [byte]"""
    fragmentation_bytes: float
    """Held by the allocator and used by no tensor. [byte]"""
    overhead_bytes: float
    """Context of the driver, libraries, communication buffers: outside the allocator. [byte]"""

    @property
    def total_bytes(self) -> float:
        """Sum of all components. [byte]"""
        return (
            self.weights_bytes
            + self.gradients_bytes
            + self.optimizer_bytes
            + self.activations_bytes
            + self.buffers_bytes
            + self.fragmentation_bytes
            + self.overhead_bytes
        )

    def figure_bytes(self, figure: MemoryFigure) -> float:
        """What a meter of that kind shows. [byte]"""
        match figure:
            case "device":
                return self.total_bytes
            case "reserved":
                return self.total_bytes - self.overhead_bytes
            case "allocated":
                return self.total_bytes - self.overhead_bytes - self.fragmentation_bytes
            case _:
                assert_never(figure)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One training configuration, predicted. Field names are the keys of the JSON."""

    scenario: Scenario
    plan: Plan
    step_time_s: float
    tokens_per_s: float
    tokens_per_s_per_device: float
    model_flop_per_s_per_device: float
    mfu: float
    hfu: float
    memory_bytes_per_device: float
    memory_capacity_bytes: float
    memory: MemoryUse
    fits_memory: bool
    device_power_w: float
    """Mean over the step, one device. [W]"""
    node_power_w: float
    it_power_w: float
    """All nodes and the network of the job. [W]"""
    facility_power_w: float
    """With cooling and losses of the site. [W]"""
    energy_per_step_j: float
    """it_power_w times step_time_s. [J]"""
    energy_per_token_j: float
    pue: float
    breakdown: Mapping[str, float]
    """Cause to exposed seconds; the values sum to step_time_s. [s]"""
    hidden: Mapping[str, float]
    """Cause to seconds that run behind compute. [s]"""
    interval: Mapping[str, Interval]
    """Of step_time_s, tokens_per_s, mfu, device_power_w, it_power_w, energy_per_token_j …"""
    classes: Mapping[str, tuple[str, ...]]
    """Quantity to the classes of its inputs (measured, fitted, datasheet, assumed, user)."""
    warnings: tuple[PredictionWarning, ...]
    profile_hashes: Mapping[str, str]
    similar_runs: SimilarRuns | None = None
    """How far published runs of this kind are missed."""
    run_time_s: float | None = None
    run_energy_j: float | None = None
    run_cost_eur: float | None = None
