"""Which class predicts the measured rows of each family of kernels."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import cast

import numpy as np
import numpy.typing as npt

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import Calibration
from kernels.compiled_formula import FormulaCompiler, PlainFormulas
from kernels.measurement_tables import Table

__all__ = ["ROWS_IN_PLAIN_PYTHON", "RowPredictor", "row_predictor"]

RowPredictor = Callable[[Table, Accelerator, Calibration], npt.NDArray[np.float64]]
"""Predicts the rows of one device; NaN where a row is not covered. [s or byte/s]"""

PREDICTORS = {
    "gemm": ("kernels.prediction.gemm", "GemmTimes", "times_s"),
    "attention": ("kernels.prediction.attention", "AttentionTimes", "times_s"),
    "collectives": ("kernels.prediction.collectives", "CollectiveTimes", "times_s"),
    "ops": ("kernels.prediction.operations", "OperationTimes", "times_s"),
    "membw": ("kernels.prediction.bandwidth", "StreamBandwidths", "bandwidths_bytes_per_s"),
}
"""Module, class and method that predict a table of each family, in base units."""

ROWS_IN_PLAIN_PYTHON = 5_000
"""Up to so many rows a compiler costs more than it saves. [1]"""


def row_predictor(family: str, *, n_rows: int) -> RowPredictor:
    """A predictor of tables of a family.

    Parameters
    ----------
    family
        gemm, attention, collectives, ops or membw.
    n_rows
        Rows that it will see: formulas are compiled for many and left as they are for few.
    """
    module, name, method = PREDICTORS[family]
    compiler = PlainFormulas() if n_rows <= ROWS_IN_PLAIN_PYTHON else FormulaCompiler()
    made = getattr(importlib.import_module(module), name)(compiler)
    return cast("RowPredictor", getattr(made, method))
