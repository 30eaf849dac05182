"""How well a calibration predicts what it did not see."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.calibration.simplex import FittedErrors

__all__ = ["FitReport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """Errors of one device, kernel family and dtype on rows set aside."""

    device: str
    """Name of the accelerator profile."""
    family: str
    dtype: str
    n_fitted: int
    """Distinct cases that were fitted. [1]"""
    heldout: FittedErrors | None
    heldout_large: FittedErrors | None
    left_out_median_ape_fraction: float | None
    """Median error on all rows when the device's own are left out of the fit. [1]"""
    by_library: dict[str, FittedErrors]
