"""A scenario: what the user asks, before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PlanRequest", "Scenario"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """The fields of a plan that the user pinned; None leaves the choice to the twin."""

    tp: int | None = None
    pp: int | None = None
    vpp: int | None = None
    cp: int | None = None
    ep: int | None = None
    zero: int | None = None
    micro_batch: int | None = None
    sequence_parallel: bool | None = None
    shard_group: int | None = None
    recompute: str | None = None
    recompute_layers: int | None = None
    attention: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One training configuration in the words of the command line."""

    cluster: str
    """Name in the catalogue, or path of a TOML file; ``name:partition`` picks a partition."""
    devices: int
    model: str
    """Name in the catalogue, or path of a TOML file."""
    seq_len: int
    """Tokens per sequence. [token]"""
    global_batch: int
    """Sequences per optimizer step. [1]"""
    precision: str = "bf16"
    framework: str = "megatron-core"
    plan: PlanRequest = PlanRequest()
    power_cap_w: float | None = None
    """Power cap per device; None is the device's own limit. [W]"""
    site: str | None = None
    """Overrides the cluster's site."""
    tokens: float | None = None
    """Tokens of the whole training run; None asks for one step only. [token]"""
    overrides: tuple[tuple[str, str], ...] = ()
    """Profile figures set for this once: (dotted key, value as text)."""
