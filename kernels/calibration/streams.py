"""Parameters of memory-bound operations for every accelerator with measurements, and for others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import (
    BandwidthCalibration,
    MemoryBoundCalibration,
    OperationCalibration,
    Provenance,
)
from kernels.calibration.session import Session
from kernels.calibration.simplex import FittedErrors, judge
from kernels.calibration.split import is_heldout
from kernels.calibration.stream_fit import (
    FEW_ROWS,
    SHORT_ROW_COLUMNS,
    FittedOperation,
    OperationFitter,
    fit_occupancy,
    stream_bounds,
)
from kernels.calibration.stream_rows import OperationRows, bandwidth_tables, operation_rows
from kernels.families.inheritance import completed_calibration
from kernels.measurement_tables import Mask
from kernels.memory_bound.machine import EagerPlan, eager_plan
from kernels.memory_bound.occupancy import OccupancyMachine, occupied_bandwidth_bytes_per_s
from kernels.prediction.bandwidth import occupancy_fraction

__all__ = [
    "FittedStreams",
    "bandwidth_errors",
    "family_memory_bound",
    "fit_streams",
    "memory_bound_calibrations",
    "occupancy_calibrations",
]

DEVICE_FLOOR_S = {"nvidia": 2.5e-6, "amd": 3.7e-6}
"""One short kernel in a tight loop, as the GEMM tables show; timings of a framework hide it. [s]"""

PLAIN_STREAMS = ("add", "mul", "div", "addu", "mulu", "divu", "relu", "residual_add-fwd")
"""Operations that do nothing but move data: their median share is the device's."""

COPIES, TRIADS = (
    ("babelstream_copy", "copy", "scale", "babelstream_mul"),
    (
        "babelstream_triad",
        "babelstream_add",
        "triad",
    ),
)
"""Streaming kernels that read and write, as a training step's do."""

HOST_TRANSFERS = ("h2d", "d2h", "h2d_mem_bw", "d2h_mem_bw", "pcie_h2d", "pcie_d2h")

SMALLEST_SPREAD = 0.05
INHERITED_SPREAD = 0.1
"""Leaving a device out of its architecture misses its operations by 2 to 4 % at the median, 8 % in
the mean; leaving it out of its vendor's devices by 5 to 15 %. [1]"""

BYTES_PER_GB = 1e9

ELEMENT_BITS = (16, 32)
"""Widths of elements that errors are told apart by. [bit]"""

SOURCE = (
    "operations of a framework ({sources}), sizes set aside: "
    "1/5 of (rows, columns) by hash; share of the bandwidth: median of plain streams; the "
    "framework's launch stands with each operation; floor: short kernels in a loop (GEMM tables)"
)
TOGETHER = "; eager operations of surveys: all devices of the architecture together"

OF_KERNELS = ("element_s", "plain_round_s", "plain_rest_s")
"""Constants that belong to a kernel and not to what an operation does around it."""

BANDWIDTH_SOURCE = (
    "share of the bandwidth: mean of the best copy and the best triad ({sources}); "
    "floor: short kernels in a tight loop (GEMM tables)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedStreams:
    """Share of the bandwidth by accelerator, and operations by (accelerator, class)."""

    efficiency: dict[str, float]
    operations: dict[tuple[str, str], FittedOperation]


def _plain_efficiency(fitter: OperationFitter, sets: Sequence[OperationRows]) -> dict[str, float]:
    """Median share over the plain streams of each device, the launch fitted beside it. [1]"""
    shares: dict[str, list[float]] = {}
    for rows in sets:
        if rows.name in PLAIN_STREAMS:
            ratio = fitter.fit(rows, 1.0).parameters["traffic_ratio"]
            shares.setdefault(rows.accelerator.name, []).append(1.0 / ratio)
    return {name: float(np.median(values)) for name, values in shares.items()}


def fit_streams(
    fitter: OperationFitter,
    sets: Sequence[OperationRows],
    efficiency: Mapping[str, float],
) -> FittedStreams:
    """Fit every class of operations on every device.

    Parameters
    ----------
    fitter
        Keeps compiled models.
    sets
        Rows by device and class.
    efficiency
        Share of the bandwidth of devices whose rows hold no plain stream. [1]

    Returns
    -------
    FittedStreams
        Devices with few rows of a class stay near the median of the others; operations whose
        kernels are known are fitted on all devices of an architecture together.
    """
    shares = {**efficiency, **_plain_efficiency(fitter, sets)}
    known = [rows for rows in sets if rows.accelerator.name in shares]
    others = [rows for rows in known if not _has_plan(rows)]
    found: dict[tuple[str, str], FittedOperation] = {}
    for is_rich in (True, False):
        for rows in others:
            name = rows.accelerator.name
            if (len(rows.sizes) >= FEW_ROWS) is not is_rich:
                continue
            prior = None if is_rich else _median_of_others(found, rows.name)
            found[name, rows.name] = fitter.fit(rows, shares[name], prior=prior)
    found |= _fitted_together(fitter, known, shares)
    return FittedStreams(efficiency=shares, operations=found)


def _fitted_together(
    fitter: OperationFitter, sets: Sequence[OperationRows], shares: Mapping[str, float]
) -> dict[tuple[str, str], FittedOperation]:
    """Operations whose kernels are known: one fit for all devices of an architecture."""
    groups: dict[tuple[str, str, str], list[OperationRows]] = {}
    for rows in sets:
        if _has_plan(rows):
            key = (rows.accelerator.vendor, rows.accelerator.architecture, rows.name)
            groups.setdefault(key, []).append(rows)
    found: dict[tuple[str, str], FittedOperation] = {}
    plans = {operation: eager_plan(operation) for *_, operation in groups}
    # Those that lean on another come after it.
    for (*_, operation), group in sorted(groups.items(), key=lambda one: _leans(plans[one[0][-1]])):
        plan = plans[operation]
        if plan is not None:
            parts = [(rows, shares[rows.accelerator.name]) for rows in group]
            prior = _known_of_one(group) or _told_by(found, plan, group[0])
            fitted = fitter.fit_eager(parts, plan, prior=prior)
            names = [rows.accelerator.name for rows in group]
            found |= {(name, operation): one for name, one in zip(names, fitted, strict=True)}
    return found


def _leans(plan: EagerPlan | None) -> bool:
    return plan is not None and bool(plan.like)


def _told_by(
    found: Mapping[tuple[str, str], FittedOperation], plan: EagerPlan, rows: OperationRows
) -> dict[str, float] | None:
    """What another operation tells of kernels that both run through."""
    other = found.get((rows.accelerator.name, plan.like))
    return None if other is None else {name: other.parameters[name] for name in OF_KERNELS}


def _has_plan(rows: OperationRows) -> bool:
    return rows.is_eager and eager_plan(rows.name) is not None


def _known_of_one(group: Sequence[OperationRows]) -> dict[str, float] | None:
    """What the profile of a device alone knows: its relatives, which told it, are not there."""
    if len(group) > 1:
        return None
    streams = completed_calibration(group[0].accelerator).memory_bound
    known = streams.operations.get(group[0].name) if streams else None
    if known is None or known.element_s <= 0.0:
        return None
    return {name: getattr(known, name) for name in stream_bounds(group[0].name)}


def _median_of_others(
    found: Mapping[tuple[str, str], FittedOperation], operation: str
) -> dict[str, float] | None:
    others = [one.parameters for (_, name), one in found.items() if name == operation]
    if not others:
        return None
    return {key: float(np.median([values[key] for values in others])) for key in others[0]}


def _errors(
    fitter: OperationFitter, fitted: FittedStreams, sets: Iterable[OperationRows]
) -> FittedErrors | None:
    predicted, measured = [], []
    for rows in sets:
        one = fitted.operations.get((rows.accelerator.name, rows.name))
        if one is not None:
            efficiency = fitted.efficiency[rows.accelerator.name]
            predicted.append(fitter.predict_s(rows, efficiency, one))
            measured.append(rows.measured_s)
    if not measured:
        return None
    return judge(np.concatenate(predicted), np.concatenate(measured))


def _parts(sets: Sequence[OperationRows], *, is_seen: bool) -> list[OperationRows]:
    parts = [rows.where(rows.heldout != is_seen) for rows in sets]
    return [rows for rows in parts if len(rows.sizes)]


def occupancy_calibrations(
    session: Session, *, is_seen: bool = False
) -> dict[str, dict[str, BandwidthCalibration]]:
    """Bandwidth against occupancy by accelerator and kernel; only rows not set aside on wish."""
    points = _bandwidth_points(session, is_seen=True)
    if not is_seen:
        for key, values in _bandwidth_points(session, is_seen=False).items():
            points.setdefault(key, []).extend(values)
    found: dict[str, dict[str, BandwidthCalibration]] = {}
    for (name, op), values in sorted(points.items()):
        occupancy, share = np.array(values).T
        found.setdefault(name, {})[op] = fit_occupancy(occupancy, share)
    return found


def _bandwidth_points(
    session: Session, *, is_seen: bool
) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Occupancy and share of the bandwidth of the rows set aside, or of all others."""
    points: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for table in bandwidth_tables(session):
        is_heldout = heldout_bandwidths(table["op"], table["library"])
        mask = ~np.isin(table["op"], HOST_TRANSFERS) & (is_heldout != is_seen)
        for number in np.flatnonzero(mask):
            accelerator = session.accelerator(str(table["device"][number]))
            if accelerator is None:
                continue
            share = BYTES_PER_GB * table["GBps"][number] / accelerator.memory.bandwidth_bytes_per_s
            point = (occupancy_fraction(str(table["library"][number])), float(share))
            points.setdefault((accelerator.name, str(table["op"][number])), []).append(point)
    return points


def heldout_bandwidths(ops: Iterable[str], libraries: Iterable[str]) -> Mask:
    """Rows of bandwidth tables set aside: (kernel, occupancy) where the occupancy is known."""
    return np.array(
        [
            occupancy_fraction(library) < 1.0 and is_heldout("bandwidth", (op, library))
            for op, library in zip(ops, libraries, strict=True)
        ],
        dtype=bool,
    )


def _streaming_efficiency(bandwidth: Mapping[str, BandwidthCalibration]) -> float | None:
    """Mean of the best copy and the best triad at full occupancy. [1]"""
    best = [
        max(_at_full_occupancy(bandwidth[name]) for name in names if name in bandwidth)
        for names in (COPIES, TRIADS)
        if any(name in bandwidth for name in names)
    ]
    return float(np.mean(best)) if best else None


def _at_full_occupancy(kernel: BandwidthCalibration) -> float:
    machine = OccupancyMachine(
        1.0, kernel.peak_fraction, kernel.saturation_fraction, kernel.join_exponent
    )
    return occupied_bandwidth_bytes_per_s(1.0, machine)


def bandwidth_errors(session: Session) -> dict[str, FittedErrors]:
    """Errors of streaming kernels at occupancies that a fit has not seen, by accelerator."""
    judged = occupancy_calibrations(session, is_seen=True)
    points: dict[str, list[tuple[float, float]]] = {}
    for (name, op), shares in _bandwidth_points(session, is_seen=False).items():
        fitted = judged.get(name, {}).get(op)
        if fitted is None:
            continue
        machine = OccupancyMachine(
            1.0, fitted.peak_fraction, fitted.saturation_fraction, fitted.join_exponent
        )
        points.setdefault(name, []).extend(
            (occupied_bandwidth_bytes_per_s(occupancy, machine), share)
            for occupancy, share in shares
        )
    return {name: judge(*np.array(pairs).T) for name, pairs in points.items()}


def memory_bound_calibrations(session: Session) -> dict[str, MemoryBoundCalibration]:
    """Stream, operation and occupancy parameters by accelerator profile."""
    fitter, sets = OperationFitter(), operation_rows(session)
    bandwidth = occupancy_calibrations(session)
    streaming = {
        name: share
        for name, kernels in bandwidth.items()
        if (share := _streaming_efficiency(kernels)) is not None
    }
    judged = fit_streams(fitter, _parts(sets, is_seen=True), streaming)
    fitted = fit_streams(fitter, sets, streaming)
    recipe = _Recipe(
        session=session, fitter=fitter, sets=sets, judged=judged, fitted=fitted, bandwidth=bandwidth
    )
    aside = _parts(sets, is_seen=False)
    for name in sorted(fitted.efficiency):
        unseen = [rows for rows in aside if rows.accelerator.name == name]
        for bits in ELEMENT_BITS:
            parts = [rows.where(8.0 * rows.sizes[:, 2] == bits) for rows in unseen]
            errors_of_bits = _errors(fitter, judged, [rows for rows in parts if len(rows.sizes)])
            session.note_errors(
                errors_of_bits, device=name, family="ops", part=f"elements of {bits} bits"
            )
    for name, errors in sorted(bandwidth_errors(session).items()):
        session.note_errors(errors, device=name, family="ops", part="streams by occupancy")
    return {name: recipe.calibration(name) for name in sorted(fitted.efficiency)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    """Turns parameters and errors into calibration structs."""

    session: Session
    fitter: OperationFitter
    sets: Sequence[OperationRows]
    judged: FittedStreams
    fitted: FittedStreams
    bandwidth: Mapping[str, dict[str, BandwidthCalibration]]

    def calibration(self, name: str) -> MemoryBoundCalibration:
        """One accelerator."""
        own = [rows for rows in self.sets if rows.accelerator.name == name]
        accelerator = own[0].accelerator if own else self.session.accelerator(name)
        vendor = accelerator.vendor if accelerator else "nvidia"
        return MemoryBoundCalibration(
            bandwidth_efficiency_fraction=self.fitted.efficiency[name],
            launch_s=DEVICE_FLOOR_S.get(vendor, DEVICE_FLOOR_S["nvidia"]),
            operations={rows.name: self._operation(rows) for rows in own},
            bandwidth=self.bandwidth.get(name, {}),
            provenance=self._provenance(own) if own else self._from_bandwidth(name),
        )

    def _operation(self, rows: OperationRows) -> OperationCalibration:
        one = self.fitted.operations[rows.accelerator.name, rows.name]
        return OperationCalibration(
            **one.parameters,
            short_row_columns=SHORT_ROW_COLUMNS.get(rows.name, 0.0),
            residual=one.residual,
            provenance=self._provenance([rows]),
        )

    def _provenance(self, own: Sequence[OperationRows]) -> Provenance:
        heldout = _errors(self.fitter, self.judged, _parts(own, is_seen=False))
        errors = _errors(self.fitter, self.fitted, own)
        spread = max(errors.log_spread if errors else INHERITED_SPREAD, SMALLEST_SPREAD)
        if heldout is not None:
            spread = max(spread, heldout.log_spread)
        n_rows = sum(len(rows.sizes) for rows in own)
        source_ids = {source_id for rows in own for source_id in rows.source_ids}
        source = SOURCE.format(sources=self.session.sources(source_ids))
        source += TOGETHER if any(_has_plan(rows) for rows in own) else ""
        return self.session.provenance(source, n_samples=n_rows, heldout=heldout, spread=spread)

    def _from_bandwidth(self, name: str) -> Provenance:
        rows = [
            (source_id, device)
            for table in bandwidth_tables(self.session)
            for source_id, device in zip(table["source_id"], table["device"], strict=True)
        ]
        own = [source_id for source_id, device in rows if self._is_named(str(device), name)]
        return self.session.provenance(
            BANDWIDTH_SOURCE.format(sources=self.session.sources(own)),
            n_samples=len(own),
            spread=SMALLEST_SPREAD,
        )

    def _is_named(self, device: str, name: str) -> bool:
        accelerator = self.session.accelerator(device)
        return accelerator is not None and accelerator.name == name


def family_memory_bound(
    members: Sequence[tuple[Accelerator, MemoryBoundCalibration]],
) -> MemoryBoundCalibration:
    """Constants for a device of this family that nobody measured: medians of its members.

    Parameters
    ----------
    members
        Accelerators of one architecture, or of one vendor, with their calibrations.

    Returns
    -------
    MemoryBoundCalibration
        Shares and ratios as they are; corrections are the members' own and are left out.
    """
    calibrations = [one for _, one in members]
    names = ", ".join(accelerator.name for accelerator, _ in members)
    spreads = [one.provenance.relative_spread_fraction for one in calibrations]
    shares = [one.bandwidth_efficiency_fraction for one in calibrations]
    provenance = Provenance(
        figure_class="inherited",
        source=f"median of measured relatives: {names}",
        date=max((one.provenance.date or "" for one in calibrations), default=None) or None,
        code_version=calibrations[0].provenance.code_version,
        relative_spread_fraction=max(INHERITED_SPREAD, *spreads),
    )
    return MemoryBoundCalibration(
        bandwidth_efficiency_fraction=float(np.median(shares)),
        launch_s=float(np.median([one.launch_s for one in calibrations])),
        operations=_median_operations(calibrations, provenance),
        bandwidth=_median_bandwidth(calibrations),
        provenance=provenance,
    )


def _median_operations(
    calibrations: Sequence[MemoryBoundCalibration], provenance: Provenance
) -> dict[str, OperationCalibration]:
    found = {}
    for name in sorted({name for one in calibrations for name in one.operations}):
        own = [one.operations[name] for one in calibrations if name in one.operations]
        values = {
            key: float(np.median([getattr(one, key) for one in own])) for key in stream_bounds(name)
        }
        spreads = [one.provenance.relative_spread_fraction for one in own]
        widest = max(provenance.relative_spread_fraction, *spreads)
        found[name] = OperationCalibration(
            **values,  # type: ignore[arg-type]
            short_row_columns=own[0].short_row_columns,
            provenance=msgspec.structs.replace(provenance, relative_spread_fraction=widest),
        )
    return found


def _median_bandwidth(
    calibrations: Sequence[MemoryBoundCalibration],
) -> dict[str, BandwidthCalibration]:
    found = {}
    for name in sorted({name for one in calibrations for name in one.bandwidth}):
        own = [one.bandwidth[name] for one in calibrations if name in one.bandwidth]
        keys = BandwidthCalibration.__struct_fields__
        values = {key: float(np.median([getattr(one, key) for one in own])) for key in keys}
        found[name] = msgspec.convert(values, BandwidthCalibration)
    return found
