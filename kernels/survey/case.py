"""A case of the survey: one thing to measure, with its place in the order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kernels.measurements import Measurement

__all__ = ["FAMILIES", "Case", "SkipError", "in_order"]

FAMILIES = ("attention", "power", "gemm", "bandwidth", "launch", "memory_bound")
"""By worth: what public collections lack comes first."""


class SkipError(Exception):
    """A case cannot be measured on this device; the message says why, in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One measurement that is still to be made."""

    key: str
    """Unique in its family; the `case` column of its row."""
    family: str
    priority: int
    """0 coarse, for every family first; 1 the usual survey; 2 the rest. [1]"""
    run: Callable[[], Sequence[Measurement]]
    """Measures and returns rows of one or more tables."""
    estimate_s: float | None = None
    """Time it takes, where that is known better than by the family's mean so far. [s]"""


def in_order(cases: Sequence[Case]) -> list[Case]:
    """Sort by priority, then by worth of the family; inside a family the order stays."""
    return sorted(cases, key=lambda case: (case.priority, FAMILIES.index(case.family)))
