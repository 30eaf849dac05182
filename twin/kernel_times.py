"""Predicted times of measured kernels, by family: the prediction classes, found by their names.

A family without such a class is predicted row by row with the scalar formulas of the step model.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import Calibration
from hardware_profiles.errors import TweelingError
from kernels.attention.model import (
    AttentionShape,
    attention_backward_time,
    attention_forward_time,
)
from kernels.calibration.measurements import Table
from kernels.compiled_formula import PlainFormulas
from kernels.families.inheritance import completed_calibration
from kernels.libraries import implementation
from kernels.memory_bound.model import stream_time_s
from twin.training.device_model import DeviceModel

__all__ = ["KernelPredictors"]

FloatArray = npt.NDArray[np.float64]

CLASSES = {
    "gemm": ("kernels.prediction.gemm", "GemmTimes"),
    "attention": ("kernels.prediction.attention", "AttentionTimes"),
    "collective": ("kernels.prediction.collectives", "CollectiveTimes"),
    "operation": ("kernels.prediction.operations", "OperationTimes"),
}
"""Module and class that predicts each kind of table."""

ROWS_IN_PLAIN_PYTHON = 20_000
"""Up to so many rows a compiler costs more than it saves. [1]"""

CAUSAL_FRACTION = 0.5
STREAM_PRECISION = "bf16"
ELEMENT_BYTES = 2.0
"""Width of an element of attention. [byte]"""


class TableTimes(Protocol):
    """Predicts the rows of a table of one device."""

    def times_s(
        self, rows: Table, accelerator: Accelerator, calibration: Calibration
    ) -> FloatArray:
        """Predicted time of every row. [s]"""
        ...


class KernelPredictors:
    """Keeps one predictor of each family, so that compiled formulas serve all devices."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, bool], TableTimes | None] = {}
        self._calibrations: dict[str, Calibration] = {}

    def times_s(self, kind: str, rows: Table, accelerator: Accelerator) -> FloatArray:
        """Predicted time of every row; NaN where nothing predicts it. [s]"""
        calibration = self._calibrations.get(accelerator.name)
        if calibration is None:
            calibration = completed_calibration(accelerator)
            self._calibrations[accelerator.name] = calibration
        predictor = self._predictor(kind, is_small=len(rows) <= ROWS_IN_PLAIN_PYTHON)
        if predictor is not None:
            return predictor.times_s(rows, accelerator, calibration)
        if kind == "attention":
            return _attention_times_s(rows, accelerator)
        if kind in ("operation", "stream"):
            return _stream_times_s(rows, accelerator)
        return np.full(len(rows), np.nan)

    def _predictor(self, kind: str, *, is_small: bool) -> TableTimes | None:
        key = (kind, is_small)
        if key not in self._kept:
            self._kept[key] = _made(kind, is_small=is_small)
        return self._kept[key]


def _made(kind: str, *, is_small: bool) -> TableTimes | None:
    """The predictor of a kind; plain Python for few rows, where it can be had."""
    module_name, class_name = CLASSES.get(kind, ("", ""))
    if not module_name or importlib.util.find_spec(module_name) is None:
        return None
    make = cast(
        "Callable[..., TableTimes]", getattr(importlib.import_module(module_name), class_name)
    )
    if is_small and kind == "gemm":
        return make(PlainFormulas())
    return make()


def _attention_times_s(rows: Table, accelerator: Accelerator) -> FloatArray:
    """Each distinct call once, with the parameters of the library's implementation. [s]"""
    found: dict[tuple[object, ...], float] = {}
    names = ("batch", "heads_q", "heads_kv", "seq_q", "seq_kv", "head_dim", "causal")
    columns = [*(rows[name].tolist() for name in names), rows["direction"], rows["library"]]
    times_s = np.full(len(rows), np.nan)
    for row, (*sizes, direction, library) in enumerate(zip(*columns, strict=True)):
        key = (*sizes, direction, library)
        if key not in found:
            found[key] = _attention_s(sizes, str(direction), str(library), accelerator)
        times_s[row] = found[key]
    return times_s


def _attention_s(
    sizes: list[float], direction: str, library: str, accelerator: Accelerator
) -> float:
    wanted = _implementations(library)
    device = DeviceModel(accelerator, STREAM_PRECISION, wanted)
    if not wanted or direction not in ("fwd", "bwd"):
        return float("nan")
    try:
        machine = device.attention(1.0)
    except (TweelingError, KeyError):
        return float("nan")
    batch, heads, kv_heads, query, key, width, causal = sizes
    visible = CAUSAL_FRACTION if causal else 1.0
    shape = AttentionShape(batch, heads, kv_heads, query, key, width, visible, ELEMENT_BYTES)
    time = attention_forward_time if direction == "fwd" else attention_backward_time
    return time(shape, machine).time_s


def _implementations(library: str) -> tuple[str, ...]:
    """Implementations whose parameters serve for a library, the likeliest first."""
    listed = implementation("attention", library)
    if listed is not None:
        return (listed,)
    if "math" in library or "efficient" in library:
        return ()
    return ("cudnn",) if "cudnn" in library else ("flash-2", "ck", "flash-3")


def _stream_times_s(rows: Table, accelerator: Accelerator) -> FloatArray:
    """A stream of the traffic that the table states. [s]"""
    machine = DeviceModel(accelerator, STREAM_PRECISION, ()).stream()
    traffic = rows["bytes"].astype(np.float64)
    times_s = np.array([stream_time_s(one, 1.0, machine) for one in traffic.tolist()])
    return np.where(traffic > 0.0, times_s, np.nan)
