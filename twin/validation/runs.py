"""Predictions against published training runs: the report.

Each row is predicted from the accelerator's profile, the model, the stated layout and the
documented constants of its framework, and once more with constants that were fitted without its
source and the source's sisters: that error counts. Nothing is fitted to a row here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hardware_profiles.errors import TweelingError
from twin.predict import Predictor
from twin.validation.predicted_run import SCALE_NAMES, PredictedRun, predicted_run
from twin.validation.run_machines import RunMachines
from twin.validation.run_memory import MemoryReport, memory_report
from twin.validation.run_ordering import Ordering, ordering
from twin.validation.run_request import Unsupported, is_dense_core, is_dense_stated, run_request
from twin.validation.runs_table import PublishedRun, read_runs
from twin.validation.statistics import ErrorSummary, grouped, summarise

__all__ = [
    "GroupErrors",
    "LeftOutErrors",
    "RunsReport",
    "group_errors",
    "grouped_errors",
    "validate_runs",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupErrors:
    """Errors of one group of rows, in-sample and with each row's source left out."""

    name: str
    n: int
    mape: float
    median_ape: float
    p90_ape: float
    bias: float
    left_out_mape: float
    left_out_median_ape: float
    left_out_p90_ape: float
    left_out_bias: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedErrors:
    """Errors of one group of rows, of one kind."""

    name: str
    n: int
    mape: float
    median_ape: float
    p90_ape: float
    bias: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutErrors:
    """Errors of all rows, each predicted by constants fitted without its source and sisters."""

    mape: float | None
    median_ape: float | None
    p90_ape: float | None
    bias: float | None
    by_source: list[NamedErrors]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsReport:
    """Everything `twin validate runs` says; field names are the keys of its JSON."""

    predicted: int
    coverage: float
    """Predicted rows over all rows of the table. [1]"""
    mape: float | None
    median_ape: float | None
    p90_ape: float | None
    interval_coverage: float | None
    """Share of measured step times inside p10 to p90. [1]"""
    left_out: LeftOutErrors
    """Errors with each row's source and its sisters left out of the fit."""
    dense: dict[str, float | int | None]
    """Errors of the dense rows that state tp, pp and layers; see `is_dense_stated`."""
    dense_core: dict[str, float | int | None]
    """Errors of the 16-bit ones among them; see `is_dense_core`."""
    by_vendor: list[GroupErrors]
    by_device: list[GroupErrors]
    by_source: list[GroupErrors]
    by_sharding: list[GroupErrors]
    by_framework: list[GroupErrors]
    by_precision: list[GroupErrors]
    by_scale: list[GroupErrors]
    ordering: list[Ordering]
    """Pairs of runs of one source, model, device, number of devices and batch."""
    memory: MemoryReport
    missed: list[dict[str, str | float | None]]
    """Rows that miss by more than 15 %, in-sample or left out, the worst first, with the reason
    believed."""
    unsupported: list[dict[str, str]]
    runs: list[PredictedRun]
    elapsed_s: float
    profile_hashes: dict[str, str]


def group_errors(name: str, rows: Sequence[PredictedRun]) -> GroupErrors:
    """Errors of a set of rows, of which there is at least one."""
    fitted = summarise([row.signed_error for row in rows])
    left = summarise([row.left_out_signed_error for row in rows])
    if fitted is None or left is None:
        msg = f"group {name} has no rows"
        raise ValueError(msg)
    return GroupErrors(
        name=name,
        **asdict(fitted),
        left_out_mape=left.mape,
        left_out_median_ape=left.median_ape,
        left_out_p90_ape=left.p90_ape,
        left_out_bias=left.bias,
    )


def grouped_errors(rows: Sequence[PredictedRun], attribute: str) -> list[GroupErrors]:
    """Errors by one field of the rows, in the order of its values."""
    groups: dict[str, list[PredictedRun]] = {}
    for row in rows:
        groups.setdefault(str(getattr(row, attribute)), []).append(row)
    return [group_errors(name, groups[name]) for name in sorted(groups)]


def _known(summary: ErrorSummary | None, *, prefix: str = "") -> dict[str, float | int | None]:
    names = ErrorSummary.__dataclass_fields__
    values = asdict(summary) if summary else dict.fromkeys(names)
    return {f"{prefix}{name}": values[name] for name in names}


def _subset(wanted: set[str], rows: list[PredictedRun]) -> dict[str, float | int | None]:
    """Errors of some rows, and how many of them are predicted at all."""
    found = [row for row in rows if row.run_id in wanted]
    left = _known(summarise([row.left_out_signed_error for row in found]), prefix="left_out_")
    left.pop("left_out_n")
    return {
        "rows": len(wanted),
        "predicted": len(found),
        "coverage": len(found) / len(wanted) if wanted else None,
        **_known(summarise([row.signed_error for row in found])),
        **left,
    }


def _left_out(rows: list[PredictedRun]) -> LeftOutErrors:
    by_source = grouped(rows, lambda row: row.source_id, lambda row: row.left_out_signed_error)
    total = _known(summarise([row.left_out_signed_error for row in rows]))
    del total["n"]
    return LeftOutErrors(
        **total,
        by_source=[NamedErrors(name=name, **asdict(found)) for name, found in by_source.items()],
    )


def _missed(rows: list[PredictedRun]) -> list[dict[str, str | float | None]]:
    found = sorted((row for row in rows if row.why is not None), key=lambda row: -row.left_out_ape)
    return [
        {
            "run_id": row.run_id,
            "signed_error": row.signed_error,
            "left_out_signed_error": row.left_out_signed_error,
            "why": row.why,
        }
        for row in found
    ]


def _predicted(
    published: Sequence[PublishedRun], machines: RunMachines
) -> tuple[list[PredictedRun], list[dict[str, str]]]:
    """Rows that are predicted, and why the others are not."""
    rows: list[PredictedRun] = []
    unsupported: list[dict[str, str]] = []
    for run in published:
        request = run_request(run)
        if isinstance(request, Unsupported):
            unsupported.append({"run_id": run.run_id, "why": request.why})
            continue
        try:
            rows.append(predicted_run(run, request, machines))
        except TweelingError as refusal:
            unsupported.append({"run_id": run.run_id, "why": str(refusal)})
    return rows, unsupported


def validate_runs(path: Path, *, predictor: Predictor) -> RunsReport:
    """Predict every row of a table of published runs.

    Parameters
    ----------
    path
        CSV file in the columns of the collection of published runs.
    predictor
        Supplies the catalogues, the user's folders included.

    Raises
    ------
    TweelingError
        The file cannot be read as such a table.
    """
    started_s = time.perf_counter()
    machines = RunMachines(predictor.catalogues.profiles)
    published = read_runs(path)
    rows, unsupported = _predicted(published, machines)
    summary = summarise([row.signed_error for row in rows])
    inside = [row.p10_s <= row.measured_step_time_s <= row.p90_s for row in rows]
    return RunsReport(
        predicted=len(rows),
        coverage=len(rows) / len(published),
        mape=summary.mape if summary else None,
        median_ape=summary.median_ape if summary else None,
        p90_ape=summary.p90_ape if summary else None,
        interval_coverage=sum(inside) / len(inside) if inside else None,
        left_out=_left_out(rows),
        dense=_subset({run.run_id for run in published if is_dense_stated(run)}, rows),
        dense_core=_subset({run.run_id for run in published if is_dense_core(run)}, rows),
        by_vendor=grouped_errors(rows, "vendor"),
        by_device=grouped_errors(rows, "device"),
        by_source=grouped_errors(rows, "source_id"),
        by_sharding=grouped_errors(rows, "sharding"),
        by_framework=grouped_errors(rows, "framework"),
        by_precision=grouped_errors(rows, "precision"),
        by_scale=sorted(
            grouped_errors(rows, "scale"), key=lambda group: SCALE_NAMES.index(group.name)
        ),
        ordering=ordering(rows),
        memory=memory_report(rows),
        missed=_missed(rows),
        unsupported=unsupported,
        runs=rows,
        elapsed_s=time.perf_counter() - started_s,
        profile_hashes=machines.profile_hashes(),
    )
