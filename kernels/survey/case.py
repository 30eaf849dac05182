"""A case of the survey: one thing to measure, with its place in the order."""

from __future__ import annotations

import zlib
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
    """Sort so that stopping early loses as little as possible.

    The coarse cases come family by family, in order of worth. The others are spread: each family
    advances in proportion, in an order that mixes its cases but is the same in every run, so that
    whatever is left out at the end is a fair sample.
    """
    coarse = [case for case in cases if case.priority == 0]
    coarse.sort(key=lambda case: FAMILIES.index(case.family))
    rest = []
    for priority in sorted({case.priority for case in cases} - {0}):
        level = [case for case in cases if case.priority == priority]
        rest += _spread(level)
    return [*coarse, *rest]


def _spread(cases: Sequence[Case]) -> list[Case]:
    positions: list[tuple[float, int, Case]] = []
    for rank, family in enumerate(FAMILIES):
        own = sorted(
            (case for case in cases if case.family == family),
            key=lambda case: zlib.crc32(case.key.encode()),
        )
        positions += [((i + 0.5) / len(own), rank, case) for i, case in enumerate(own)]
    return [case for _share, _rank, case in sorted(positions, key=lambda p: p[:2])]
