"""One calibration from start to end: every family of kernels that a folder has measurements of."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import Calibration, MemoryBoundCalibration
from kernels.calibration.attention import attention_calibrations
from kernels.calibration.attention_family import family_attention
from kernels.calibration.attention_rows import ATTENTION_TABLES
from kernels.calibration.collective_rows import COLLECTIVE_TABLES
from kernels.calibration.collectives import collective_calibrations, family_collectives
from kernels.calibration.gemm import GEMM_TABLES, GemmResult, calibrate_gemm
from kernels.calibration.report import FitReport, fit_reports, in_order
from kernels.calibration.session import SURVEY_TABLES, Session
from kernels.calibration.streams import family_memory_bound, memory_bound_calibrations
from kernels.measurement_tables import MeasurementError

__all__ = ["CalibrationResult", "calibrate"]

logger = logging.getLogger(__name__)

STREAM_TABLES = ("ops.csv", "membw.csv", *SURVEY_TABLES)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationResult:
    """What was fitted, by accelerator and by architecture, and how it errs."""

    fitted: dict[str, Calibration]
    families: dict[str, Calibration]
    reports: tuple[FitReport, ...]


def calibrate(session: Session) -> CalibrationResult:
    """Fit every family of kernels that the session's folder holds tables of.

    The project's own surveys join in.

    Parameters
    ----------
    session
        Folder of public tables, profiles, finished fits.

    Raises
    ------
    MeasurementError
        The folder is not there or holds no table that anything could be fitted on.
    """
    session.require_tables((*GEMM_TABLES, *ATTENTION_TABLES, *COLLECTIVE_TABLES, *STREAM_TABLES))
    gemm = GemmResult(fitted={}, families={})
    if _has(session, GEMM_TABLES):
        gemm = calibrate_gemm(session)
    fitted = {name: Calibration(gemm=own) for name, own in gemm.fitted.items()}
    if _has(session, ATTENTION_TABLES):
        found = attention_calibrations(session)
        for name, attention in found.items():
            if attention:
                _put(fitted, name, attention=attention)
    if _has(session, COLLECTIVE_TABLES):
        logger.info("collectives")
        for name, collective in collective_calibrations(session).items():
            _put(fitted, name, collective=collective)
    if _has(session, STREAM_TABLES):
        logger.info("memory-bound operations")
        for name, streams in memory_bound_calibrations(session).items():
            _put(fitted, name, memory_bound=streams)
    if not fitted:
        message = (
            f"--from {session.folder}: nothing could be fitted: too few rows of devices that a "
            "profile carries, at dtypes that it has a peak for"
        )
        raise MeasurementError(message)
    return CalibrationResult(
        fitted=fitted,
        families=_families(session, fitted, gemm=gemm),
        reports=in_order((*fit_reports(fitted), *session.noted)),
    )


def _has(session: Session, names: Iterable[str]) -> bool:
    return any(session.has_table(name) for name in names)


def _put(fitted: dict[str, Calibration], name: str, **parts: object) -> None:
    fitted[name] = msgspec.structs.replace(fitted.get(name, Calibration()), **parts)


def _families(
    session: Session, fitted: Mapping[str, Calibration], *, gemm: GemmResult
) -> dict[str, Calibration]:
    """Constants of each architecture, from its devices."""
    members: dict[str, list[tuple[Accelerator, Calibration]]] = {}
    for name, calibration in sorted(fitted.items()):
        accelerator = session.catalogue.accelerator(name)
        members.setdefault(accelerator.architecture, []).append((accelerator, calibration))
    return {
        architecture: Calibration(
            gemm=gemm.families.get(architecture, {}),
            attention=family_attention([(a, c.attention) for a, c in own if c.attention]),
            collective=family_collectives([(a, c.collective) for a, c in own if c.collective]),
            memory_bound=_family_streams(own),
        )
        for architecture, own in members.items()
    }


def _family_streams(
    own: Sequence[tuple[Accelerator, Calibration]],
) -> MemoryBoundCalibration | None:
    known = [(a, c.memory_bound) for a, c in own if c.memory_bound is not None]
    return family_memory_bound(known) if known else None
