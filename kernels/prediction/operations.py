"""Predicted times of measured memory-bound operations: rows of a table, one device at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import Calibration
from kernels.compiled_formula import FormulaCompiler, PlainFormulas
from kernels.measurement_tables import Table
from kernels.memory_bound.machine import operation_facts, operation_machine
from kernels.memory_bound.operation import Matrix, OperationMachine, operation_time_s
from kernels.prediction.entries import is_fused, operation_class_name
from kernels.residual import ResidualGrid, residual_grid, residual_log

__all__ = [
    "OperationTimes",
    "matrix_sizes",
    "operation_class",
    "operation_machine",
    "operation_names",
    "residual_third",
    "runs_along_rows",
]

FloatArray = npt.NDArray[np.float64]

ELEMENT_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "tf32": 4.0}

ALIGNMENT_BYTES = 16.0
"""Widest load of one thread. [byte]"""

WORD_BYTES = 4.0
"""Elements below this are narrow. [byte]"""

NARROW, ALIGNED, UNALIGNED = 0.5, 1.0, 2.0
"""Places on the third axis of a residual: rows that begin on 16 bytes, of two or four bytes an
element, and others. [1]"""


def _passes() -> dict[str, float]:
    return dict(operation_facts()["passes"])


def operation_names() -> frozenset[str]:
    """Names of the operations whose traffic is known, with their direction where they have one."""
    return frozenset(_passes())


def runs_along_rows(name: str) -> bool:
    """Whether an operation reduces over the columns of each row."""
    return name in operation_facts()["along_rows"]["names"]


def operation_class(rows: Table) -> npt.NDArray[np.object_]:
    """Name of each row's operation, with its direction where the row states one."""
    if "direction" not in rows.columns:
        return rows["op"].astype(object)
    pairs = zip(rows["op"], rows["direction"], strict=True)
    names = [operation_class_name(str(op), str(direction)) for op, direction in pairs]
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


def residual_third(element_bytes: float, is_aligned: float) -> float:
    """Where a matrix lies on the third axis of a residual. [1]"""
    if is_aligned <= 0.0:
        return UNALIGNED
    return NARROW if element_bytes < WORD_BYTES else ALIGNED


def _is_fused(rows: Table) -> npt.NDArray[np.bool_]:
    """Whether a row's library goes over the operands once."""
    if "library" not in rows.columns:
        return np.zeros(len(rows), dtype=bool)
    return np.array([is_fused(str(one)) for one in rows["library"]], bool)


def _fill_times(
    sizes: FloatArray, machine: OperationMachine, grid: ResidualGrid, times_s: FloatArray
) -> None:
    for row in range(len(times_s)):
        matrix = Matrix(sizes[row, 0], sizes[row, 1], sizes[row, 2], sizes[row, 3], sizes[row, 4])
        time_s = operation_time_s(matrix, machine)
        third = residual_third(sizes[row, 2], sizes[row, 4])
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
            Columns op, dtype, rows, cols, and direction and library where the table has them.
        accelerator
            The device of the rows.
        calibration
            Its fitted parameters.

        Returns
        -------
        ndarray
            NaN for operations and dtypes that ``operations.toml`` does not list, and for a device
            without stream parameters. An operation that was not fitted on the device, or whose
            library has it in one pass, is taken as a plain stream. [s]
        """
        times_s = np.full(len(rows), np.nan)
        streams = calibration.memory_bound
        if streams is None or not len(rows):
            return times_s
        sizes, names = matrix_sizes(rows), operation_class(rows)
        known = np.isfinite(sizes).all(axis=1)
        is_fused = _is_fused(rows)
        for name, is_plain in sorted(set(zip(names[known], is_fused[known], strict=True))):
            mask = known & (names == name) & (is_fused == is_plain)
            operation = None if is_plain else streams.operations.get(name)
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
