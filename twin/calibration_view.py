"""How well each kernel family of a device is calibrated: one row per family and variant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import Calibration, Provenance
from kernels.families.inheritance import GENERIC, family_calibration, family_names
from kernels.gemm.precision import PRECISIONS

__all__ = [
    "BASIS_CLASS",
    "Basis",
    "FitRow",
    "basis_words",
    "best_fits",
    "calibration_summary",
    "fit_rows",
]

Basis = Literal["fitted", "inherited", "assumed", "datasheet"]
"""fitted on this device; taken over from a relative or a sibling dtype; reasoned, without a
measurement; middle values over all devices on top of the datasheet."""

BASIS_CLASS = {
    "fitted": "measured",
    "inherited": "fitted",
    "assumed": "assumed",
    "datasheet": "datasheet",
}
"""Class of figure whose mark a basis carries: how near the measurements are."""

_OWN_CLASSES = ("measured", "fitted")
_TAKEN_OVER = "taken over from "
_DATASHEET = "datasheet only"


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRow:
    """Quality of one set of parameters."""

    family: str
    """gemm, attention, collective, memory_bound, power."""
    variant: str
    """Dtype, implementation or operation, with direction or library where there are several."""
    basis: Basis
    origin: str
    """Device or family that the parameters come from; empty for the device itself."""
    n_samples: int | None
    n_heldout: int | None
    median_fraction: float | None
    """Median absolute relative error on the rows set aside. [1]"""
    mean_fraction: float | None
    p90_fraction: float | None
    left_out_fraction: float | None
    """Median error on this device when all of its own rows are left out. [1]"""
    spread_fraction: float
    """What intervals use. [1]"""
    date: str
    code_version: str
    source: str

    @property
    def name(self) -> str:
        """Family and variant."""
        return f"{self.family} {self.variant}".strip()

    @property
    def words(self) -> str:
        """On what it rests, in words."""
        return basis_words(self.basis, self.origin)


def basis_words(basis: Basis, origin: str) -> str:
    """On what a prediction rests, in words."""
    if basis == "fitted":
        return "fitted on this device"
    if basis == "inherited":
        return f"inherited from {origin}"
    return "assumed" if basis == "assumed" else _DATASHEET


def fit_rows(device: Accelerator) -> tuple[FitRow, ...]:
    """Every set of parameters that predictions for a device use, the device's own first."""
    seen: set[tuple[str, str]] = set()
    rows: list[FitRow] = []
    for family, calibration in _sources(device):
        for row in _rows_of(calibration, family):
            key = (row.family, row.variant)
            if key in seen or (family and not _is_asked(device, row, seen)):
                continue
            seen.add(key)
            rows.append(row)
    order = ("gemm", "attention", "memory_bound", "collective", "power")
    return tuple(sorted(rows, key=lambda row: order.index(row.family)))


def best_fits(rows: tuple[FitRow, ...]) -> dict[str, FitRow]:
    """The best calibrated variant of each family; all-reduce stands for the collectives."""
    best: dict[str, FitRow] = {}
    for row in rows:
        if row.family == "collective" and row.variant != "all_reduce":
            continue
        held = best.get(row.family)
        if held is None or _rank(row) > _rank(held):
            best[row.family] = row
    return best


def calibration_summary(rows: tuple[FitRow, ...]) -> tuple[tuple[str, str], ...]:
    """For each family in short: (class of figure for the mark, words), the best variant's."""
    return tuple((BASIS_CLASS[row.basis], _short(row)) for row in best_fits(rows).values())


def _short(row: FitRow) -> str:
    said = {"gemm": row.name, "collective": row.variant}.get(row.family, row.family)
    said = said.replace("_", " ")
    if row.basis != "fitted":
        return f"{said} {row.words}"
    samples = "" if row.n_samples is None else f" {row.n_samples} samples"
    error = "" if row.median_fraction is None else f" {100 * row.median_fraction:.1f} %"
    return f"{said}{samples}{error}"


def _rank(row: FitRow) -> tuple[int, bool, int]:
    return (
        ("datasheet", "assumed", "inherited", "fitted").index(row.basis),
        row.variant == "bf16",
        row.n_samples or 0,
    )


def _is_asked(device: Accelerator, row: FitRow, seen: set[tuple[str, str]]) -> bool:
    """Whether predictions for the device ever come to a family's row."""
    if row.family == "gemm":
        precision = PRECISIONS.get(row.variant.split()[0])
        return precision is not None and precision.peak in device.compute.peak_flop_per_s
    # A device takes its attention from the nearest source that knows any.
    nearer = {variant for family, variant in seen if family == "attention"}
    return row.family != "attention" or row.basis != "datasheet" or not nearer


def _sources(device: Accelerator) -> Iterator[tuple[str, Calibration]]:
    yield "", device.calibration
    for name in family_names(device.architecture):
        found = family_calibration(name)
        if found is not None:
            yield name, found


def _rows_of(calibration: Calibration, family: str) -> Iterator[FitRow]:
    for dtype, gemm in calibration.gemm.items():
        yield _row("gemm", dtype, gemm.provenance, family)
        for library, one in gemm.implementations.items():
            yield _row("gemm", f"{dtype} {library}", one.provenance, family)
    for name, attention in calibration.attention.items():
        yield _row("attention", f"{name} fwd", attention.provenance, family)
        yield _row("attention", f"{name} bwd", attention.backward_provenance, family)
    if calibration.memory_bound is not None:
        yield _row("memory_bound", "", calibration.memory_bound.provenance, family)
    for operation, collective in calibration.collective.items():
        yield _row("collective", operation, collective.provenance, family)
    if calibration.power is not None and not family:
        yield _row("power", "", calibration.power.provenance, family)


def _row(kind: str, variant: str, provenance: Provenance, family: str) -> FitRow:
    basis, origin = _basis(provenance, family)
    return FitRow(
        family=kind,
        variant=variant,
        basis=basis,
        origin=origin,
        n_samples=provenance.n_samples,
        n_heldout=provenance.n_heldout,
        median_fraction=provenance.heldout_median_ape_fraction,
        mean_fraction=provenance.heldout_mean_ape_fraction,
        p90_fraction=provenance.heldout_p90_ape_fraction,
        left_out_fraction=provenance.left_out_median_ape_fraction,
        spread_fraction=provenance.relative_spread_fraction,
        date=provenance.date or "",
        code_version=provenance.code_version or "",
        source=provenance.source,
    )


def _basis(provenance: Provenance, family: str) -> tuple[Basis, str]:
    if family:
        return ("datasheet", "") if family == GENERIC else ("inherited", family)
    if provenance.figure_class in _OWN_CLASSES:
        return "fitted", ""
    if provenance.figure_class == "inherited":
        return "inherited", _origin(provenance.source)
    return "assumed", ""


def _origin(source: str) -> str:
    """Whom the source of an inherited fit names: a device, or the dtype it is taken as."""
    text = source.removeprefix(_TAKEN_OVER)
    for mark in (":", ";", ",", " with ", " ("):
        text = text.split(mark, maxsplit=1)[0]
    return text.removeprefix("as ").strip()
