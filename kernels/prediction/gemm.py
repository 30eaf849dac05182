"""Predicted times of the rows of a GEMM table, each for the library that was timed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import Calibration, Residual
from kernels.compiled_formula import FormulaCompiler, PlainFormulas
from kernels.gemm.looked_up import NO_KERNEL, LookedUpKernel, tuned_sizes
from kernels.gemm.machine import gemm_machine
from kernels.gemm.model import GemmMachine, GemmShape
from kernels.gemm.precision import PRECISIONS, Precision, nearest_dtype
from kernels.gemm.timing import (
    GemmLibrary,
    gemm_library,
    library_machine,
    library_residual,
    timed_gemm_s,
)
from kernels.libraries import implementation
from kernels.measurement_tables import Table
from kernels.residual import ResidualGrid, compiled_grid

__all__ = [
    "GEMM_COLUMNS",
    "LAYOUTS",
    "GemmTimes",
    "gemm_sizes",
    "gemm_transposed",
    "looked_up_kernels",
]

GEMM_COLUMNS = ("device", "dtype", "m", "n", "k", "batch", "library", "latency_us")

LAYOUTS = {
    "NN": (0.0, 0.0),
    "TN": (0.0, 1.0),
    "NT": (1.0, 0.0),
    "TT": (1.0, 1.0),
    "": (0.0, 0.0),
}
"""Whether A and B are stored transposed, by the layout as a column-major BLAS names it; empty where
nothing tells. [1]"""

FloatArray = npt.NDArray[np.float64]


def gemm_sizes(rows: Table) -> FloatArray:
    """Columns m, n, k, batch of a table; [elements], [1]."""
    return np.column_stack([rows[name] for name in ("m", "n", "k", "batch")]).astype(np.float64)


def gemm_transposed(rows: Table) -> FloatArray:
    """Whether A and B of each row are stored transposed; NaN for what is no layout. [1]"""
    found = np.zeros((len(rows), 2))
    if "layout" in rows.columns:
        layouts = rows["layout"]
        for layout in set(layouts.tolist()):
            found[layouts == layout] = LAYOUTS.get(str(layout), (np.nan, np.nan))
    return found


def looked_up_kernels(
    sizes: FloatArray, dtype: str, accelerator: Accelerator, library: GemmLibrary
) -> FloatArray | None:
    """Kernels of rows from the table of a library that does not look at the batch, or none."""
    table = None if library.is_batch_seen else tuned_sizes(dtype, accelerator.architecture)
    return None if table is None else table.kernels(sizes)


def _fill_times(  # noqa: PLR0917 - compiled functions are called by position
    products: FloatArray,
    kernels: FloatArray,
    widths: FloatArray,
    machine: GemmMachine,
    library: GemmLibrary,
    residual: ResidualGrid,
    times_s: FloatArray,
) -> None:
    for row in range(len(times_s)):
        shape = GemmShape(
            products[row, 0],
            products[row, 1],
            products[row, 2],
            widths[0],
            widths[0],
            widths[1],
            products[row, 3],
            products[row, 4],
            products[row, 5],
        )
        kernel = LookedUpKernel(
            kernels[row, 0],
            kernels[row, 1],
            kernels[row, 2],
            kernels[row, 3],
            kernels[row, 4],
            kernels[row, 5],
        )
        times_s[row] = timed_gemm_s(shape, machine, library, residual, kernel)


class GemmTimes:
    """Predicts tables one after the other; keeps the compiled model between them."""

    def __init__(self, compiler: FormulaCompiler | PlainFormulas | None = None) -> None:
        self._fill = (compiler or FormulaCompiler()).compile(_fill_times)

    def kernel_times_s(
        self,
        sizes: FloatArray,
        precision: Precision,
        machine: GemmMachine,
        *,
        library: GemmLibrary,
        residual: Residual | None,
        transposed: FloatArray | None = None,
        kernels: FloatArray | None = None,
    ) -> FloatArray:
        """Times of rows (m, n, k, batch) on one machine, by layout and kernel where given. [s]"""
        times_s = np.empty(len(sizes))
        widths = np.array([precision.operand_bytes, precision.result_bytes])
        ways = np.zeros((len(sizes), 2)) if transposed is None else transposed
        products = np.ascontiguousarray(np.column_stack([sizes, ways]))
        if kernels is None:
            kernels = np.tile(np.array(NO_KERNEL), (len(sizes), 1))
        grid = compiled_grid(residual)
        self._fill(products, kernels, widths, machine, library, grid, times_s)
        return times_s

    def times_s(
        self, rows: Table, accelerator: Accelerator, calibration: Calibration
    ) -> FloatArray:
        """Predicted time of every row of one device. [s]

        Parameters
        ----------
        rows
            Columns dtype, m, n, k, batch, library, and layout where the table has it; the device
            column is not looked at.
        accelerator
            The device's figures.
        calibration
            Its parameters, completed by its family's where it has none of its own.

        Returns
        -------
        ndarray
            Seconds; NaN where the device has no peak, or neither it nor its relatives have
            constants, for the dtype, and where the layout is none.
        """
        times_s = np.full(len(rows), np.nan)
        sizes, transposed = gemm_sizes(rows), gemm_transposed(rows)
        is_stored = ~np.isnan(transposed[:, 0])
        groups = np.array(
            [f"{d}\t{t}" for d, t in zip(rows["dtype"], rows["library"], strict=True)], dtype=object
        )
        for group in set(groups):
            dtype, _, text = str(group).partition("\t")
            nearest, precision = nearest_dtype(dtype, calibration.gemm), PRECISIONS.get(dtype)
            peak = accelerator.compute.peak_flop_per_s.get(precision.peak) if precision else None
            if nearest is None or precision is None or peak is None:
                continue
            fitted = calibration.gemm[nearest]
            machine = gemm_machine(accelerator, fitted, peak_flop_per_s=peak, fitted_dtype=nearest)
            one = fitted.implementations.get(implementation("gemm", text) or "")
            chosen, library = (groups == group) & is_stored, gemm_library(one)
            times_s[chosen] = self.kernel_times_s(
                sizes[chosen],
                precision,
                library_machine(machine, one),
                library=library,
                residual=library_residual(fitted, one),
                transposed=transposed[chosen],
                kernels=looked_up_kernels(sizes[chosen], dtype, accelerator, library),
            )
        return times_s
