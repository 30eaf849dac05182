"""Heat map: a value per cell of a grid, by shade and colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tui.charts.axes import FARTHEST, Axis, short
from tui.charts.frame import nothing
from tui.charts.picture import (
    HEAT_ROLES,
    N_HEAT_STEPS,
    LegendEntry,
    Picture,
    Sheet,
    Size,
    Style,
    shortened,
)

SHADES = ".:-=+*#@"
"""Glyph of each step, from low to high: the same in every marker set, as no colour is needed."""
MISSING = " "


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Values on a grid, row by row from the top."""

    axis: Axis
    """What the values are."""
    values: Sequence[Sequence[float]]
    row_name: str
    column_name: str
    row_labels: tuple[str, ...] = ()
    column_labels: tuple[str, ...] = ()
    cursor: tuple[int, int] | None = None
    """Row and column of the value under the cursor."""

    def __post_init__(self) -> None:
        if len({len(row) for row in self.values}) > 1:
            message = f"heat map {self.axis.name!r}: rows of different lengths"
            raise ValueError(message)

    @property
    def title(self) -> str:
        """Quantity, unit, better direction, and what rows and columns are."""
        return f"{self.axis.title}, {self.row_name} by {self.column_name}"


def heat_map(chart: HeatMap, *, size: Size, style: Style) -> Picture:
    """Draw a heat map; where there are more values than cells, a cell shows their mean."""
    known = [value for row in chart.values for value in row if abs(value) <= FARTHEST]
    if not known:
        return nothing("No values to draw yet.", title=chart.title, size=size, style=style)
    low, high = min(known), max(known)
    sheet = Sheet(size=size, style=style)
    sheet.line(chart.title, row=0, role="title")
    gutter = min(max((len(label) for label in chart.row_labels), default=0), size.width // 4)
    left = gutter + 1 if gutter else 0
    height, width = max(size.height - 3, 1), max(size.width - left, 1)
    rows = _stretches(len(chart.values), height)
    columns = _stretches(len(chart.values[0]), width)
    for i_row, row_values in enumerate(rows):
        _draw_row(sheet, chart, i_row=i_row, gutter=gutter, stretch=row_values)
        for i_column, column_values in enumerate(columns):
            mean = _mean(chart, row_values, column_values)
            step = _step(mean, low=low, high=high)
            glyph, role = (MISSING, "") if step is None else (SHADES[step], HEAT_ROLES[step])
            if _is_under(chart.cursor, row_values, column_values):
                role = "cursor"
            sheet.put(glyph, row=1 + i_row, column=left + i_column, role=role)
    _draw_column_labels(sheet, chart, left=left, columns=columns, row=1 + len(rows))
    legend = _legend(chart.axis, low=low, high=high)
    if size.height > 3:
        sheet.put_legend(legend, row=size.height - 1)
    return sheet.picture(text=_in_words(chart, low=low, high=high), legend=legend)


def _stretches(n_values: int, n_cells: int) -> list[range]:
    """The values of each cell: one, or an equal stretch where there are more than cells."""
    n_shown = min(n_values, n_cells)
    bounds = [i_cell * n_values // n_shown for i_cell in range(n_shown + 1)]
    return [range(bounds[i_cell], bounds[i_cell + 1]) for i_cell in range(n_shown)]


def _mean(chart: HeatMap, rows: range, columns: range) -> float:
    """Mean of the values of a cell, leaving out what is no number. [unit of the axis]"""
    cell = [chart.values[row][column] for row in rows for column in columns]
    known = [float(value) for value in cell if abs(value) <= FARTHEST]
    return sum(known) / len(known) if known else float("nan")


def _step(value: float, *, low: float, high: float) -> int | None:
    """Shade of a value between the extremes; None for what is missing."""
    if not abs(value) <= FARTHEST:
        return None
    if high <= low:
        return 0
    step = int((value - low) / (high - low) * N_HEAT_STEPS)
    return min(max(step, 0), N_HEAT_STEPS - 1)


def _is_under(cursor: tuple[int, int] | None, rows: range, columns: range) -> bool:
    return cursor is not None and cursor[0] in rows and cursor[1] in columns


def _draw_row(sheet: Sheet, chart: HeatMap, *, i_row: int, gutter: int, stretch: range) -> None:
    """Label of a row: that of its first value."""
    if stretch.start < len(chart.row_labels):
        label = shortened(chart.row_labels[stretch.start], gutter)
        sheet.put(label.rjust(gutter), row=1 + i_row, column=0, role="label")


def _draw_column_labels(
    sheet: Sheet, chart: HeatMap, *, left: int, columns: list[range], row: int
) -> None:
    """Labels under the columns, as many as do not touch."""
    free_from = 0
    for i_column, stretch in enumerate(columns):
        column = left + i_column
        if stretch.start < len(chart.column_labels) and column >= free_from:
            label = chart.column_labels[stretch.start]
            if column + len(label) <= sheet.size.width:
                sheet.put(label, row=row, column=column, role="label")
                free_from = column + len(label) + 1


def _legend(axis: Axis, *, low: float, high: float) -> tuple[LegendEntry, ...]:
    return (
        LegendEntry(SHADES[0], HEAT_ROLES[0], f"from {short(low, axis)}"),
        LegendEntry(SHADES[-1], HEAT_ROLES[-1], f"to {short(high, axis)}"),
    )


def _in_words(chart: HeatMap, *, low: float, high: float) -> str:
    """Extremes, where they are, and what is under the cursor."""
    said = [f"Heat map of {chart.title}, {len(chart.values)} by {len(chart.values[0])} values."]
    for name, extreme in (("Least", low), ("Most", high)):
        row, column = _where(chart, extreme)
        said.append(f"{name} {short(extreme, chart.axis)} at {_place(chart, row, column)}.")
    if chart.cursor is not None:
        row, column = chart.cursor
        value = short(float(chart.values[row][column]), chart.axis)
        said.append(f"Cursor: {value} at {_place(chart, row, column)}.")
    return " ".join(said)


def _where(chart: HeatMap, value: float) -> tuple[int, int]:
    for i_row, row in enumerate(chart.values):
        for i_column, found in enumerate(row):
            if found == value:
                return i_row, i_column
    return 0, 0


def _place(chart: HeatMap, row: int, column: int) -> str:
    def said(name: str, labels: tuple[str, ...], i_place: int) -> str:
        return f"{name} {labels[i_place] if i_place < len(labels) else i_place + 1}"

    row_said = said(chart.row_name, chart.row_labels, row)
    return f"{row_said}, {said(chart.column_name, chart.column_labels, column)}"
