"""How well each kernel family of a device is calibrated: one row per family and variant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import Calibration, Provenance
from kernels.families.inheritance import GENERIC, Kind, named_sources
from kernels.gemm.precision import PRECISIONS, nearest_dtype

__all__ = [
    "BASIS_CLASS",
    "Basis",
    "FitRow",
    "basis_words",
    "best_fits",
    "calibration_summary",
    "fit_rows",
]

Entry = TypeVar("Entry")

Basis = Literal["measured", "fitted", "inherited", "assumed", "datasheet"]
"""measured or fitted on this device; taken over from a relative or a sibling dtype; reasoned,
without a measurement; middle values over all devices on top of the datasheet."""

BASIS_CLASS = {
    "measured": "measured",
    "fitted": "fitted",
    "inherited": "assumed",
    "assumed": "assumed",
    "datasheet": "datasheet",
}
"""Class of figure of each basis. That a relative's constants hold here as well is assumed, as
explanations and results have it."""

_STRENGTH: tuple[Basis, ...] = ("datasheet", "assumed", "inherited", "fitted", "measured")
_CHIEF = {"collective": "all_reduce", "memory_bound": ""}
_TAKEN_OVER = "taken over from "
_DATASHEET = "datasheet only"


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRow:
    """Quality of one set of parameters."""

    family: str
    """gemm, attention, collective, memory_bound, power."""
    variant: str
    """Dtype, implementation or operation, with direction or library where there are several; empty
    for what plain streams share."""
    basis: Basis
    origin: str
    """Device or family that the parameters come from; empty for the device itself."""
    n_samples: int | None
    """Rows of this device; those of another one are told by the source alone. [1]"""
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
    def is_own(self) -> bool:
        """Whether it rests on measurements of the device itself."""
        return self.basis in ("measured", "fitted")

    @property
    def strength(self) -> int:
        """Place of the basis among all, the weakest first. [1]"""
        return _STRENGTH.index(self.basis)

    @property
    def words(self) -> str:
        """On what it rests, in words."""
        return basis_words(self.basis, self.origin)


def basis_words(basis: Basis, origin: str) -> str:
    """On what a prediction rests, in words."""
    if basis in ("measured", "fitted"):
        return f"{basis} on this device"
    if basis == "inherited":
        return f"inherited from {origin}"
    return "assumed" if basis == "assumed" else _DATASHEET


def fit_rows(device: Accelerator) -> tuple[FitRow, ...]:
    """Every set of parameters that predictions for a device use, the device's own first."""
    return (
        *_gemm_rows(device),
        *_attention_rows(device),
        *_stream_rows(device),
        *_collective_rows(device),
        *_power_rows(device),
    )


def best_fits(rows: Sequence[FitRow]) -> dict[str, FitRow]:
    """The best calibrated variant of each family.

    All-reduce stands for the collectives, plain streams for what is bound by memory.
    """
    best: dict[str, FitRow] = {}
    for row in rows:
        if row.family in _CHIEF and row.variant != _CHIEF[row.family]:
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
    if not row.is_own:
        return f"{said} {row.words}"
    samples = "" if row.n_samples is None else f" {row.n_samples} samples"
    error = "" if row.median_fraction is None else f" {100 * row.median_fraction:.1f} %"
    return f"{said}{samples}{error}"


def _rank(row: FitRow) -> tuple[int, bool, int]:
    return (
        row.strength,
        row.variant == "bf16",
        row.n_samples or 0,
    )


def _first_of_each(
    device: Accelerator, kind: Kind, table: Callable[[Calibration], Mapping[str, Entry]]
) -> dict[str, tuple[str, Entry]]:
    """Entries by name with the family that they come from; empty for the device itself.

    The order is that of `completed_calibration`, which predictors are given.
    """
    found: dict[str, tuple[str, Entry]] = {}
    for family, calibration in named_sources(device, kind):
        for name, entry in table(calibration).items():
            found.setdefault(name, (family, entry))
    return found


def _gemm_rows(device: Accelerator) -> Iterator[FitRow]:
    known = _first_of_each(device, "gemm", lambda calibration: calibration.gemm)
    peaks = device.compute.peak_flop_per_s
    used = {nearest_dtype(dtype, known) for dtype, one in PRECISIONS.items() if one.peak in peaks}
    for dtype, (family, gemm) in known.items():
        if family and dtype not in used:
            continue
        yield _row("gemm", dtype, gemm.provenance, family)
        for library, one in gemm.implementations.items():
            yield _row("gemm", f"{dtype} {library}", one.provenance, family)


def _attention_rows(device: Accelerator) -> Iterator[FitRow]:
    known = _first_of_each(device, "attention", lambda calibration: calibration.attention)
    is_known_nearer = any(family != GENERIC for family, _ in known.values())
    for name, (family, one) in known.items():
        if family == GENERIC and is_known_nearer:
            continue
        yield _row("attention", f"{name} fwd", one.provenance, family)
        yield _row("attention", f"{name} bwd", one.backward_provenance, family)
        if one.decode is not None:
            yield _row("attention", f"{name} decode", one.decode.provenance, family)


def _stream_rows(device: Accelerator) -> Iterator[FitRow]:
    for family, calibration in named_sources(device, "memory_bound"):
        streams = calibration.memory_bound
        if streams is not None:
            yield _row("memory_bound", "", streams.provenance, family)
            for name, one in streams.operations.items():
                yield _row("memory_bound", name, one.provenance, family)
            return


def _collective_rows(device: Accelerator) -> Iterator[FitRow]:
    known = _first_of_each(device, "collective", lambda calibration: calibration.collective)
    for operation, (family, collective) in known.items():
        yield _row("collective", operation, collective.provenance, family)
        for library, one in collective.implementations.items():
            yield _row("collective", f"{operation} {library}", one.provenance, family)


def _power_rows(device: Accelerator) -> Iterator[FitRow]:
    if device.calibration.power is not None:
        yield _row("power", "", device.calibration.power.provenance, "")


def _row(kind: str, variant: str, provenance: Provenance, family: str) -> FitRow:
    basis, origin = _basis(provenance, family)
    is_own = basis in ("measured", "fitted")
    return FitRow(
        family=kind,
        variant=variant,
        basis=basis,
        origin=origin,
        n_samples=provenance.n_samples if is_own else None,
        n_heldout=provenance.n_heldout if is_own else None,
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
    if provenance.figure_class == "measured":
        return "measured", ""
    if provenance.figure_class == "fitted":
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
