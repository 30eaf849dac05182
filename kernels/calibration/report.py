"""How well a calibration predicts what it did not see, read off its provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hardware_profiles.calibration import Calibration, Provenance

__all__ = ["FitReport", "fit_reports"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """Errors of one device and family of kernels on what was set aside."""

    device: str
    """Name of the accelerator profile."""
    family: str
    dtype: str | None = None
    """None where a family is fitted for all dtypes together."""
    part: str | None = None
    """Implementation of attention, operation of a collective; None for all."""
    provenance: Provenance
    by_library: Mapping[str, Provenance] = field(default_factory=dict)


def fit_reports(calibrations: Mapping[str, Calibration]) -> tuple[FitReport, ...]:
    """One report for each set of constants, by accelerator, family, dtype and part."""
    return tuple(
        report for name in sorted(calibrations) for report in _device(name, calibrations[name])
    )


def _device(name: str, calibration: Calibration) -> Iterator[FitReport]:
    for dtype, gemm in sorted(calibration.gemm.items()):
        yield FitReport(
            device=name,
            family="gemm",
            dtype=dtype,
            provenance=gemm.provenance,
            by_library={key: one.provenance for key, one in gemm.implementations.items()},
        )
    for part, attention in sorted(calibration.attention.items()):
        yield FitReport(
            device=name,
            family="attention",
            dtype="bf16",
            part=part,
            provenance=attention.provenance,
        )
    for part, collective in sorted(calibration.collective.items()):
        yield FitReport(
            device=name,
            family="collectives",
            part=part,
            provenance=collective.provenance,
            by_library={key: one.provenance for key, one in collective.implementations.items()},
        )
    if calibration.memory_bound is not None:
        streams = calibration.memory_bound
        operations = {key: one.provenance for key, one in streams.operations.items()}
        yield FitReport(
            device=name, family="ops", provenance=streams.provenance, by_library=operations
        )
