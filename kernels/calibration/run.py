"""One calibration from start to end: every family of kernels that a folder has measurements of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hardware_profiles.calibration import Calibration
from kernels.calibration.gemm import GEMM_TABLES, calibrate_gemm
from kernels.calibration.measurements import MeasurementError
from kernels.calibration.report import FitReport
from kernels.calibration.session import Session

__all__ = ["CalibrationResult", "calibrate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationResult:
    """What was fitted, by accelerator and by architecture, and how it errs."""

    fitted: dict[str, Calibration]
    families: dict[str, Calibration]
    reports: tuple[FitReport, ...]


def calibrate(session: Session) -> CalibrationResult:
    """Fit every family of kernels that the session's folder holds tables of.

    Raises
    ------
    MeasurementError
        The folder is not there or holds no table that anything could be fitted on.
    """
    _require_tables(session, GEMM_TABLES)
    gemm = calibrate_gemm(session)
    fitted = {name: Calibration(gemm=own) for name, own in gemm.fitted.items()}
    families = {name: Calibration(gemm=own) for name, own in gemm.families.items()}
    return CalibrationResult(fitted=fitted, families=families, reports=gemm.reports)


def _require_tables(session: Session, names: Iterable[str]) -> None:
    if not session.folder.is_dir():
        message = f"--from {session.folder}: no such folder; expected one with measured kernels"
        raise MeasurementError(message)
    if not any(session.has_table(name) for name in names):
        expected = ", ".join(names)
        message = f"--from {session.folder}: holds none of {expected}"
        raise MeasurementError(message)
