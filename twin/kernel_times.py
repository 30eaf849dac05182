"""Predicted times of measured kernels of one device, batch by batch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import Calibration
from kernels.families.inheritance import completed_calibration
from kernels.measurement_tables import Table
from kernels.memory_bound.model import stream_time_s
from kernels.prediction.registry import ROWS_IN_PLAIN_PYTHON, RowPredictor, row_predictor
from twin.kernel_columns import HOST_TRANSFERS
from twin.training.device_model import DeviceModel

__all__ = ["KernelPredictors"]

FloatArray = npt.NDArray[np.float64]

FAMILIES = {
    "gemm": "gemm",
    "attention": "attention",
    "collective": "collectives",
    "operation": "ops",
}
"""Family of kernels that predicts each kind of table."""

STREAM_PRECISION = "bf16"


class KernelPredictors:
    """Keeps one predictor of each family, so that compiled formulas serve all devices."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, bool], RowPredictor] = {}
        self._calibrations: dict[str, Calibration] = {}

    def times_s(self, kind: str, rows: Table, accelerator: Accelerator) -> FloatArray:
        """Predicted time of every row; NaN where nothing predicts it. [s]"""
        times_s = np.full(len(rows), np.nan)
        if kind in FAMILIES:
            predict = self._predictor(FAMILIES[kind], n_rows=len(rows))
            times_s = predict(rows, accelerator, self._calibration(accelerator))
        if kind in ("operation", "stream"):
            streams_s = _stream_times_s(rows, accelerator)
            times_s = np.where(np.isnan(times_s), streams_s, times_s)
        return times_s

    def _calibration(self, accelerator: Accelerator) -> Calibration:
        found = self._calibrations.get(accelerator.name)
        if found is None:
            found = self._calibrations[accelerator.name] = completed_calibration(accelerator)
        return found

    def _predictor(self, family: str, *, n_rows: int) -> RowPredictor:
        key = (family, n_rows <= ROWS_IN_PLAIN_PYTHON)
        if key not in self._kept:
            self._kept[key] = row_predictor(family, n_rows=n_rows)
        return self._kept[key]


def _stream_times_s(rows: Table, accelerator: Accelerator) -> FloatArray:
    """A stream of the traffic that the table states. [s]"""
    if "bytes" not in rows.columns:
        return np.full(len(rows), np.nan)
    machine = DeviceModel(accelerator, STREAM_PRECISION, ()).stream()
    traffic = rows["bytes"].astype(np.float64)
    times_s = np.array([stream_time_s(one, 1.0, machine) for one in traffic.tolist()])
    is_memory = ~np.isin(rows["op"].astype(str), HOST_TRANSFERS)
    return np.where((traffic > 0.0) & is_memory, times_s, np.nan)
