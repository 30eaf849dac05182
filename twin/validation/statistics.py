"""Error statistics over rows: plain, small, no arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["ErrorSummary", "grouped", "percentile", "summarise"]

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorSummary:
    """Absolute relative errors of a set of rows."""

    n: int
    mape: float
    """Mean. [1]"""
    median_ape: float
    p90_ape: float
    bias: float
    """Mean signed relative error; positive is predicted too slow. [1]"""


def percentile(values: Sequence[float], share: float) -> float:
    """Linear interpolation between order statistics; NaN for nothing.

    Parameters
    ----------
    values
        In any order. [any]
    share
        Between 0 and 1. [1]
    """
    if not values:
        return math.nan
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def summarise(signed: Sequence[float]) -> ErrorSummary | None:
    """Summary of signed relative errors; None for nothing."""
    if not signed:
        return None
    absolute = [abs(error) for error in signed]
    return ErrorSummary(
        n=len(signed),
        mape=sum(absolute) / len(absolute),
        median_ape=percentile(absolute, 0.5),
        p90_ape=percentile(absolute, 0.9),
        bias=sum(signed) / len(signed),
    )


def grouped(
    rows: Iterable[Row], key: Callable[[Row], str], error: Callable[[Row], float]
) -> dict[str, ErrorSummary]:
    """Summaries by group, in the order of the group's name."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(error(row))
    found = {}
    for name in sorted(groups):
        summary = summarise(groups[name])
        if summary is not None:
            found[name] = summary
    return found
