"""Kernels of one device ready to be drawn: rows, places on the roofline, columns of a table.

Everything that grows with the number of rows is computed once, beside the work; drawing takes one
kernel for each place of the roofline, however many stand there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tui.charts.roofline import KernelPoint as ChartPoint
from tui.charts.roofline import Memory, Peak, Roofline
from tui.screens.kernels_text import LETTERS, microseconds, percent, signed_percent
from tui.widgets.column_table import Column
from tui.widgets.lines import ascii_text
from twin.kernel_columns import FAMILIES, KernelColumns, kinds_of, shape_text

if TYPE_CHECKING:
    from twin.calibration_view import FitRow
    from twin.kernel_bases import KernelBases
    from twin.roofline import DeviceRoofs

__all__ = ["KernelSheet", "chart_of", "sheet_of", "table_columns"]

BINS_ACROSS, BINS_DOWN = 160, 80
"""Places on the roofline that can be told apart. [1]"""
LOG_SPAN = (-4.0, 8.0), (3.0, 19.0)
"""Decades of intensity and of rate that the places cover."""
N_BINS = len(FAMILIES) * BINS_ACROSS * BINS_DOWN

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KernelSheet:
    """Rows with all that is derived from them."""

    columns: KernelColumns
    error: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]
    intensity: npt.NDArray[np.float64]
    rate: npt.NDArray[np.float64]
    bins: npt.NDArray[np.int64]
    """Place of each row on the roofline, by family; -1 for one without a place."""
    fits: tuple[FitRow | None, ...]
    """Of each kind of kernels among the rows."""
    kinds: npt.NDArray[np.intp]
    """Number of each row's kind."""

    def __len__(self) -> int:
        return len(self.columns)

    def fit(self, row: int) -> FitRow | None:
        """The fit behind the prediction of a row; None for a row that nothing predicts."""
        is_predicted = not np.isnan(self.columns.predicted_s[row])
        return self.fits[self.kinds[row]] if is_predicted else None


def sheet_of(columns: KernelColumns, bases: KernelBases) -> KernelSheet:
    """Derive errors, shares, places and on what each row rests."""
    kinds, numbers = kinds_of(columns)
    intensity, rate = columns.intensity_flop_per_byte, columns.rate_flop_per_s
    return KernelSheet(
        columns=columns,
        error=columns.error_fraction,
        share=columns.share_fraction,
        intensity=intensity,
        rate=rate,
        bins=_bins(columns, intensity, rate),
        fits=tuple(bases.fit_of(kind) for kind in kinds),
        kinds=numbers,
    )


def _bins(
    columns: KernelColumns,
    intensity: npt.NDArray[np.float64],
    rate: npt.NDArray[np.float64],
) -> npt.NDArray[np.int64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = np.log10(intensity), np.log10(rate)
    (x_low, x_high), (y_low, y_high) = LOG_SPAN
    has_place = (x >= x_low) & (x < x_high) & (y >= y_low) & (y < y_high)
    x, y = np.where(has_place, x, x_low), np.where(has_place, y, y_low)
    across = ((x - x_low) / (x_high - x_low) * BINS_ACROSS).astype(np.int64)
    down = ((y - y_low) / (y_high - y_low) * BINS_DOWN).astype(np.int64)
    place = (columns.family.astype(np.int64) * BINS_DOWN + down) * BINS_ACROSS + across
    return np.where(has_place, place, -1)


def _texts(columns: KernelColumns, name: str) -> Mapping[int, str]:
    return dict(enumerate(columns.texts[name]))


def table_columns(sheet: KernelSheet, *, is_ascii: bool = False) -> tuple[Column, ...]:
    """Columns of the table; texts are ordered by their number, which is their alphabet."""
    plain = ascii_text if is_ascii else str
    columns = sheet.columns
    rows = np.arange(len(columns))

    def text(name: str, title: str, width: int) -> Column:
        table = _texts(columns, name)
        return Column(
            key=name,
            title=title,
            values=columns.codes[name],
            shown=lambda code: table.get(int(code), ""),
            width=width,
            is_text=True,
        )

    def shape(row: int) -> str:
        return shape_text(int(columns.family[row]), columns.sizes[row])

    def number(
        key: str, title: str, values: npt.NDArray[np.float64], shown: Callable[[float], str]
    ) -> Column:
        unit, width = ("µs", 8) if shown is microseconds else ("%", 6)
        return Column(
            key=key,
            title=title,
            values=values,
            unit=plain(unit),
            shown=lambda value: plain(shown(value)),
            width=width,
        )

    letters = {number: LETTERS[family] for number, family in enumerate(FAMILIES)}
    return (
        Column(
            key="family",
            title="",
            values=columns.family,
            shown=lambda number: letters[int(number)],
            width=1,
            is_text=True,
        ),
        text("name", "kernel", 12),
        Column(
            key="shape",
            title="shape",
            values=rows,
            shown=shape,
            width=19,
            is_text=True,
            order=columns.flop,
        ),
        text("dtype", "type", 5),
        number("measured", "meas", columns.measured_s, microseconds),
        number("predicted", "pred", columns.predicted_s, microseconds),
        number("error", "err", sheet.error, signed_percent),
        number("share", "roof", sheet.share, percent),
        text("direction", "pass", 6),
        text("library", "library", 28),
        text("origin", "from", 24),
    )


def chart_of(
    sheet: KernelSheet,
    mask: Mask | None,
    *,
    roofs: DeviceRoofs,
    selected: int | None,
) -> Roofline:
    """The roofline of the rows that a filter lets through, one kernel for each place."""
    rows, counts = _representatives(sheet.bins, mask)
    points = [
        _point(sheet, int(row), count=int(count)) for row, count in zip(rows, counts, strict=True)
    ]
    place = None
    if selected is not None and sheet.bins[selected] >= 0:
        points.append(_point(sheet, selected, count=1, is_named=True))
        place = len(points) - 1
    return Roofline(
        peaks=tuple(Peak(name=one.dtype, flop_per_s=one.flop_per_s) for one in _peaks(roofs)),
        memories=tuple(
            Memory(name=one.level, bytes_per_s=one.bytes_per_s) for one in roofs.memories
        ),
        kernels=tuple(points),
        selected=place,
    )


def _peaks(roofs: DeviceRoofs) -> list:  # type: ignore[type-arg]
    """One dtype for each height of the roof, the narrowest name of those that share it."""
    by_rate: dict[float, list] = {}  # type: ignore[type-arg]
    for peak in roofs.peaks:
        by_rate.setdefault(peak.flop_per_s, []).append(peak)
    wanted = ("bf16", "fp8", "fp4", "tf32", "fp32", "fp64")
    return [
        min(same, key=lambda peak: wanted.index(peak.dtype) if peak.dtype in wanted else 9)
        for same in by_rate.values()
    ]


def _representatives(
    bins: npt.NDArray[np.int64], mask: Mask | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The first row of each place, and how many rows stand there."""
    rows = np.flatnonzero(bins >= 0) if mask is None else np.flatnonzero((bins >= 0) & mask)
    places = bins[rows]
    counts = np.bincount(places, minlength=N_BINS)
    first = np.full(N_BINS, -1, dtype=np.int64)
    # Written from the back: what stays is the first row of each place.
    first[places[::-1]] = rows[::-1]
    taken = np.flatnonzero(counts)
    return first[taken], counts[taken]


def _point(sheet: KernelSheet, row: int, *, count: int, is_named: bool = False) -> ChartPoint:
    family = FAMILIES[int(sheet.columns.family[row])]
    fit = sheet.fit(row)
    is_measured = not np.isnan(sheet.columns.measured_s[row])
    name = family
    if is_named:
        shape = shape_text(int(sheet.columns.family[row]), sheet.columns.sizes[row])
        name = f"{sheet.columns.text('name', row)} {shape}"
    return ChartPoint(
        letter=LETTERS[family],
        name=name,
        intensity_flop_per_byte=float(sheet.intensity[row]),
        flop_per_s=float(sheet.rate[row]),
        is_calibrated=bool(is_measured or (fit is not None and fit.is_own)),
        family=family,
        basis=fit.words if fit else "no model",
        count=count,
        row=row,
    )
