"""How well a calibration predicts what it did not see, read off its provenance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from hardware_profiles.calibration import Calibration, Provenance

__all__ = ["FitReport", "fit_reports", "in_order"]

FAMILIES = ("gemm", "attention", "collectives", "ops")
"""In the order of reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """Errors of one device and family of kernels on what was set aside."""

    device: str | None
    """Name of the accelerator profile; None for all of them together."""
    family: str
    dtype: str | None = None
    """None where a family is fitted for all dtypes together."""
    part: str | None = None
    """Implementation of attention, operation of a collective, rows judged alone; None for all."""
    is_part: bool = False
    """Whether these are some of the rows of another report, judged alone."""
    provenance: Provenance
    by_library: Mapping[str, Provenance] = field(default_factory=dict)


def fit_reports(calibrations: Mapping[str, Calibration]) -> tuple[FitReport, ...]:
    """One report for each set of constants, by accelerator, family, dtype and part."""
    return tuple(
        report for name in sorted(calibrations) for report in _device(name, calibrations[name])
    )


def in_order(reports: Iterable[FitReport]) -> tuple[FitReport, ...]:
    """Reports by device, family and dtype, otherwise as they come: fits before their parts."""
    return tuple(
        sorted(
            reports,
            key=lambda one: (
                one.device is None,
                one.device or "",
                FAMILIES.index(one.family),
                one.dtype or "",
            ),
        )
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
            part=part,
            provenance=attention.provenance,
        )
        backward = attention.backward_provenance
        if backward.n_samples:
            yield FitReport(
                device=name,
                family="attention",
                part=f"{part} backward",
                is_part=True,
                provenance=backward,
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
