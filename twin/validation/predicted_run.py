"""One published run beside its prediction, in-sample and with its own source left out."""

from __future__ import annotations

from dataclasses import dataclass

from twin.intervals import interval, step_spread
from twin.prediction import MemoryFigure, MemoryUse
from twin.training.memory import memory_use
from twin.validation.left_out import constants_without
from twin.validation.miss_reasons import miss_reason
from twin.validation.run_machines import RunMachines
from twin.validation.run_prediction import predict_run
from twin.validation.run_request import RunRequest, is_dense_stated
from twin.validation.runs_table import PublishedRun

__all__ = ["SCALE_NAMES", "PredictedRun", "predicted_run"]

SCALES = ((8, "to 8 devices"), (64, "9 to 64"), (512, "65 to 512"), (4096, "513 to 4,096"))
LARGEST_SCALE = "above 4,096"
SCALE_NAMES = (*(name for _, name in SCALES), LARGEST_SCALE)
"""Classes of device counts, the smallest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedRun:
    """One published run beside its prediction."""

    run_id: str
    source_id: str
    vendor: str
    device: str
    accelerator: str
    """Profile that stands for the device."""
    architecture: str
    """Family of the device."""
    n_devices: int
    scale: str
    """Its number of devices in words of a few classes."""
    model_name: str
    precision: str
    framework: str
    sharding: str
    global_batch: int
    is_dense_stated: bool
    """Dense, with a layout that the source states; see `run_request.is_dense_stated`."""
    measured_step_time_s: float
    predicted_step_time_s: float
    left_out_step_time_s: float
    """With constants fitted without this source and its sisters. [s]"""
    signed_error: float
    """Predicted over measured, minus one. [1]"""
    ape: float
    left_out_signed_error: float
    """The same for the prediction with the source left out. [1]"""
    left_out_ape: float
    p10_s: float
    p90_s: float
    why: str | None
    """The reason believed, where the run is missed by more than 15 %, in-sample or left out."""
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


def _scale(n_devices: int) -> str:
    return next((name for most, name in SCALES if n_devices <= most), LARGEST_SCALE)


def predicted_run(run: PublishedRun, request: RunRequest, machines: RunMachines) -> PredictedRun:
    """Predict one run twice: with the shipped constants, and with its source left out.

    Raises
    ------
    TweelingError
        The plan breaks a rule, or the device is unknown.
    """
    predictor, step = predict_run(request, machines)
    left_out = constants_without(request.source_id)
    left_step = step
    if left_out.values:
        _, left_step = predict_run(request, machines, left_out)
    band = interval(step.time_s, step_spread(predictor, request.plan, step))
    measured_s = request.measured_step_time_s
    memory = memory_use(predictor.job, request.plan)
    accelerator = predictor.job.machine.accelerator
    figure = predictor.job.framework.memory.reported_figure
    signed = step.time_s / measured_s - 1.0
    left_signed = left_step.time_s / measured_s - 1.0
    return PredictedRun(
        run_id=request.run_id,
        source_id=request.source_id,
        vendor=run.vendor or accelerator.vendor,
        device=run.device,
        accelerator=accelerator.name,
        architecture=accelerator.architecture,
        n_devices=request.n_devices,
        scale=_scale(request.n_devices),
        model_name=run.model_name,
        precision=request.precision,
        framework=request.framework,
        sharding=run.sharding or "not stated",
        global_batch=request.global_batch,
        is_dense_stated=is_dense_stated(run),
        measured_step_time_s=measured_s,
        predicted_step_time_s=step.time_s,
        left_out_step_time_s=left_step.time_s,
        signed_error=signed,
        ape=abs(signed),
        left_out_signed_error=left_signed,
        left_out_ape=abs(left_signed),
        p10_s=band.p10,
        p90_s=band.p90,
        why=miss_reason(
            request.run_id, signed=max(signed, left_signed, key=abs), breakdown=step.breakdown
        ),
        measured_memory_bytes=request.measured_memory_bytes,
        predicted_memory_bytes=memory.figure_bytes(figure),
        memory_figure=figure,
        memory=memory,
        fits_memory=memory.total_bytes <= accelerator.memory.capacity_bytes,
        task=request.task,
        breakdown=step.breakdown,
    )
