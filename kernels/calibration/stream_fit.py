"""Search for the parameters of memory-bound operations and of bandwidth against occupancy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hardware_profiles.calibration import BandwidthCalibration, Residual
from kernels.calibration.fit_residual import GridAxis, ResidualFitter
from kernels.calibration.simplex import Bound, FloatArray, fit_parameters, robust_loss
from kernels.calibration.stream_rows import OperationRows
from kernels.memory_bound.occupancy import OccupancyMachine, occupied_bandwidth_bytes_per_s
from kernels.memory_bound.operation import OperationMachine
from kernels.prediction.operations import UNALIGNED, OperationTimes, runs_along_rows
from kernels.residual import compiled_grid

__all__ = ["FittedOperation", "OperationFitter", "fit_occupancy", "stream_bounds"]

SHORT_ROW_COLUMNS = {"softmax": 1024.0, "softmax-fwd": 1024.0, "softmax-bwd": 1024.0}
"""Rows that one warp takes in the framework measured (PyTorch, SoftMax.cu)."""

AXES = (
    GridAxis(start_log2=10.0, step_log2=3.0, count=5),
    GridAxis(start_log2=9.0, step_log2=0.5, count=11),
    GridAxis(start_log2=0.0, step_log2=1.0, count=2),
)
"""Rows, columns, and 1 or 2 for rows that begin on 16 bytes or not."""

PRIOR_ROWS = 0.1
"""Weight of the prior, in rows. [1]"""

FEW_ROWS = 40
"""Fewer rows than this lean on what other devices show. [1]"""

OCCUPANCY_BOUNDS = {
    "peak_fraction": Bound(low=0.3, high=1.0, start=0.85),
    "saturation_fraction": Bound(low=0.05, high=2.0, start=0.4),
    "join_exponent": Bound(low=0.5, high=12.0, start=2.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedOperation:
    """Parameters of one class of operations on one device."""

    parameters: dict[str, float]
    residual: Residual | None
    n_rows: int


def stream_bounds(name: str) -> dict[str, Bound]:
    """Ranges for one class of operations; only those along rows have terms of their own."""
    bounds = {
        "traffic_ratio": Bound(low=0.9, high=12.0, start=1.0, prior_sigma=0.2),
        "launch_s": Bound(low=0.5e-6, high=60e-6, start=10e-6, prior_sigma=1.0),
        "row_s": Bound(low=0.0, high=0.0, start=0.0),
        "unaligned_row_s": Bound(low=0.0, high=0.0, start=0.0),
        "long_row_bytes": Bound(low=0.0, high=0.0, start=0.0),
        "long_row_traffic_ratio": Bound(low=1.0, high=1.0, start=1.0),
    }
    if runs_along_rows(name):
        row = Bound(low=1e-9, high=20e-6, start=0.5e-6, prior_sigma=0.5)
        bounds |= {
            "row_s": row,
            "unaligned_row_s": row,
            "long_row_bytes": Bound(low=4e3, high=2e5, start=3e4, prior_sigma=0.4),
            "long_row_traffic_ratio": Bound(low=1.0, high=3.0, start=1.5, prior_sigma=0.3),
        }
    return bounds


@dataclass
class OperationFitter:
    """Fits one class of operations after the other; keeps compiled models between them."""

    times: OperationTimes = field(default_factory=OperationTimes)
    residuals: ResidualFitter = field(default_factory=ResidualFitter)

    def machine(
        self, rows: OperationRows, efficiency: float, values: Mapping[str, float]
    ) -> OperationMachine:
        """A class of operations on its device with these parameters."""
        accelerator = rows.accelerator
        return OperationMachine(
            memory_bandwidth_bytes_per_s=accelerator.memory.bandwidth_bytes_per_s,
            bandwidth_efficiency_fraction=efficiency,
            cached_bandwidth_ratio=1.0,
            cache_bytes=0.0,
            n_units=float(accelerator.compute.n_units),
            short_row_columns=SHORT_ROW_COLUMNS.get(rows.name, 0.0),
            **values,
        )

    def predict_s(
        self, rows: OperationRows, efficiency: float, fitted: FittedOperation
    ) -> FloatArray:
        """Times of rows with fitted parameters, correction included. [s]"""
        machine = self.machine(rows, efficiency, fitted.parameters)
        return self.times.filled(rows.sizes, machine, compiled_grid(fitted.residual))

    def fit(
        self,
        rows: OperationRows,
        efficiency: float,
        *,
        prior: Mapping[str, float] | None = None,
    ) -> FittedOperation:
        """Parameters of one class on one device, and the correction if it earns its place."""
        bounds = stream_bounds(rows.name)
        if prior is not None:
            bounds = {
                name: Bound(low=b.low, high=b.high, start=prior[name], prior_sigma=b.prior_sigma)
                if b.high > b.low
                else b
                for name, b in bounds.items()
            }
        weights = np.ones(len(rows.sizes))

        def predict_s(values: dict[str, float]) -> FloatArray:
            machine = self.machine(rows, efficiency, values)
            return self.times.filled(rows.sizes, machine, compiled_grid(None))

        parameters = fit_parameters(
            lambda values: robust_loss(predict_s(values), rows.measured_s, weights),
            bounds,
            prior_weight=PRIOR_ROWS / len(rows.sizes) if prior is not None else 0.0,
            n_evaluations=500 if runs_along_rows(rows.name) else 150,
        )
        residual = None
        if runs_along_rows(rows.name) and len(rows.sizes) >= FEW_ROWS:
            residual = self._residual(rows, predict_s(parameters))
        return FittedOperation(parameters=parameters, residual=residual, n_rows=len(rows.sizes))

    def _residual(self, rows: OperationRows, predicted_s: FloatArray) -> Residual | None:
        places = np.column_stack([rows.sizes[:, :2], UNALIGNED - rows.sizes[:, 4]])
        errors = np.log(rows.measured_s / predicted_s)
        return self.residuals.fit(places, errors, rows.keys, (AXES,))


def fit_occupancy(occupancy: FloatArray, share: FloatArray) -> BandwidthCalibration:
    """Little's law on one kernel and device.

    Parameters
    ----------
    occupancy
        Occupancy of each row. [1]
    share
        Measured bandwidth over the datasheet's. [1]

    Returns
    -------
    BandwidthCalibration
        With one occupancy only, the peak is what was measured there.
    """
    if len(set(occupancy)) < len(OCCUPANCY_BOUNDS):
        return BandwidthCalibration(
            peak_fraction=float(np.max(share)), saturation_fraction=0.1, join_exponent=12.0
        )

    def loss(values: dict[str, float]) -> float:
        return robust_loss(_shares(occupancy, values), share, np.ones(len(share)))

    return BandwidthCalibration(**fit_parameters(loss, OCCUPANCY_BOUNDS, n_evaluations=250))


def _shares(occupancy: Sequence[float] | FloatArray, values: Mapping[str, float]) -> FloatArray:
    machine = OccupancyMachine(1.0, **values)
    return np.array([occupied_bandwidth_bytes_per_s(float(one), machine) for one in occupancy])
