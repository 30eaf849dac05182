"""Whether predictions put runs in the right order: a user compares one plan with another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

__all__ = ["Ordering", "ordering"]

TELLING_DIFFERENCE = 0.1
"""Measured times that differ by less than this are no order to get right. [1]"""


class OrderedRun(Protocol):
    """What the comparison reads of a run."""

    @property
    def source_id(self) -> str:
        """Key of its source."""
        ...

    @property
    def model_name(self) -> str:
        """The model that was trained."""
        ...

    @property
    def device(self) -> str:
        """The accelerator."""
        ...

    @property
    def n_devices(self) -> int:
        """How many of them. [1]"""
        ...

    @property
    def global_batch(self) -> int:
        """Sequences of a step. [1]"""
        ...

    @property
    def measured_step_time_s(self) -> float:
        """As published. [s]"""
        ...

    @property
    def predicted_step_time_s(self) -> float:
        """With the shipped constants. [s]"""
        ...

    @property
    def left_out_step_time_s(self) -> float:
        """With the source left out. [s]"""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordering:
    """Pairs of runs of one source, model, device, number of devices and batch."""

    name: str
    pairs: int
    """Pairs whose measured times differ by more than a tenth. [1]"""
    ordered_share: float | None
    """Of them, predicted in the right order. [1]"""
    left_out_ordered_share: float | None
    """The same with the source left out. [1]"""


def _telling_pairs(runs: Sequence[OrderedRun]) -> list[tuple[OrderedRun, OrderedRun]]:
    alike: dict[tuple[object, ...], list[OrderedRun]] = {}
    for run in runs:
        key = (run.source_id, run.model_name, run.device, run.n_devices, run.global_batch)
        alike.setdefault(key, []).append(run)
    pairs = (pair for group in alike.values() for pair in combinations(group, 2))
    return [
        (one, other)
        for one, other in pairs
        if max(one.measured_step_time_s, other.measured_step_time_s)
        > (1.0 + TELLING_DIFFERENCE) * min(one.measured_step_time_s, other.measured_step_time_s)
    ]


def _share(
    pairs: Sequence[tuple[OrderedRun, OrderedRun]], time_s: Callable[[OrderedRun], float]
) -> float | None:
    if not pairs:
        return None
    right = sum(
        (one.measured_step_time_s < other.measured_step_time_s) == (time_s(one) < time_s(other))
        for one, other in pairs
    )
    return right / len(pairs)


def _ordering(name: str, runs: Sequence[OrderedRun]) -> Ordering:
    pairs = _telling_pairs(runs)
    return Ordering(
        name=name,
        pairs=len(pairs),
        ordered_share=_share(pairs, lambda run: run.predicted_step_time_s),
        left_out_ordered_share=_share(pairs, lambda run: run.left_out_step_time_s),
    )


def ordering(runs: Sequence[OrderedRun]) -> list[Ordering]:
    """Order of all runs, then by source where there are pairs."""
    sources = sorted({run.source_id for run in runs})
    by_source = (
        _ordering(source, [run for run in runs if run.source_id == source]) for source in sources
    )
    return [_ordering("all", runs), *(found for found in by_source if found.pairs)]
