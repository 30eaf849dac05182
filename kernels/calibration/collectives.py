"""Collective parameters of every accelerator with measurements, and of those without.

Parameters are fitted from the general to the particular: on all switched machines together, then
on one vendor's machines of one kind of wires, one architecture, one device, each held near the one
before by a prior. A group that a device lacks (eight ranks on one Blackwell board) is then taken
from its relatives instead of extrapolated. What gathers and reductions of one device have in common
(wires and copies) is fitted on all of them before each alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import (
    CollectiveCalibration,
    CollectiveImplementation,
    Provenance,
)
from kernels.calibration.collective_fit import (
    LAUNCHED,
    LIBRARY_BOUNDS,
    VENDOR_BOUNDS,
    CollectiveFitter,
    Parameters,
    inside_bounds,
)
from kernels.calibration.collective_rows import CollectiveRows, node_rows
from kernels.calibration.session import Session
from kernels.calibration.simplex import Bound, FittedErrors, judge

__all__ = [
    "FittedCollectives",
    "collective_calibrations",
    "family_collectives",
    "fit_collectives",
    "judged_errors",
]

OPERATIONS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "point_to_point")

ALIKE = ("all_reduce", "all_gather", "reduce_scatter")
"""Operations that move the same way: around rings, chunk by chunk."""

OF_COPIES = ("bandwidth_efficiency_fraction", "local_copy_fraction", "pipeline_exponent")
"""What these have in common on one device; how they start differs."""

VENDOR_CLASSES = ("vendor", "vendor-launched")

KERNELS_OF_THEIR_OWN = (
    *("sglang-graph", "sglang-eager", "sglang-v1-graph", "sglang-v1-eager"),
    *("vllm-graph", "vllm-eager", "trtllm"),
)

ADDING_ARCHITECTURES = ("hopper", "blackwell")
"""Architectures whose switches add; older switches only forward."""

SOURCE = (
    "collectives on one node ({sources}); errors from a fit without whole "
    "(device, operation, ranks, nodes, library) groups set aside, 1/5 by hash, messages of 1 MiB "
    "and more; values from a fit on all, held near the architecture's by a prior, shares of wires "
    "and copies near those of the device's other gathers and reductions"
)

SMALLEST_SPREAD = 0.05
INHERITED_SPREAD = 0.2
"""Leaving a device out of its architecture misses its rows of 1 MiB and more by 1 to 10 % at the
median and up to 15 % in the mean; across architectures by 7 to 50 %. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedCollectives:
    """Parameters by (accelerator, operation) and by (accelerator, library)."""

    vendor: dict[tuple[str, str], Parameters]
    libraries: dict[tuple[str, str], Parameters]
    n_rows: dict[tuple[str, str], int]


def _vendor_bounds(sets: Sequence[CollectiveRows]) -> dict[str, Bound]:
    bounds = dict(VENDOR_BOUNDS)
    adds = any(
        rows.switch_adds
        and rows.operation == "all_reduce"
        and rows.accelerator.architecture in ADDING_ARCHITECTURES
        for rows in sets
    )
    if not adds:
        bounds["in_switch_gain"] = Bound(low=1.0, high=1.0, start=1.0)
    return bounds


def _is_relative(rows: CollectiveRows, level: int, own: CollectiveRows) -> bool:
    """Whether rows inform the device at this level: 0 all switches to 3 the device itself."""
    if level == 0:
        return rows.wires_kind == "switch"
    if rows.wires_kind != own.wires_kind or rows.accelerator.vendor != own.accelerator.vendor:
        return False
    if level == 1:
        return True
    if level == 2:
        return rows.accelerator.architecture == own.accelerator.architecture
    return rows.accelerator.name == own.accelerator.name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Own:
    """One operation of one device, before its own rows are fitted."""

    prior: Parameters | None
    """What its relatives show."""
    rows: list[CollectiveRows]
    """Its own, one set for each kind of wires and of addition."""


def _known_of_relatives(
    fitter: CollectiveFitter, sets: Sequence[CollectiveRows]
) -> dict[str, _Own]:
    """One operation by accelerator: what each fit after the other on fewer relatives comes to."""
    found: dict[str, _Own] = {}
    known: dict[tuple[int, ...], Parameters] = {}
    for own in sets:
        chosen = [
            tuple(number for number, rows in enumerate(sets) if _is_relative(rows, level, own))
            for level in range(4)
        ]
        *levels, last = dict.fromkeys(filter(None, chosen))
        prior: Parameters | None = None
        for numbers in levels:
            if numbers not in known:
                relatives = [sets[number] for number in numbers]
                known[numbers] = fitter.fit_vendor(
                    relatives, bounds=_vendor_bounds(relatives), prior=prior
                )
            prior = known[numbers]
        found[own.accelerator.name] = _Own(prior=prior, rows=[sets[number] for number in last])
    return found


def _of_one_device(
    fitter: CollectiveFitter, operations: Mapping[str, _Own]
) -> dict[str, Parameters]:
    """All operations of one device; those that go through the same copies lean on each other.

    One number of ranks cannot tell the share of the wires from the copy of each rank's own shard.
    Gathers and reductions run through the same copies over the same wires, so that what all of them
    show together stands before what other devices show.
    """
    alike = [own for name, own in operations.items() if name in ALIKE]
    together: Parameters = {}
    if len(alike) > 1:
        rows = [one for own in alike for one in own.rows]
        priors = [own.prior for own in alike if own.prior is not None]
        prior = _mean(priors) if priors else None
        fitted = fitter.fit_vendor(rows, bounds=_vendor_bounds(rows), prior=prior)
        together = {key: fitted[key] for key in OF_COPIES}
    return {
        name: fitter.fit_vendor(
            own.rows,
            bounds=_vendor_bounds(own.rows),
            prior=_leaning(own.prior, together) if name in ALIKE else own.prior,
        )
        for name, own in operations.items()
    }


def _mean(priors: Sequence[Parameters]) -> Parameters:
    """Geometric means of parameters; only all-reduces have the switch add for them."""
    means = {
        name: float(np.exp(np.mean([np.log(one[name]) for one in priors]))) for name in priors[0]
    }
    return {**means, "in_switch_gain": max(one["in_switch_gain"] for one in priors)}


def _leaning(prior: Parameters | None, together: Parameters) -> Parameters | None:
    """What relatives show, with what the device's other operations show in its place."""
    if not together:
        return prior
    return {name: bound.start for name, bound in VENDOR_BOUNDS.items()} | (prior or {}) | together


def _fit_vendor(
    fitter: CollectiveFitter, sets: Sequence[CollectiveRows]
) -> dict[tuple[str, str], Parameters]:
    by_device: dict[str, dict[str, _Own]] = {}
    for operation in OPERATIONS:
        of_operation = [rows for rows in sets if rows.operation == operation]
        for name, own in _known_of_relatives(fitter, of_operation).items():
            by_device.setdefault(name, {})[operation] = own
    return {
        (name, operation): values
        for name, operations in by_device.items()
        for operation, values in _of_one_device(fitter, operations).items()
    }


def _with_derived(
    found: dict[tuple[str, str], Parameters], accelerators: Iterable[str]
) -> dict[tuple[str, str], Parameters]:
    """Operations that a device lacks: its all-reduce times what others show of the difference."""
    complete = dict(found)
    for name in accelerators:
        own = found.get((name, "all_reduce"))
        if own is None:
            continue
        for operation in OPERATIONS:
            if (name, operation) not in found:
                complete[name, operation] = _scaled(found, own, operation)
    return complete


def _scaled(
    found: Mapping[tuple[str, str], Parameters], own: Parameters, operation: str
) -> Parameters:
    pairs = [
        (values, found[name, "all_reduce"])
        for (name, other), values in found.items()
        if other == operation and (name, "all_reduce") in found
    ]
    if not pairs:
        return dict(own)
    ratio = {
        key: float(np.median([values[key] / reduce[key] for values, reduce in pairs]))
        for key in own
    }
    scaled = {key: own[key] * ratio[key] for key in own}
    return inside_bounds({**scaled, "in_switch_gain": 1.0}, VENDOR_BOUNDS)


def _library_bounds(library: str) -> dict[str, Bound]:
    """Only what a library does is free; the rest stands at what changes nothing."""
    bounds = dict(LIBRARY_BOUNDS)
    pinned = {"kernel_limit_bytes": 0.0, "kernel_latency_s": 1e-6}
    pinned |= {"kernel_latency_per_rank_s": 0.0, "kernel_efficiency_fraction": 1.0}
    if library in KERNELS_OF_THEIR_OWN:
        # What it calls above its limit is the vendor's library as it is.
        pinned = {"latency_ratio": 1.0, "bandwidth_ratio": 1.0}
        if not library.endswith("-eager"):
            pinned |= {"host_s": 0.0, "copy_passes": 0.0}
    elif library == "vendor-launched":
        pinned |= {"copy_passes": 0.0, "bandwidth_ratio": 1.0}
    else:
        pinned |= {"copy_passes": 0.0, "host_s": 0.0}
        bounds["bandwidth_ratio"] = Bound(low=0.05, high=1.5, start=0.5, prior_sigma=0.3)
        bounds["latency_ratio"] = Bound(low=0.1, high=20.0, start=1.0, prior_sigma=0.3)
    return bounds | {name: Bound(low=v, high=v, start=v) for name, v in pinned.items()}


def _fit_libraries(
    fitter: CollectiveFitter,
    sets: Sequence[CollectiveRows],
    vendor: Mapping[tuple[str, str], Parameters],
) -> dict[tuple[str, str], Parameters]:
    found: dict[tuple[str, str], Parameters] = {}
    for library in sorted({rows.library for rows in sets} - {"vendor"}):
        of_library = [
            rows
            for rows in sets
            if rows.library == library
            and rows.operation == "all_reduce"
            and (rows.accelerator.name, "all_reduce") in vendor
            and rows.weights.any()
        ]
        if not of_library:
            continue
        bounds = _library_bounds(library)
        start = {name: bound.start for name, bound in bounds.items()}
        if library == "vendor-launched":
            start |= LAUNCHED
        everyone = fitter.fit_library(of_library, vendor, bounds=bounds, prior=start)
        for name in {rows.accelerator.name for rows in of_library}:
            own = [rows for rows in of_library if rows.accelerator.name == name]
            found[name, library] = fitter.fit_library(own, vendor, bounds=bounds, prior=everyone)
        found["", library] = everyone
    return found


def fit_collectives(fitter: CollectiveFitter, sets: Sequence[CollectiveRows]) -> FittedCollectives:
    """Fit the vendor's library on all rows given, then every other library on top of it."""
    names = {rows.accelerator.name for rows in sets}
    of_vendor = [rows for rows in sets if rows.library in VENDOR_CLASSES]
    vendor = _with_derived(_fit_vendor(fitter, of_vendor), names)
    libraries = _fit_libraries(fitter, sets, vendor)
    n_rows: dict[tuple[str, str], int] = {}
    for rows in sets:
        of_vendors = rows.library in VENDOR_CLASSES
        key = (rows.accelerator.name, rows.operation if of_vendors else rows.library)
        if of_vendors or rows.operation == "all_reduce":
            n_rows[key] = n_rows.get(key, 0) + rows.n_fitted
    return FittedCollectives(vendor=vendor, libraries=libraries, n_rows=n_rows)


def set_aside(sets: Sequence[CollectiveRows], *, is_seen: bool) -> list[CollectiveRows]:
    """The part of each set that a judged fit may see, or the part that judges it."""
    parts = [rows.where(rows.heldout != is_seen) for rows in sets]
    return [rows for rows in parts if len(rows.sizes)]


def judged_errors(
    fitter: CollectiveFitter, fitted: FittedCollectives, sets: Sequence[CollectiveRows]
) -> FittedErrors | None:
    """Errors of messages of a mebibyte and more; None where there are none."""
    predicted, measured = [], []
    for rows in sets:
        vendor = fitted.vendor.get((rows.accelerator.name, rows.operation))
        if vendor is None:
            continue
        large = rows.where(rows.is_large)
        library = _library_parameters(fitted, rows)
        predicted.append(fitter.predict_s(large, vendor, library))
        measured.append(large.measured_s)
    if not predicted or not sum(len(part) for part in predicted):
        return None
    return judge(np.concatenate(predicted), np.concatenate(measured))


def _library_parameters(fitted: FittedCollectives, rows: CollectiveRows) -> Parameters:
    """Of the device, or of all devices; other operations than all-reduce are the vendor's."""
    if rows.operation != "all_reduce":
        return {}
    own = fitted.libraries.get((rows.accelerator.name, rows.library))
    return own or fitted.libraries.get(("", rows.library)) or {}


def collective_calibrations(session: Session) -> dict[str, dict[str, CollectiveCalibration]]:
    """Collective parameters by accelerator profile and operation."""
    fitter = CollectiveFitter()
    sets = node_rows(session)
    judged = fit_collectives(fitter, set_aside(sets, is_seen=True))
    unseen = set_aside(sets, is_seen=False)
    fitted = fit_collectives(fitter, sets)
    recipe = _Recipe(
        session=session, fitter=fitter, sets=sets, unseen=unseen, judged=judged, fitted=fitted
    )
    _report(recipe)
    found: dict[str, dict[str, CollectiveCalibration]] = {}
    for name, operation in fitted.vendor:
        found.setdefault(name, {})[operation] = recipe.calibration(name, operation)
    return found


def _report(recipe: _Recipe) -> None:
    """Errors on groups set aside: by device and dtype, and over wires as a whole."""
    session, unseen = recipe.session, recipe.unseen

    def errors_of(sets: Sequence[CollectiveRows]) -> FittedErrors | None:
        return judged_errors(recipe.fitter, recipe.judged, sets)

    # Final constants are fitted on all rows but those that tell nothing.
    n_fitted = {
        key: sum(rows.n_fitted for rows in own) for key, own in _by_dtype(recipe.sets).items()
    }
    for (name, dtype), parts in sorted(_by_dtype(unseen).items()):
        session.note_errors(
            errors_of(parts),
            device=name,
            family="collectives",
            dtype=dtype,
            n_fitted=n_fitted[name, dtype],
        )
    switched = [rows for rows in unseen if rows.wires_kind == "switch"]
    for part, sets in {"over switches": switched, "over all links": unseen}.items():
        session.note_errors(errors_of(sets), device=None, family="collectives", part=part)


def _by_dtype(sets: Sequence[CollectiveRows]) -> dict[tuple[str, str], list[CollectiveRows]]:
    """Rows by accelerator and type of their elements, where that is known."""
    found: dict[tuple[str, str], list[CollectiveRows]] = {}
    for rows in sets:
        if rows.dtypes is not None:
            for dtype in sorted(set(map(str, rows.dtypes))):
                own = rows.where(np.asarray(rows.dtypes == dtype))
                found.setdefault((rows.accelerator.name, dtype), []).append(own)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    """Turns parameters and errors into calibration structs."""

    session: Session
    fitter: CollectiveFitter
    sets: Sequence[CollectiveRows]
    unseen: Sequence[CollectiveRows]
    judged: FittedCollectives
    fitted: FittedCollectives

    def calibration(self, name: str, operation: str) -> CollectiveCalibration:
        """One operation on one accelerator."""
        return CollectiveCalibration(
            **self.fitted.vendor[name, operation],  # type: ignore[arg-type]
            implementations=self._implementations(name) if operation == "all_reduce" else {},
            provenance=self._vendor_provenance(name, operation),
        )

    def _own(self, sets: Sequence[CollectiveRows], name: str) -> list[CollectiveRows]:
        return [rows for rows in sets if rows.accelerator.name == name]

    def _vendor_provenance(self, name: str, operation: str) -> Provenance:
        n_rows = self.fitted.n_rows.get((name, operation))
        if n_rows is None:
            return self.session.provenance(
                "this device's all-reduce, times the median ratio of the two operations on others",
                figure_class="inherited",
                spread=INHERITED_SPREAD,
            )

        def mine(sets: Sequence[CollectiveRows]) -> list[CollectiveRows]:
            return [
                rows
                for rows in self._own(sets, name)
                if rows.operation == operation and rows.library in VENDOR_CLASSES
            ]

        return self._provenance(mine(self.sets), mine(self.unseen), n_rows)

    def _provenance(
        self, own: Sequence[CollectiveRows], unseen: Sequence[CollectiveRows], n_rows: int
    ) -> Provenance:
        heldout = judged_errors(self.fitter, self.judged, unseen)
        errors = judged_errors(self.fitter, self.fitted, own)
        spread = max(errors.log_spread if errors else INHERITED_SPREAD, SMALLEST_SPREAD)
        if heldout is not None:
            spread = max(spread, heldout.median_ape_fraction)
        source_ids = {source_id for rows in own for source_id in rows.source_ids}
        source = SOURCE.format(sources=self.session.sources(source_ids))
        return self.session.provenance(source, n_samples=n_rows, heldout=heldout, spread=spread)

    def _implementations(self, name: str) -> dict[str, CollectiveImplementation]:
        """Other libraries on one accelerator.

        Where some with kernels of their own were measured, all that were on any of its vendor's
        devices, with what every device of any vendor shows of them together.
        """
        own = {library for device, library in self.fitted.libraries if device == name}
        if own & set(KERNELS_OF_THEIR_OWN):
            vendor = {rows.accelerator.vendor for rows in self._own(self.sets, name)}
            shown = {rows.library for rows in self.sets if rows.accelerator.vendor in vendor}
            own |= shown & set(KERNELS_OF_THEIR_OWN)
        return {library: self._implementation(name, library) for library in sorted(own)}

    def _implementation(self, name: str, library: str) -> CollectiveImplementation:
        values = self.fitted.libraries.get((name, library))
        if values is None:
            return CollectiveImplementation(
                **self.fitted.libraries["", library],
                provenance=self.session.provenance(
                    "this library on other devices",
                    figure_class="inherited",
                    spread=INHERITED_SPREAD,
                ),
            )

        def of_library(sets: Sequence[CollectiveRows]) -> list[CollectiveRows]:
            return [
                rows
                for rows in self._own(sets, name)
                if rows.library == library and rows.operation == "all_reduce"
            ]

        own, unseen = of_library(self.sets), of_library(self.unseen)
        n_rows = sum(rows.n_fitted for rows in own)
        return CollectiveImplementation(**values, provenance=self._provenance(own, unseen, n_rows))


def family_collectives(
    members: Sequence[tuple[Accelerator, Mapping[str, CollectiveCalibration]]],
) -> dict[str, CollectiveCalibration]:
    """Constants for a device of this family that nobody measured: medians of its members.

    Parameters
    ----------
    members
        Accelerators of one architecture with their calibrations.

    Returns
    -------
    dict
        By operation; shares and latencies as they are, libraries by name.
    """
    operations = {operation for _, calibrations in members for operation in calibrations}
    found = {}
    for operation in sorted(operations):
        own = [
            (accelerator.name, calibrations[operation])
            for accelerator, calibrations in members
            if operation in calibrations
        ]
        fitted = [pair for pair in own if pair[1].provenance.figure_class == "fitted"] or own
        found[operation] = _median(fitted)
    return found


def _median(
    members: Sequence[tuple[str, CollectiveCalibration]],
) -> CollectiveCalibration:
    libraries: dict[str, list[tuple[str, CollectiveImplementation]]] = {}
    for name, one in members:
        for library, values in one.implementations.items():
            libraries.setdefault(library, []).append((name, values))
    return CollectiveCalibration(
        **_medians([one for _, one in members], VENDOR_BOUNDS),  # type: ignore[arg-type]
        implementations={
            library: _median_implementation(of_library)
            for library, of_library in sorted(libraries.items())
        },
        provenance=_inherited([(name, one.provenance) for name, one in members]),
    )


def _median_implementation(
    members: Sequence[tuple[str, CollectiveImplementation]],
) -> CollectiveImplementation:
    """Of the members that were measured; of what others show where none was."""
    fitted = [pair for pair in members if pair[1].provenance.figure_class == "fitted"]
    if not fitted:
        return members[0][1]
    return CollectiveImplementation(
        **_medians([one for _, one in fitted], LIBRARY_BOUNDS),
        provenance=_inherited([(name, one.provenance) for name, one in fitted]),
    )


def _medians(structs: Sequence[object], names: Iterable[str]) -> Parameters:
    return {name: float(np.median([getattr(one, name) for one in structs])) for name in names}


def _inherited(members: Sequence[tuple[str, Provenance]]) -> Provenance:
    spreads = [one.relative_spread_fraction for _, one in members]
    names = ", ".join(name for name, _ in members)
    return Provenance(
        figure_class="inherited",
        source=f"median of the same architecture: {names}",
        date=max((one.date for _, one in members if one.date), default=None),
        code_version=members[0][1].code_version,
        relative_spread_fraction=max(INHERITED_SPREAD, *spreads),
    )
