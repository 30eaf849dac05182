"""Predicted bandwidth of measured streaming kernels: rows of a table, one device at a time."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import Calibration
from kernels.compiled_formula import FormulaCompiler, PlainFormulas
from kernels.measurement_tables import Table
from kernels.memory_bound.occupancy import OccupancyMachine, occupied_bandwidth_bytes_per_s

__all__ = ["StreamBandwidths", "occupancy_fraction"]

FloatArray = npt.NDArray[np.float64]


_OCCUPANCY = re.compile(r"block=(\d+) occupancy=([\d.]+)%")


def occupancy_fraction(library: str) -> float:
    """Occupancy that the library text of a row states; 1 where it states none. [1]"""
    found = _OCCUPANCY.search(library)
    if found is None:
        return 1.0
    return float(found.group(2)) / 100.0


class StreamBandwidths:
    """Predicts rows of bandwidth measurements; a few rows of a short formula need no compiler."""

    def __init__(self, compiler: FormulaCompiler | PlainFormulas | None = None) -> None:
        del compiler

    def bandwidths_bytes_per_s(
        self, rows: Table, accelerator: Accelerator, calibration: Calibration
    ) -> FloatArray:
        """Predicted bandwidth of each row of one device.

        Parameters
        ----------
        rows
            Columns op and library; the occupancy stands in the text of the library.
        accelerator
            The device of the rows.
        calibration
            Its fitted parameters.

        Returns
        -------
        ndarray
            NaN for transfers between host and device and for kernels that were not fitted. [byte/s]
        """
        streams = calibration.memory_bound
        predicted = np.full(len(rows), np.nan)
        if streams is None:
            return predicted
        for number, (op, library) in enumerate(zip(rows["op"], rows["library"], strict=True)):
            fitted = streams.bandwidth.get(str(op))
            if fitted is None:
                continue
            machine = OccupancyMachine(
                accelerator.memory.bandwidth_bytes_per_s,
                fitted.peak_fraction,
                fitted.saturation_fraction,
                fitted.join_exponent,
            )
            occupancy = occupancy_fraction(str(library))
            predicted[number] = occupied_bandwidth_bytes_per_s(occupancy, machine)
        return predicted
