"""GEMM constants of every device and dtype in a table, of their families, and how they err."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import GemmCalibration, GemmImplementation, Provenance
from kernels.calibration.gemm_fit import (
    GEMM_PARAMETERS,
    STRIDE_BOUNDS,
    GemmFitter,
    device_constants,
    library_constants,
)
from kernels.calibration.gemm_rows import GemmRows, gemm_rows
from kernels.calibration.session import Session
from kernels.calibration.simplex import FittedErrors, judge
from kernels.families.inheritance import inherited_calibration, related_architectures
from kernels.gemm.precision import PRECISIONS, nearest_dtype
from kernels.prediction.gemm import GEMM_COLUMNS

__all__ = ["GEMM_TABLES", "GemmResult", "calibrate_gemm", "family_gemm"]

logger = logging.getLogger(__name__)

GEMM_TABLES = ("gemm.parquet",)

FIT_CODE = (
    "gemm",
    "gemm/rocblas_fp32/cdna.csv",
    "gemm/rocblas_fp32/cdna2.csv",
    "residual.py",
    "smooth.py",
    "libraries.toml",
    "prediction/gemm.py",
    "calibration/gemm_fit.py",
    "calibration/gemm_rows.py",
    "calibration/fit_residual.py",
    "calibration/simplex.py",
    "calibration/split.py",
)
"""What a finished fit depends on besides its rows: another version of it fits again."""

RICH_SHAPES = 400
"""Shapes from which a device and dtype are fitted without their family's help. [1]"""

THIN_SHAPES = 20
"""Shapes below which nothing is fitted: the family's constants are the better guess. [1]"""

THIN_SPREAD = 0.12
"""Least spread of constants that rest on a thin table. [1]"""

MEDIAN_TO_SPREAD = 1.0 / 0.6745
"""Standard deviation over median absolute deviation of a normal distribution. [1]"""

UNSEEN_SPREAD = 0.1
"""Least spread of constants on a device that nobody has measured. [1]"""

LEAST_JUDGED = 20
"""Rows set aside that a spread can be read off. [1]"""

Fitted = dict[str, dict[str, GemmCalibration]]
"""By accelerator, then dtype."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmResult:
    """What a calibration of GEMM yields."""

    fitted: Fitted
    families: Fitted
    """By architecture, then dtype."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One device and dtype."""

    accelerator: Accelerator
    rows: GemmRows
    source: str

    @property
    def n_shapes(self) -> int:
        """Distinct shapes that a fit may use. [1]"""
        return len(np.unique(self.rows.sizes[~self.rows.is_heldout], axis=0))


def calibrate_gemm(session: Session) -> GemmResult:
    """Fit every device and dtype of ``gemm.parquet``, rich ones first; judge; leave devices out."""
    fitter = GemmFitter()
    groups = _groups(session)
    fitted: Fitted = {}
    rich = [group for group in groups if group.n_shapes >= RICH_SHAPES]
    thin = [group for group in groups if THIN_SHAPES <= group.n_shapes < RICH_SHAPES]
    for group in session.progress("GEMM", rich):
        found = _fitted(session, fitter, group)
        fitted.setdefault(group.accelerator.name, {})[group.rows.dtype] = _judged(
            session, fitter, group, found
        )
    families = _families(groups, fitted)
    for group in session.progress("GEMM, thin tables", thin):
        prior = _prior(families, group) or _inherited(session, group)
        found = _fitted(session, fitter, group, prior=prior)
        fitted.setdefault(group.accelerator.name, {})[group.rows.dtype] = _judged(
            session, fitter, group, found, least_spread=THIN_SPREAD
        )
    fitted = _with_left_out(session, fitter, groups, fitted)
    return GemmResult(fitted=fitted, families=_families(groups, fitted))


def _fitted(
    session: Session, fitter: GemmFitter, group: Group, *, prior: GemmCalibration | None = None
) -> GemmCalibration:
    rows = group.rows
    key = (
        "gemm",
        rows.dtype,
        rows.sizes,
        rows.measured_s,
        rows.libraries,
        group.accelerator.compute,
    )
    return session.cached(
        [*key, group.accelerator.memory, group.accelerator.power.tdp_w, prior],
        GemmCalibration,
        lambda: fitter.fit(rows, group.accelerator, prior=prior),
        code=FIT_CODE,
    )


def _groups(session: Session) -> list[Group]:
    table = session.table(GEMM_TABLES[0], (*GEMM_COLUMNS, "source_id"))
    groups = []
    for accelerator, rows in session.by_accelerator(table).values():
        for dtype in sorted({str(dtype) for dtype in rows["dtype"]}):
            if dtype not in PRECISIONS:
                logger.warning("GEMM: dtype %s is not known; its rows are left out", dtype)
                continue
            own = gemm_rows(rows, dtype)
            if own.precision.peak in accelerator.compute.peak_flop_per_s:
                source = session.sources(rows["source_id"][rows["dtype"] == dtype])
                groups.append(Group(accelerator=accelerator, rows=own, source=source))
    return groups


def _judged(
    session: Session,
    fitter: GemmFitter,
    group: Group,
    fitted: GemmCalibration,
    *,
    least_spread: float = 0.0,
) -> GemmCalibration:
    """The fit with its errors on the weight shapes set aside, in all and by library."""
    errors, large, by_library = _heldout_errors(fitter, group, fitted)
    parts = {
        f"{name or 'other libraries'}, no constants": judged
        for name, judged in by_library.items()
        if name not in fitted.implementations and len(by_library) > 1
    }
    for part, judged in {**parts, "m, n, k of 1024 and more": large}.items():
        session.note_errors(
            judged,
            device=group.accelerator.name,
            family="gemm",
            dtype=group.rows.dtype,
            part=part,
        )
    spread_of = large if large and large.n_rows >= LEAST_JUDGED else errors
    source = f"{group.source}; weight shapes (n, k) set aside: 1/5 by hash"
    implementations = {}
    for name, one in fitted.implementations.items():
        provenance = session.provenance(
            f"{source}; {name} rows",
            n_samples=int((group.rows.libraries[~group.rows.is_heldout] == name).sum()),
            heldout=by_library.get(name),
        )
        implementations[name] = msgspec.structs.replace(one, provenance=provenance)
    spread = spread_of.log_spread if spread_of else THIN_SPREAD
    provenance = session.provenance(
        source,
        n_samples=int((~group.rows.is_heldout).sum()),
        heldout=errors,
        spread=max(spread, least_spread),
    )
    return msgspec.structs.replace(fitted, implementations=implementations, provenance=provenance)


def _heldout_errors(
    fitter: GemmFitter, group: Group, fitted: GemmCalibration
) -> tuple[FittedErrors | None, FittedErrors | None, dict[str, FittedErrors]]:
    rows = group.rows.where(group.rows.is_heldout)
    times_s = fitter.rows_times_s(rows, group.accelerator, fitted)
    by_library = {
        str(name): judge(times_s[chosen], rows.measured_s[chosen])
        for name in sorted(set(rows.libraries))
        if (chosen := rows.libraries == name).any()
    }
    if not len(rows.sizes):
        return None, None, {}
    large = rows.is_large
    large_errors = judge(times_s[large], rows.measured_s[large]) if large.any() else None
    return judge(times_s, rows.measured_s), large_errors, by_library


def family_gemm(
    members: Sequence[Mapping[str, GemmCalibration]], *, source: str
) -> dict[str, GemmCalibration]:
    """Constants of a family by dtype: the geometric mean over its members.

    Shares of datasheet figures carry over as they are, and so do launch floors and the fixed cost
    of splitting. Corrections do not: they belong to the kernels that a library chose on one part.
    """
    family = {}
    for dtype in sorted({dtype for member in members for dtype in member}):
        own = [member[dtype] for member in members if dtype in member]
        family[dtype] = _mean(own, source=source)
    return family


def _mean(own: Sequence[GemmCalibration], *, source: str) -> GemmCalibration:
    names = sorted({name for one in own for name in one.implementations})
    implementations = {
        name: _mean_implementation(
            [one.implementations[name] for one in own if name in one.implementations],
            source=source,
        )
        for name in names
    }
    parameters = {
        name: _geometric_mean([getattr(one, name) for one in own]) for name in GEMM_PARAMETERS
    }
    # Zero on members that show no conflicts.
    parameters |= {
        name: float(np.mean([getattr(one, name) for one in own])) for name in STRIDE_BOUNDS
    }
    provenance = _family_provenance([one.provenance for one in own], source=source)
    # What supply and droop were seen at; of a family it is not known where it is not of a member.
    seen_at = {}
    for name in ("feed_flop_per_clock", "droop_limit_j_per_flop"):
        values = [value for one in own if (value := getattr(one, name)) is not None]
        seen_at[name] = _geometric_mean(values) if len(values) == len(own) else None
    return msgspec.structs.replace(
        device_constants(parameters, provenance=provenance),
        **seen_at,
        implementations=implementations,
    )


def _mean_implementation(own: Sequence[GemmImplementation], *, source: str) -> GemmImplementation:
    ratios = ("rate_ratio", "memory_ratio", "supply_ratio", "fill_ratio", "lone_block_ratio")
    additions = ("cut_line_ratio", "overhead_s", "conversion_bytes_per_element")
    values = {name: _geometric_mean([getattr(one, name) for one in own]) for name in ratios}
    values |= {name: float(np.mean([getattr(one, name) for one in own])) for name in additions}
    provenance = _family_provenance([one.provenance for one in own], source=source)
    mean = library_constants(values, provenance=provenance)
    return msgspec.structs.replace(mean, is_batch_seen=all(one.is_batch_seen for one in own))


def _geometric_mean(values: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(values))))


def _family_provenance(own: Sequence[Provenance], *, source: str) -> Provenance:
    """Spread of a family: that of its members, and of a device left out whole."""
    known = [one.left_out_median_ape_fraction for one in own]
    left_out = [MEDIAN_TO_SPREAD * one for one in known if one is not None]
    spread = max(one.relative_spread_fraction for one in own)
    return Provenance(
        figure_class="inherited",
        source=source,
        date=max(one.date or "" for one in own) or None,
        code_version=own[0].code_version,
        n_samples=sum(one.n_samples or 0 for one in own),
        relative_spread_fraction=max([UNSEEN_SPREAD, spread, *left_out]),
    )


def _families(groups: Sequence[Group], fitted: Fitted) -> Fitted:
    """Constants of each architecture from its devices."""
    members: dict[str, dict[str, Mapping[str, GemmCalibration]]] = {}
    for group in groups:
        name = group.accelerator.name
        if name in fitted:
            members.setdefault(group.accelerator.architecture, {})[name] = fitted[name]
    return {
        architecture: family_gemm(list(own.values()), source=f"mean of {', '.join(sorted(own))}")
        for architecture, own in members.items()
    }


def _prior(families: Fitted, group: Group) -> GemmCalibration | None:
    """The nearest family's constants at this dtype or one like it."""
    architecture, dtype = group.accelerator.architecture, group.rows.dtype
    for name in (architecture, *related_architectures(architecture)):
        nearest = nearest_dtype(dtype, families.get(name, {}))
        if nearest:
            return families[name][nearest]
    return None


def _inherited(session: Session, group: Group) -> GemmCalibration | None:
    """What profiles say already, for a table that brings no relatives."""
    known = inherited_calibration(session.catalogue, group.accelerator.name).gemm
    nearest = nearest_dtype(group.rows.dtype, known)
    return known[nearest] if nearest else None


def _with_left_out(
    session: Session, fitter: GemmFitter, groups: Sequence[Group], fitted: Fitted
) -> Fitted:
    """Note on every fit how its relatives alone would have predicted the device."""
    result: Fitted = {name: dict(own) for name, own in fitted.items()}
    for group in groups:
        name, dtype = group.accelerator.name, group.rows.dtype
        errors = _left_out_errors(fitter, groups, fitted, group)
        if errors is None:
            continue
        session.report(f"GEMM {name} {dtype}", left_out=errors)
        if dtype in result.get(name, {}):
            one = result[name][dtype]
            provenance = msgspec.structs.replace(
                one.provenance, left_out_median_ape_fraction=errors.median_ape_fraction
            )
            result[name][dtype] = msgspec.structs.replace(one, provenance=provenance)
    return result


def _left_out_errors(
    fitter: GemmFitter, groups: Sequence[Group], fitted: Fitted, group: Group
) -> FittedErrors | None:
    others = {name: own for name, own in fitted.items() if name != group.accelerator.name}
    prior = _prior(_families(groups, others), group)
    if prior is None:
        return None
    times_s = fitter.rows_times_s(group.rows, group.accelerator, prior)
    return judge(times_s, group.rows.measured_s)
