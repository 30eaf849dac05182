"""Predicted against published memory per device, and whether runs that ran are predicted to fit.

A publication reports one of three figures: what tensors take, what the allocator holds, or what
the whole device shows. Which one is a property of the framework that logs it
(`reported_figure` of its `[memory]` table), never of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from twin.intervals import MEMORY_SPREAD_FRACTION, interval
from twin.validation.statistics import ErrorSummary, grouped, summarise

__all__ = ["MemoryReport", "memory_report"]


class MemoryRow(Protocol):
    """What the report reads of a predicted run."""

    @property
    def run_id(self) -> str:
        """Key of the run."""
        ...

    @property
    def source_id(self) -> str:
        """Key of its source."""
        ...

    @property
    def task(self) -> str:
        """`pretrain`, `sft`, …"""
        ...

    @property
    def measured_memory_bytes(self) -> float | None:
        """None where the publication states none. [byte]"""
        ...

    @property
    def predicted_memory_bytes(self) -> float:
        """The figure that the publication reports. [byte]"""
        ...

    @property
    def fits_memory(self) -> bool:
        """Whether everything is predicted to fit on the device."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMemory:
    """Errors of the rows of one source."""

    name: str
    n: int
    mape: float
    median_ape: float
    p90_ape: float
    bias: float
    n_predicted_not_to_fit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryReport:
    """Dense pre-training rows without offload that state their memory."""

    rows: int
    mape: float | None
    median_ape: float | None
    p90_ape: float | None
    bias: float | None
    interval_coverage: float | None
    """Share of measured figures inside p10 to p90. [1]"""
    by_source: list[SourceMemory]
    n_predicted_not_to_fit: int
    """Of these rows, all of which ran. [1]"""
    predicted_not_to_fit: list[str]
    """Their run ids."""
    all_runs_predicted_not_to_fit: list[str]
    """Run ids among all predicted runs, those that state no memory included."""


def memory_report(rows: Sequence[MemoryRow]) -> MemoryReport:
    """Errors of memory over predicted runs.

    Runs with experts, adapters or offload are not predicted, so that what is left to exclude is
    fine-tuning.
    """
    stated = [row for row in rows if row.measured_memory_bytes and row.task == "pretrain"]
    errors = {row.run_id: _signed_error(row) for row in stated}
    summary = summarise(list(errors.values()))
    known = asdict(summary) if summary else dict.fromkeys(ErrorSummary.__dataclass_fields__)
    unfit = [row for row in stated if not row.fits_memory]
    by_source = grouped(stated, lambda row: row.source_id, lambda row: errors[row.run_id])
    return MemoryReport(
        rows=len(stated),
        mape=known["mape"],
        median_ape=known["median_ape"],
        p90_ape=known["p90_ape"],
        bias=known["bias"],
        interval_coverage=_coverage(stated),
        by_source=[
            SourceMemory(
                name=name,
                n_predicted_not_to_fit=sum(row.source_id == name for row in unfit),
                **asdict(found),
            )
            for name, found in by_source.items()
        ],
        n_predicted_not_to_fit=len(unfit),
        predicted_not_to_fit=[row.run_id for row in unfit],
        all_runs_predicted_not_to_fit=[row.run_id for row in rows if not row.fits_memory],
    )


def _signed_error(row: MemoryRow) -> float:
    return row.predicted_memory_bytes / (row.measured_memory_bytes or 0.0) - 1.0


def _coverage(rows: Sequence[MemoryRow]) -> float | None:
    if not rows:
        return None
    inside = 0
    for row in rows:
        band = interval(row.predicted_memory_bytes, MEMORY_SPREAD_FRACTION)
        inside += band.p10 <= (row.measured_memory_bytes or 0.0) <= band.p90
    return inside / len(rows)
