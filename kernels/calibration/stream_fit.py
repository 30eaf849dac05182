"""Search for the parameters of memory-bound operations and of bandwidth against occupancy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hardware_profiles.calibration import (
    SOFT_ROW_SHARPNESS,
    STREAM_OVERLAP,
    BandwidthCalibration,
    Residual,
)
from kernels.calibration.fit_residual import LEAST_GAIN, PLAIN, SMOOTH, GridAxis, ResidualFitter
from kernels.calibration.simplex import Bound, FloatArray, fit_parameters, robust_loss
from kernels.calibration.stream_rows import OperationRows
from kernels.memory_bound.machine import EagerPlan
from kernels.memory_bound.occupancy import OccupancyMachine, occupied_bandwidth_bytes_per_s
from kernels.memory_bound.operation import OperationMachine
from kernels.prediction.operations import OperationTimes, residual_third, runs_along_rows
from kernels.residual import compiled_grid

__all__ = [
    "FittedOperation",
    "OperationFitter",
    "eager_bounds",
    "fit_occupancy",
    "stream_bounds",
]

SHORT_ROW_COLUMNS = {
    "softmax": 1024.0,
    "softmax-fwd": 2048.0,
    "softmax-bwd": 1024.0,
    "cross_entropy-fwd": 2048.0,
    "cross_entropy_fp32-fwd": 2048.0,
}
"""Rows that one warp takes in the framework measured (PyTorch, SoftMax.cu; forward passes up to
2,048 columns since the versions that surveys run)."""

STEP_SHARPNESS = 1000.0
"""A library that decides by the length of a row switches at once. [1]"""

OVERLAP = Bound(low=1.0, high=8.0, start=3.0, prior_sigma=0.5)
"""How well traffic overlaps with what rows cost besides. [1]"""

EAGER_LAUNCH_S = 3e-6
"""Launch, fill and drain of one streaming kernel: where the search for it begins. [s]"""

AXES = (
    GridAxis(start_log2=10.0, step_log2=3.0, count=5),
    GridAxis(start_log2=9.0, step_log2=0.5, count=11),
    GridAxis(start_log2=-1.0, step_log2=1.0, count=3),
)
"""Rows, columns, and what `residual_third` says of elements and of where rows begin."""

EAGER_AXES = tuple(
    (
        GridAxis(start_log2=10.0, step_log2=2.5, count=4),
        GridAxis(start_log2=9.0, step_log2=step, count=count),
        GridAxis(start_log2=-1.0, step_log2=1.0, count=2),
    )
    for step, count in ((1.0, 9), (0.5, 17))
)
"""Rows, columns, and one half or 1 for elements of two or four bytes."""

LEAST_CORRECTED_ROWS = 30
"""Rows of an operation on a device from which a correction of its known kernels is tried: of fewer
the parts that judge it hold less than six each. [1]"""

PRIOR_ROWS = 0.02
"""Weight of the prior, in rows: of 0.5, 0.1 and 0.02 the one that suits unseen rows best in classes
of a few. [1]"""

EAGER_PRIOR_ROWS = 1e-3
"""The same for operations whose kernels are known: two devices tell more than the start. [1]"""

CACHED = Bound(low=1.01, high=4.0, start=2.0, prior_sigma=0.4)
"""Bandwidth of the second-level cache over that of memory, where rows show it. [1]"""

LEAST_CACHED_ROWS = 5
"""Rows that fit into the cache from which its bandwidth is tried. [1]"""

N_FOLDS = 5
"""Parts of the sizes, each predicted from the others, that decide on it. [1]"""

FEW_ROWS = 40
"""Fewer rows than this lean on what other devices show. [1]"""

OCCUPANCY_BOUNDS = {
    "peak_fraction": Bound(low=0.3, high=1.0, start=0.85),
    "saturation_fraction": Bound(low=0.05, high=2.0, start=0.4),
    "join_exponent": Bound(low=0.5, high=12.0, start=2.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedOperation:
    """Parameters of one class of operations, on one device or on all of an architecture."""

    parameters: dict[str, float]
    residual: Residual | None


FIXED = {
    "row_s": Bound(low=0.0, high=0.0, start=0.0),
    "unaligned_row_s": Bound(low=0.0, high=0.0, start=0.0),
    "long_row_bytes": Bound(low=0.0, high=0.0, start=0.0),
    "long_row_traffic_ratio": Bound(low=1.0, high=1.0, start=1.0),
    "long_row_sharpness": Bound(
        low=SOFT_ROW_SHARPNESS, high=SOFT_ROW_SHARPNESS, start=SOFT_ROW_SHARPNESS
    ),
    "element_s": Bound(low=0.0, high=0.0, start=0.0),
    "byte_s": Bound(low=0.0, high=0.0, start=0.0),
    "overlap_exponent": Bound(low=STREAM_OVERLAP, high=STREAM_OVERLAP, start=STREAM_OVERLAP),
    "fill_rows": Bound(low=0.0, high=0.0, start=0.0),
    "held_row_columns": Bound(low=0.0, high=0.0, start=0.0),
    "held_row_s": Bound(low=0.0, high=0.0, start=0.0),
    "held_register_s": Bound(low=0.0, high=0.0, start=0.0),
    "plain_row_bytes": Bound(low=0.0, high=0.0, start=0.0),
    "plain_round_s": Bound(low=0.0, high=0.0, start=0.0),
    "plain_rest_s": Bound(low=0.0, high=0.0, start=0.0),
    "row_element_ratio": Bound(low=1.0, high=1.0, start=1.0),
    "row_traffic_share": Bound(low=1.0, high=1.0, start=1.0),
    "serial_row_s": Bound(low=0.0, high=0.0, start=0.0),
    "block_s": Bound(low=0.0, high=0.0, start=0.0),
    "cached_bandwidth_ratio": Bound(low=1.0, high=1.0, start=1.0),
}
"""What a plain stream does not have."""


def stream_bounds(name: str) -> dict[str, Bound]:
    """Ranges for one class of operations; only those along rows have terms of their own."""
    bounds = FIXED | {
        "traffic_ratio": Bound(low=0.9, high=12.0, start=1.0, prior_sigma=0.2),
        "launch_s": Bound(low=0.5e-6, high=60e-6, start=10e-6, prior_sigma=1.0),
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


def eager_bounds(name: str, plan: EagerPlan) -> dict[str, Bound]:
    """Ranges for an operation whose kernels are known: what these move is hardly free."""
    is_along_rows, ratio = runs_along_rows(name), plan.traffic_ratio
    launch_s = plan.kernels * EAGER_LAUNCH_S
    bounds = FIXED | {
        "traffic_ratio": Bound(
            low=0.9 * ratio,
            high=3.0 * ratio,
            start=ratio,
            prior_sigma=0.2 if is_along_rows else 0.1,
        ),
        "launch_s": Bound(low=0.5e-6, high=100e-6, start=launch_s, prior_sigma=1.0),
        "element_s": Bound(low=1e-12, high=1e-8, start=1e-10, prior_sigma=1.0),
    }
    if is_along_rows and not plan.held_row_columns:
        bounds["overlap_exponent"] = OVERLAP
        bounds["byte_s"] = Bound(low=1e-13, high=1e-9, start=5e-11, prior_sigma=1.0)
        row = Bound(low=1e-9, high=20e-6, start=0.2e-6, prior_sigma=1.0)
        bounds |= {"row_s": row, "unaligned_row_s": row}
        if name not in SHORT_ROW_COLUMNS:
            bounds["fill_rows"] = Bound(low=1e-2, high=16.0, start=1.0, prior_sigma=1.0)
    if plan.block_s > 0.0:
        bounds["block_s"] = Bound(low=1e-7, high=1e-3, start=plan.block_s, prior_sigma=0.5)
    bounds["row_element_ratio"] = _known(plan.row_element_ratio)
    if plan.serial_row_s > 0.0:
        bounds["serial_row_s"] = Bound(
            low=1e-11, high=1e-7, start=plan.serial_row_s, prior_sigma=1.0
        )
    if plan.held_row_columns > 0.0:
        bounds |= {
            "overlap_exponent": OVERLAP,
            "held_row_columns": _known(plan.held_row_columns),
            "row_traffic_share": _known(plan.row_traffic_share),
            "held_row_s": Bound(low=1e-7, high=1e-4, start=2e-6, prior_sigma=1.0),
            "held_register_s": Bound(low=1e-9, high=1e-5, start=2e-7, prior_sigma=1.0),
            "plain_row_bytes": _known(plan.plain_row_bytes),
            "plain_round_s": Bound(low=1e-8, high=1e-4, start=2e-6, prior_sigma=1.0),
            "plain_rest_s": Bound(low=1e-9, high=1e-5, start=7e-7, prior_sigma=1.0),
        }
    if plan.long_row_bytes > 0.0:
        bounds["long_row_bytes"] = _known(plan.long_row_bytes)
        if plan.long_row_traffic_ratio is None:
            bounds["long_row_traffic_ratio"] = Bound(low=1.0, high=3.0, start=1.4, prior_sigma=0.2)
            bounds["long_row_sharpness"] = _known(plan.long_row_sharpness)
        else:
            bounds["long_row_traffic_ratio"] = _known(plan.long_row_traffic_ratio)
            if not plan.held_row_columns:  # else it is a cache that rows outgrow, bit by bit
                bounds["long_row_sharpness"] = _known(STEP_SHARPNESS)
    return bounds


def _known(value: float) -> Bound:
    return Bound(low=float(value), high=float(value), start=float(value))


def _with_starts(
    bounds: Mapping[str, Bound], prior: Mapping[str, float] | None
) -> dict[str, Bound]:
    """The ranges, with the searches of what is fitted beginning at other devices' values."""
    if prior is None:
        return dict(bounds)
    return {
        name: Bound(
            low=b.low,
            high=b.high,
            start=min(max(prior.get(name, b.start), b.low), b.high),
            prior_sigma=b.prior_sigma,
        )
        if b.high > b.low
        else b
        for name, b in bounds.items()
    }


def _as_aligned(values: Mapping[str, float], sets: Sequence[OperationRows]) -> dict[str, float]:
    """Rows that begin anywhere cost what others do where none was measured."""
    is_told = any((rows.sizes[:, 4] == 0.0).any() for rows in sets)
    return dict(values) if is_told else {**values, "unaligned_row_s": values["row_s"]}


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
            cache_bytes=accelerator.memory.l2_bytes or 0.0,
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
        bounds = _with_starts(stream_bounds(rows.name), prior)
        prior_rows = 0.0 if prior is None else PRIOR_ROWS
        if self._is_faster_in_cache(rows, efficiency, bounds, prior_rows=prior_rows):
            bounds["cached_bandwidth_ratio"] = CACHED
        parameters = self._searched([(rows, efficiency)], bounds, prior_rows=prior_rows)
        if prior is None:  # else other devices have told
            parameters = _as_aligned(parameters, [rows])
        residual = None
        if runs_along_rows(rows.name) and len(rows.sizes) >= FEW_ROWS:
            residual = self._residual(rows, self._plain_s(rows, efficiency, parameters))
        return FittedOperation(parameters=parameters, residual=residual)

    def fit_eager(
        self,
        parts: Sequence[tuple[OperationRows, float]],
        plan: EagerPlan,
        *,
        prior: Mapping[str, float] | None = None,
    ) -> list[FittedOperation]:
        """One class whose kernels are known, on all devices of an architecture together.

        Parameters
        ----------
        parts
            Rows of each device, with its share of the bandwidth: devices that differ in bandwidth
            only tell arithmetic from traffic. [1]
        plan
            The kernels; the searches begin there, and where rows do not tell they stay there.
        prior
            What was known before, of all constants or some: of one device alone, whose rows cannot
            tell, or of an operation that runs through the same kernels.

        Returns
        -------
        list
            One for each part: the same constants, and corrections that each device's rows earn.
        """
        name = parts[0][0].name
        bounds = _with_starts(eager_bounds(name, plan), prior)
        prior_rows = EAGER_PRIOR_ROWS if len(parts) > 1 else PRIOR_ROWS
        parameters = self._searched(parts, bounds, prior_rows=prior_rows)
        parameters = _as_aligned(parameters, [rows for rows, _ in parts])
        return [
            FittedOperation(
                parameters=parameters,
                residual=self._eager_residual(rows, self._plain_s(rows, efficiency, parameters)),
            )
            for rows, efficiency in parts
        ]

    def _plain_s(
        self, rows: OperationRows, efficiency: float, values: Mapping[str, float]
    ) -> FloatArray:
        machine = self.machine(rows, efficiency, values)
        return self.times.filled(rows.sizes, machine, compiled_grid(None))

    def _searched(
        self,
        parts: Sequence[tuple[OperationRows, float]],
        bounds: Mapping[str, Bound],
        *,
        prior_rows: float,
    ) -> dict[str, float]:
        measured_s = np.concatenate([rows.measured_s for rows, _ in parts])
        weights = np.ones(len(measured_s))

        def loss(values: dict[str, float]) -> float:
            times_s = [self._plain_s(rows, efficiency, values) for rows, efficiency in parts]
            return robust_loss(np.concatenate(times_s), measured_s, weights)

        return fit_parameters(
            loss,
            bounds,
            prior_weight=prior_rows / len(measured_s),
            n_evaluations=500 if sum(one.high > one.low for one in bounds.values()) > 2 else 150,
        )

    def _is_faster_in_cache(
        self,
        rows: OperationRows,
        efficiency: float,
        bounds: Mapping[str, Bound],
        *,
        prior_rows: float,
    ) -> bool:
        """Whether data that stays in the second-level cache is faster, for unseen sizes too."""
        footprints_bytes = rows.sizes[:, :4].prod(axis=1)
        if (footprints_bytes < (rows.accelerator.memory.l2_bytes or 0.0)).sum() < LEAST_CACHED_ROWS:
            return False
        losses = []
        for tried in (bounds, {**bounds, "cached_bandwidth_ratio": CACHED}):
            times_s = np.empty(len(rows.sizes))
            for number in range(N_FOLDS):
                unseen = rows.keys % N_FOLDS == number
                seen = [(rows.where(~unseen), efficiency)]
                found = self._searched(seen, tried, prior_rows=prior_rows)
                times_s[unseen] = self._plain_s(rows.where(unseen), efficiency, found)
            losses.append(robust_loss(times_s, rows.measured_s, np.ones(len(times_s))))
        return losses[1] < (1.0 - LEAST_GAIN) * losses[0]

    def _residual(self, rows: OperationRows, predicted_s: FloatArray) -> Residual | None:
        errors = np.log(rows.measured_s / predicted_s)
        return self.residuals.fit(_places(rows), errors, rows.keys, (AXES,), priors=(PLAIN,))

    def _eager_residual(self, rows: OperationRows, predicted_s: FloatArray) -> Residual | None:
        if len(rows.sizes) < LEAST_CORRECTED_ROWS:
            return None
        errors = np.log(rows.measured_s / predicted_s)
        return self.residuals.fit(_places(rows), errors, rows.keys, EAGER_AXES, priors=(SMOOTH,))


def _places(rows: OperationRows) -> FloatArray:
    """Where rows lie on the axes of a correction. [1]"""
    third = [residual_third(*pair) for pair in rows.sizes[:, (2, 4)].tolist()]
    return np.column_stack([rows.sizes[:, :2], third])


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
