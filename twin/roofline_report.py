"""Kernels of one device against its roofs: which rows, in which order, as values with units.

Measured rows come from files of any format that is read, or from the measurements that come with
the twin; predicted ones from a layer of a model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hardware_profiles.errors import nearest
from kernels.measurement_tables import MeasurementError
from kernels.own_measurements import Measured, measured_by
from twin.kernel_columns import COLLECTIVE, STREAM, KernelColumns, concatenated
from twin.kernel_columns import FAMILIES as KERNEL_FAMILIES
from twin.roofline import DeviceRoofs

if TYPE_CHECKING:
    from kernels.importers.request import ImportRequest
    from twin.kernel_view import KernelView
    from twin.layer_kernels import LayerSetting

__all__ = [
    "MeasuredSource",
    "RooflineKernel",
    "RooflineReport",
    "device_of_files",
    "family_rows",
    "roofline_kernels",
    "roofline_report",
]

FAMILIES = {"gemm": "gemm", "attention": "attention", "collective": "collectives"}
"""Names of families in documents, which are those of ``twin validate kernels``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredSource:
    """Where measured rows come from."""

    words: str
    """File or folder as the user named it, or that it came with the twin."""
    date: str
    """Day of the measurement, ISO format; empty where neither file nor folder tells."""
    n_rows: int
    """Rows of the device. [1]"""
    n_aside: int = 0
    """Rows of other devices, or without a time. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RooflineReport:
    """Roofs of a device and kernels under them."""

    device: str
    title: str
    roofs: DeviceRoofs
    columns: KernelColumns
    sources: tuple[MeasuredSource, ...] = ()
    layer: str = ""
    """Model, tensor-parallel size and length of the predicted layer; empty without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RooflineKernel:
    """One kernel; the names are the keys of the JSON."""

    name: str
    """Operation, or what it is in a layer."""
    family: str
    """gemm, attention, collectives, ops or membw."""
    operation: str
    """gemm, attention, or the operation of a collective or a stream."""
    direction: str | None
    dtype: str | None
    shape: str
    library: str | None
    flop: float
    """Matrix work; 0 for what moves data only. [flop]"""
    bytes: float
    """Each operand read once and each result written once; of a collective, what a rank sends."""
    intensity_flop_per_byte: float
    measured_time_s: float | None
    measured_flop_per_s: float | None
    measured_bytes_per_s: float | None
    predicted_time_s: float | None
    predicted_flop_per_s: float | None
    roofline_time_s: float | None
    """Least time under the roof; None where the device has none for the dtype. [s]"""
    roofline_limit: str | None
    """What the least time comes from: arithmetic, memory or link."""
    roofline_fraction: float | None
    """Least time over the measured one, or the predicted one where nobody measured. [1]"""
    prediction_error_fraction: float | None
    """Predicted over measured, minus one. [1]"""
    source: str


def device_of_files(view: KernelView, paths: Sequence[Path], request: ImportRequest) -> str:
    """The one device whose kernels some files hold.

    Raises
    ------
    MeasurementError
        They hold those of several devices, or of none that a profile carries.
    """
    known: set[str] = set()
    unknown: set[str] = set()
    for path in paths:
        names = view.devices_in(path, request)
        known.update(names[0])
        unknown.update(names[1])
    files = ", ".join(str(path) for path in paths)
    if len(known) == 1:
        return known.pop()
    if known:
        msg = f"{files}: kernels of {', '.join(sorted(known))}; choose one with --device"
        raise MeasurementError(msg)
    if not unknown:
        msg = f"{files}: no rows; expected measured kernels"
        raise MeasurementError(msg)
    name = max(unknown)
    if not name:
        msg = f"{files}: no row names its device; say which it is with --device PROFILE"
        raise MeasurementError(msg)
    close = nearest(name, view.devices(), n=1)
    hint = f", perhaps {close[0]}" if close else ""
    msg = (
        f"{files}: device {name!r} is no name or alias of a profile; say which it is with "
        f"--device PROFILE{hint}"
    )
    raise MeasurementError(msg)


def roofline_report(
    view: KernelView,
    device: str,
    *,
    paths: Sequence[Path],
    request: ImportRequest,
    setting: LayerSetting | None,
) -> RooflineReport:
    """Gather the kernels of a device.

    Parameters
    ----------
    view
        Answers about kernels.
    device
        Name of a profile.
    paths
        Files and folders of measurements; those that come with the twin where there are none.
    request
        What the user says of files that do not say it themselves.
    setting
        Layer whose predicted kernels are added; None for no layer.

    Raises
    ------
    TweelingError
        A file that cannot be read or holds no kernel of the device, a device without the figures
        of a roof, a layer that no framework could run.
    """
    roofs = view.roofs(device)
    parts, sources = [], []
    if paths:
        for path in paths:
            part, source = _measured(view, device, path, request=request)
            parts.append(part)
            sources.append(source)
    else:
        own = view.own(device)
        if own is not None:
            part, source = _own(view, device, own)
            parts.append(part)
            sources.append(source)
    if setting is not None:
        parts.append(view.layer(device, setting))
    return RooflineReport(
        device=device,
        title=view.title(device),
        roofs=roofs,
        columns=concatenated(parts),
        sources=tuple(sources),
        layer=setting.words if setting is not None else "",
    )


def _measured(
    view: KernelView, device: str, path: Path, *, request: ImportRequest
) -> tuple[KernelColumns, MeasuredSource]:
    *_, progress = view.measured(device, path, request)
    if not progress.n_kept:
        known, unknown = view.devices_in(path, request)
        there = ", ".join([*known, *(repr(name) for name in unknown if name)])
        held = f"; it holds {there}" if there and known != (device,) else ""
        msg = f"{path}: no timed kernels of {device}{held}"
        raise MeasurementError(msg)
    source = MeasuredSource(
        words=str(path),
        date=_date_of(path),
        n_rows=progress.n_kept,
        n_aside=progress.n_read - progress.n_kept,
    )
    return progress.columns, source


def _own(view: KernelView, device: str, own: Measured) -> tuple[KernelColumns, MeasuredSource]:
    *_, progress = view.measured(device, own.folder)
    words = ", ".join(part for part in ("by us", own.device, own.software) if part)
    return progress.columns, MeasuredSource(words=words, date=own.date, n_rows=progress.n_kept)


def _date_of(path: Path) -> str:
    """Day of a measurement: what the folder or file says, else when the file was written."""
    if path.is_dir():
        return measured_by(path).date
    if path.suffix == ".json":
        try:
            said = json.loads(path.read_text(encoding="utf-8")).get("datetime", "")
            return datetime.fromisoformat(str(said)).date().isoformat()
        except (OSError, ValueError, AttributeError):
            pass  # the importer took it, so it is another report: the file's own day serves
    written = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)
    return written.date().isoformat()


def roofline_kernels(columns: KernelColumns, roofs: DeviceRoofs) -> Iterator[RooflineKernel]:
    """Every kernel as a value: measured ones first, the one farthest below its roof first."""
    share = columns.share_fraction
    has_no_time = np.isnan(columns.measured_s)
    order = np.lexsort((np.where(np.isnan(share), np.inf, share), has_no_time))
    for row in order.tolist():
        yield _kernel(columns, row, roofs)


def family_rows(columns: KernelColumns) -> Iterator[tuple[str, str, KernelColumns]]:
    """Rows by family, as documents name it, and dtype."""
    is_sized = columns.sizes[:, 1] > 0
    keys = np.column_stack([columns.family, columns.codes["dtype"], is_sized]).astype(np.int64)
    found = {}
    for key in np.unique(keys, axis=0):
        part = columns.where((keys == key).all(axis=1))
        found[_family(part, 0), part.text("dtype", 0)] = part
    for family, dtype in sorted(found):
        yield family, dtype, found[family, dtype]


def _family(columns: KernelColumns, row: int) -> str:
    """Name of a row's family in documents."""
    streams = "ops" if columns.sizes[row, 1] > 0 else "membw"
    return FAMILIES.get(KERNEL_FAMILIES[int(columns.family[row])], streams)


def _kernel(columns: KernelColumns, row: int, roofs: DeviceRoofs) -> RooflineKernel:
    point = columns.point(row)
    roof_s = _known(columns.roof_s[row])
    is_named = point.family in ("collective", "stream")
    return RooflineKernel(
        name=point.name,
        family=_family(columns, row),
        operation=point.name if is_named else point.family,
        direction=point.direction or None,
        dtype=point.dtype or None,
        shape=point.shape,
        library=point.library or None,
        flop=point.flop,
        bytes=point.traffic_bytes,
        intensity_flop_per_byte=point.flop / point.traffic_bytes,
        measured_time_s=point.measured_s,
        measured_flop_per_s=_rate(point.flop, point.measured_s),
        measured_bytes_per_s=_rate(point.traffic_bytes, point.measured_s),
        predicted_time_s=point.predicted_s,
        predicted_flop_per_s=_rate(point.flop, point.predicted_s),
        roofline_time_s=roof_s,
        roofline_limit=_limit(columns, row, roofs) if roof_s is not None else None,
        roofline_fraction=point.roof_share_fraction,
        prediction_error_fraction=point.error_fraction,
        source=point.origin,
    )


def _limit(columns: KernelColumns, row: int, roofs: DeviceRoofs) -> str:
    family = int(columns.family[row])
    if family == COLLECTIVE:
        return "link"
    bandwidth = roofs.bytes_per_s("memory")
    if family == STREAM or bandwidth is None:
        return "memory"
    memory_s = columns.traffic_bytes[row] / bandwidth
    return "memory" if columns.roof_s[row] <= memory_s else "arithmetic"


def _rate(work: float, time_s: float | None) -> float | None:
    """Work over time. [1/s]"""
    return None if time_s is None else work / time_s


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
