"""Predicted times of measured memory-bound operations: rows of a table, one device at a time."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import (
    Calibration,
    MemoryBoundCalibration,
    OperationCalibration,
)
from kernels.compiled_formula import FormulaCompiler, PlainFormulas
from kernels.measurement_tables import Table
from kernels.memory_bound.operation import Matrix, OperationMachine, operation_time_s
from kernels.residual import ResidualGrid, residual_grid, residual_log

__all__ = [
    "OperationTimes",
    "matrix_sizes",
    "operation_class",
    "operation_machine",
    "operation_names",
    "runs_along_rows",
    "traffic_passes",
]

FloatArray = npt.NDArray[np.float64]

ELEMENT_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "tf32": 4.0}

ALIGNMENT_BYTES = 16.0
"""Widest load of one thread. [byte]"""

ALIGNED, UNALIGNED = 1.0, 2.0
"""Places on the third axis of a residual."""

FOLDER = Path(__file__).parent.parent / "memory_bound"


@functools.cache
def _facts() -> dict[str, Any]:
    with (FOLDER / "operations.toml").open("rb") as file:
        return tomllib.load(file)


def _passes() -> dict[str, float]:
    return dict(_facts()["passes"])


def operation_names() -> frozenset[str]:
    """Names of the operations whose traffic is known, with their direction where they have one."""
    return frozenset(_passes())


def traffic_passes(name: str) -> float:
    """Operands read plus results written by an operation, in matrices of its size. [1]"""
    return _passes()[name]


def runs_along_rows(name: str) -> bool:
    """Whether an operation reduces over the columns of each row."""
    return name in _facts()["along_rows"]["names"]


def operation_class(rows: Table) -> npt.NDArray[np.object_]:
    """Name of each row's operation, with its direction where the row states one."""
    if "direction" not in rows.columns:
        return rows["op"].astype(object)
    pairs = zip(rows["op"], rows["direction"], strict=True)
    names = [f"{op}-{direction}" if direction else str(op) for op, direction in pairs]
    return np.array(names, dtype=object)


def matrix_sizes(rows: Table) -> FloatArray:
    """Rows, columns, element size, passes and alignment of each row; NaN where not known."""
    passes = _passes()
    element = np.array([ELEMENT_BYTES.get(str(dtype), np.nan) for dtype in rows["dtype"]])
    n_passes = np.array([passes.get(name, np.nan) for name in operation_class(rows)])
    is_aligned = (rows["cols"] * element) % ALIGNMENT_BYTES == 0.0
    return np.column_stack(
        [rows["rows"], rows["cols"], element, n_passes, is_aligned.astype(np.float64)]
    )


def operation_machine(
    accelerator: Accelerator,
    streams: MemoryBoundCalibration,
    operation: OperationCalibration | None,
) -> OperationMachine:
    """A class of operations on a device as the formula reads it; none is a plain stream."""
    launch_s, memory = streams.launch_s, accelerator.memory
    if operation is not None and operation.launch_s is not None:
        launch_s = operation.launch_s
    cached = operation or streams
    return OperationMachine(
        memory_bandwidth_bytes_per_s=memory.bandwidth_bytes_per_s,
        bandwidth_efficiency_fraction=streams.bandwidth_efficiency_fraction,
        cached_bandwidth_ratio=cached.cached_bandwidth_ratio,
        cache_bytes=memory.l2_bytes or 0.0,
        n_units=float(accelerator.compute.n_units),
        launch_s=launch_s,
        traffic_ratio=operation.traffic_ratio if operation else 1.0,
        row_s=operation.row_s if operation else 0.0,
        unaligned_row_s=operation.unaligned_row_s if operation else 0.0,
        short_row_columns=operation.short_row_columns if operation else 0.0,
        long_row_bytes=operation.long_row_bytes if operation else 0.0,
        long_row_traffic_ratio=operation.long_row_traffic_ratio if operation else 1.0,
    )


def _fill_times(
    sizes: FloatArray, machine: OperationMachine, grid: ResidualGrid, times_s: FloatArray
) -> None:
    for row in range(len(times_s)):
        matrix = Matrix(sizes[row, 0], sizes[row, 1], sizes[row, 2], sizes[row, 3], sizes[row, 4])
        time_s = operation_time_s(matrix, machine)
        third = UNALIGNED - sizes[row, 4]
        times_s[row] = time_s * np.exp(residual_log(sizes[row, 0], sizes[row, 1], third, grid))


class OperationTimes:
    """Predicts rows of operation measurements; keeps the compiled model between calls."""

    def __init__(self, compiler: FormulaCompiler | PlainFormulas | None = None) -> None:
        self._fill = (compiler or FormulaCompiler()).compile(_fill_times)

    def times_s(
        self, rows: Table, accelerator: Accelerator, calibration: Calibration
    ) -> FloatArray:
        """Predicted time of each row of one device.

        Parameters
        ----------
        rows
            Columns op, dtype, rows, cols, and direction where the table has one.
        accelerator
            The device of the rows.
        calibration
            Its fitted parameters.

        Returns
        -------
        ndarray
            NaN for operations and dtypes that ``operations.toml`` does not list, and for a device
            without stream parameters. An operation that was not fitted on the device is taken as
            a plain stream. [s]
        """
        times_s = np.full(len(rows), np.nan)
        streams = calibration.memory_bound
        if streams is None or not len(rows):
            return times_s
        sizes, names = matrix_sizes(rows), operation_class(rows)
        known = np.isfinite(sizes).all(axis=1)
        for name in sorted(set(names[known])):
            mask = known & (names == name)
            operation = streams.operations.get(name)
            machine = operation_machine(accelerator, streams, operation)
            residual = operation.residual if operation else None
            grid = ResidualGrid(
                *(np.array(part, dtype=np.float64) for part in residual_grid(residual))
            )
            times_s[mask] = self.filled(sizes[mask], machine, grid)
        return times_s

    def filled(
        self, sizes: FloatArray, machine: OperationMachine, grid: ResidualGrid
    ) -> FloatArray:
        """Times of rows of sizes, as `matrix_sizes` makes them. [s]"""
        times_s = np.empty(len(sizes))
        self._fill(np.ascontiguousarray(sizes), machine, grid, times_s)
        return times_s
