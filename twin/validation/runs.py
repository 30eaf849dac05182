"""Predictions against published training runs.

Each row is predicted from the accelerator's profile, the model, the stated layout and the
documented constants of its framework. Nothing is fitted to a row or a source here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hardware_profiles.errors import TweelingError
from twin.intervals import interval, step_spread
from twin.predict import Predictor
from twin.prediction import MemoryFigure, MemoryUse
from twin.training.job import TrainingJob
from twin.training.memory import memory_use
from twin.training.plan_rules import check_plan
from twin.training.predictor import StepPredictor
from twin.training.step import Step
from twin.validation.run_constants import SHIPPED, RunConstants
from twin.validation.run_machines import RunMachines
from twin.validation.run_memory import MemoryReport, memory_report
from twin.validation.run_request import (
    RunRequest,
    Unsupported,
    is_dense_core,
    run_request,
)
from twin.validation.runs_table import PublishedRun, read_runs
from twin.validation.statistics import ErrorSummary, grouped, summarise

__all__ = ["PredictedRun", "RunsReport", "predict_run", "validate_runs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedRun:
    """One published run beside its prediction."""

    run_id: str
    source_id: str
    device: str
    framework: str
    sharding: str
    measured_step_time_s: float
    predicted_step_time_s: float
    left_out_step_time_s: float | None
    """With constants fitted without this source; unknown until such a fit exists. [s]"""
    signed_error: float
    """Predicted over measured, minus one. [1]"""
    ape: float
    p10_s: float
    p90_s: float
    measured_memory_bytes: float | None
    predicted_memory_bytes: float
    """The figure that the framework of the run reports. [byte]"""
    memory_figure: MemoryFigure
    """Which figure that is."""
    memory: MemoryUse
    """All components; they add up to the whole device."""
    fits_memory: bool
    task: str
    breakdown: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupErrors:
    """Errors of one group of rows."""

    name: str
    n: int
    mape: float
    median_ape: float
    p90_ape: float
    bias: float


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
    dense_core: dict[str, float | int | None]
    """Errors of the dense rows that state their layout; see `is_dense_core`."""
    by_device: list[GroupErrors]
    by_source: list[GroupErrors]
    by_sharding: list[GroupErrors]
    by_framework: list[GroupErrors]
    memory: MemoryReport
    unsupported: list[dict[str, str]]
    runs: list[PredictedRun]
    left_out: dict[str, float | None]
    elapsed_s: float
    profile_hashes: dict[str, str]


def run_job(
    request: RunRequest, machines: RunMachines, constants: RunConstants = SHIPPED
) -> TrainingJob:
    """The training job of a published run."""
    machine = machines.machine(
        request.accelerator,
        n_devices_per_node=request.devices_per_node,
        network_bytes_per_s=request.inter_node_bandwidth_bytes_per_s_per_node,
        n_network_cards=request.n_network_cards,
    )
    return TrainingJob(
        model=request.transformer,
        machine=constants.machine(machine),
        n_devices=request.n_devices,
        seq_len=request.seq_len,
        global_batch=request.global_batch,
        precision=request.precision,
        framework=constants.framework(request.framework),
        power_cap_w=machine.accelerator.power.tdp_w,
    )


def predict_run(
    request: RunRequest, machines: RunMachines, constants: RunConstants = SHIPPED
) -> tuple[StepPredictor, Step]:
    """Predict the step of one run, with the shipped constants or others.

    Raises
    ------
    TweelingError
        The plan breaks a rule, or the device is unknown.
    """
    predictor = StepPredictor(run_job(request, machines, constants))
    check_plan(predictor.job, request.plan)
    return predictor, predictor.step(request.plan)


def _row(run: PublishedRun, request: RunRequest, machines: RunMachines) -> PredictedRun:
    predictor, step = predict_run(request, machines)
    band = interval(step.time_s, step_spread(predictor, step))
    measured_s = request.measured_step_time_s
    memory = memory_use(predictor.job, request.plan)
    figure = predictor.job.framework.memory.reported_figure
    signed = step.time_s / measured_s - 1.0
    return PredictedRun(
        run_id=request.run_id,
        source_id=request.source_id,
        device=run.device,
        framework=request.framework,
        sharding=run.sharding or "not stated",
        measured_step_time_s=measured_s,
        predicted_step_time_s=step.time_s,
        left_out_step_time_s=None,
        signed_error=signed,
        ape=abs(signed),
        p10_s=band.p10,
        p90_s=band.p90,
        measured_memory_bytes=request.measured_memory_bytes,
        predicted_memory_bytes=memory.figure_bytes(figure),
        memory_figure=figure,
        memory=memory,
        fits_memory=(memory.total_bytes <= predictor.job.machine.accelerator.memory.capacity_bytes),
        task=request.task,
        breakdown=step.breakdown,
    )


def _groups(rows: list[PredictedRun], attribute: str) -> list[GroupErrors]:
    summaries = grouped(
        rows, lambda row: str(getattr(row, attribute)), lambda row: row.signed_error
    )
    return [GroupErrors(name=name, **asdict(summary)) for name, summary in summaries.items()]


def _core(
    published: Sequence[PublishedRun], rows: list[PredictedRun]
) -> dict[str, float | int | None]:
    wanted = {run.run_id for run in published if is_dense_core(run)}
    errors = [row.signed_error for row in rows if row.run_id in wanted]
    summary = summarise(errors)
    known = asdict(summary) if summary else dict.fromkeys(ErrorSummary.__dataclass_fields__)
    coverage = len(errors) / len(wanted) if wanted else None
    return {"rows": len(wanted), "predicted": len(errors), "coverage": coverage, **known}


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
    rows: list[PredictedRun] = []
    unsupported: list[dict[str, str]] = []
    for run in published:
        request = run_request(run)
        if isinstance(request, Unsupported):
            unsupported.append({"run_id": run.run_id, "why": request.why})
            continue
        try:
            rows.append(_row(run, request, machines))
        except TweelingError as refusal:
            unsupported.append({"run_id": run.run_id, "why": str(refusal)})
    summary = summarise([row.signed_error for row in rows])
    inside = [row.p10_s <= row.measured_step_time_s <= row.p90_s for row in rows]
    return RunsReport(
        predicted=len(rows),
        coverage=len(rows) / len(published) if published else 0.0,
        mape=summary.mape if summary else None,
        median_ape=summary.median_ape if summary else None,
        p90_ape=summary.p90_ape if summary else None,
        interval_coverage=sum(inside) / len(inside) if inside else None,
        dense_core=_core(published, rows),
        by_device=_groups(rows, "device"),
        by_source=_groups(rows, "source_id"),
        by_sharding=_groups(rows, "sharding"),
        by_framework=_groups(rows, "framework"),
        memory=memory_report(rows),
        unsupported=unsupported,
        runs=rows,
        left_out={"mape": None, "median_ape": None, "p90_ape": None},
        elapsed_s=time.perf_counter() - started_s,
        profile_hashes=machines.profile_hashes(),
    )
