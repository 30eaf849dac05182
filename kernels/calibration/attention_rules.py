"""What rows alone do not tell of attention: rules of ``attention_derived.toml``."""

from __future__ import annotations

from pathlib import Path

import msgspec

from kernels.calibration.attention_family import Scaling

__all__ = ["BackwardRule", "DerivedRule", "JointRule", "LeftOutRule", "Rules", "load_rules"]


class JointRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry fitted on the rows of several implementations."""

    name: str
    architectures: tuple[str, ...]
    implementations: tuple[str, ...]


class BackwardRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which measured backward pass stands for entries without one."""

    implementations: tuple[str, ...]
    of: str
    architectures: tuple[str, ...]
    nearest: tuple[str, ...]
    """Architectures to take it from, after the entry's own."""


class DerivedRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry scaled from another one."""

    names: tuple[str, ...]
    """Implementations that it stands for."""
    of: str
    architectures: tuple[str, ...]
    from_architecture: str | None = None
    """None: of the same device."""
    rate_factor: float
    scales: Scaling = "all"
    """Whether the factor slows the whole kernel or its matrix products alone."""
    spread: float
    source: str


class LeftOutRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows that no fit uses."""

    accelerators: tuple[str, ...]
    implementations: tuple[str, ...]
    directions: tuple[str, ...]
    is_grouped: bool
    """Whether only rows with fewer KV heads than heads are meant."""
    source: str


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All rules."""

    joint: tuple[JointRule, ...]
    backward: tuple[BackwardRule, ...]
    derived: tuple[DerivedRule, ...]
    left_out: tuple[LeftOutRule, ...]


def load_rules() -> Rules:
    """The rules beside this module."""
    text = (Path(__file__).parent / "attention_derived.toml").read_bytes()
    return msgspec.toml.decode(text, type=Rules)
