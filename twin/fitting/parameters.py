"""What a fit of published runs may change: a table of named constants, each with its prior."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path

import msgspec

__all__ = ["FitParameter", "fit_parameters", "source_trust"]

_FILE = Path(__file__).parent / "parameters.toml"


class FitParameter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One constant and what is known of it before any run is seen."""

    home: str
    """Framework file that holds it, or ``architecture:`` and a family of devices."""
    key: str
    """Dotted key in that file. [name]"""
    prior: float
    """Value without any run, in the constant's own unit. [any]"""
    sigma: float
    """Standard deviation of its logarithm. [1]"""
    low: float
    high: float
    reason: str
    """Where the prior comes from."""

    @property
    def place(self) -> tuple[str, str]:
        """Home and key."""
        return self.home, self.key

    @property
    def name(self) -> str:
        """Home and key as one text."""
        return f"{self.home}.{self.key}"


class SourceTrust(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A source that weighs less than others, and why."""

    source_id: str
    weight: float
    """Over that of other sources. [1]"""
    reason: str


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    source: tuple[SourceTrust, ...]
    parameter: tuple[FitParameter, ...]


@functools.cache
def _file() -> _File:
    with _FILE.open("rb") as file:
        return msgspec.convert(tomllib.load(file), _File)


def fit_parameters() -> tuple[FitParameter, ...]:
    """All constants that a fit may change, in the order of the file."""
    return _file().parameter


def source_trust() -> dict[str, float]:
    """Weight of sources that ask for less than others. [1]"""
    return {source.source_id: source.weight for source in _file().source}
