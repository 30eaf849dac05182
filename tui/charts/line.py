"""Line chart: series over x, with a band from p10 to p90, limits, and a cursor."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from tui.charts.axes import Axis, is_drawable, scale_for, short
from tui.charts.canvas import DotCanvas, Pen
from tui.charts.frame import Axes, Frame, framed, has_room, nothing, too_small
from tui.charts.picture import (
    N_SERIES,
    SERIES_GLYPHS,
    SERIES_ROLES,
    LegendEntry,
    Picture,
    Size,
    Style,
)

_MARK_EVERY = 12
"""Cells between two glyphs on a line, by which it is told from others without colour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line, in the order of its points; values that are not finite leave a gap."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    """p10 at each x, or empty: no band."""
    high: tuple[float, ...] = ()
    """p90 at each x, or empty: no band."""

    def __post_init__(self) -> None:
        n_points = len(self.x)
        for name, values in (("y", self.y), ("low", self.low), ("high", self.high)):
            if len(values) != n_points and (name == "y" or values):
                message = f"series {self.name!r}: {len(values)} values of {name}, {n_points} of x"
                raise ValueError(message)
        if bool(self.low) != bool(self.high):
            message = f"series {self.name!r}: a band needs both low and high"
            raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChart:
    """What a line chart shows."""

    x: Axis
    y: Axis
    series: tuple[Series, ...]
    limits: tuple[tuple[str, float], ...] = ()
    """Named values of y that are drawn as lines across, such as a power limit."""
    cursor: float | None = None
    """Value of x that is marked by a line down."""
    from_zero: bool = False
    """Whether y begins at zero."""

    @property
    def title(self) -> str:
        """Quantity, unit and better direction of y, and what x is."""
        return f"{self.y.title} over {self.x.title}"


def line_chart(chart: LineChart, *, size: Size, style: Style) -> Picture:
    """Draw a line chart."""
    points = [point for series in chart.series for point in _points(series, chart)]
    if not points:
        return nothing("No values to draw yet.", title=chart.title, size=size, style=style)
    text = _in_words(chart)
    if not has_room(size):
        return too_small(chart.title, size=size, style=style, text=text)
    values = [y for _, y in points] + [y for _, y in chart.limits] + _band_values(chart)
    axes = Axes(
        x=chart.x,
        y=chart.y,
        x_scale=scale_for([x for x, _ in points], chart.x),
        y_scale=scale_for(values, chart.y, from_zero=chart.from_zero),
    )
    frame = framed(chart.title, axes=axes, size=size, style=style)
    _draw(frame, chart)
    return frame.finished(legend=_legend(chart), text=text)


def readings(chart: LineChart, x: float) -> tuple[tuple[str, float, float], ...]:
    """The point of each series nearest to x, as (name, x, y), for the status line."""
    found = []
    for series in chart.series:
        points = _points(series, chart)
        if points:
            found.append((series.name, *min(points, key=lambda point: abs(point[0] - x))))
    return tuple(found)


def _points(series: Series, chart: LineChart) -> list[tuple[float, float]]:
    return [
        (x, y)
        for x, y in zip(series.x, series.y, strict=True)
        if is_drawable(x, chart.x) and is_drawable(y, chart.y)
    ]


def _band_values(chart: LineChart) -> list[float]:
    return [value for series in chart.series for value in (*series.low, *series.high)]


def _draw(frame: Frame, chart: LineChart) -> None:
    """Bands first and lines over them, then the glyphs that tell lines apart."""
    for series in chart.series:
        _draw_band(frame, series, chart)
    _draw_limits(frame, chart)
    canvas = DotCanvas(width=frame.width, height=frame.height, markers=frame.sheet.style.markers)
    for i_series, series in enumerate(chart.series):
        pen = Pen(role=_role(i_series), glyph=_glyph(i_series))
        for stretch in _stretches(series, chart):
            canvas.polyline((frame.dot(x, y) for x, y in stretch), pen=pen)
    canvas.draw(frame.sheet, row=frame.top, column=frame.left)
    for i_series, series in enumerate(chart.series):
        _draw_marks(frame, _points(series, chart), i_series=i_series)


def _draw_band(frame: Frame, series: Series, chart: LineChart) -> None:
    """Fill the cells between low and high, for each x cell that a point or a stroke passes."""
    ends = [
        (frame.cell(x, low), frame.cell(x, high)[0])
        for x, low, high in zip(series.x, series.low, series.high, strict=False)
        if is_drawable(x, chart.x) and is_drawable(low, chart.y) and is_drawable(high, chart.y)
    ]
    # Extents first: many points share a column, and each cell is written once.
    extents: dict[int, tuple[int, int]] = {}
    for ((row_a, column_a), row_c), ((row_b, column_b), row_d) in pairwise([*ends[:1], *ends]):
        n_columns = max(abs(column_b - column_a), 1)
        for i_column in range(n_columns + 1):
            low_row = row_a + (row_b - row_a) * i_column // n_columns
            high_row = row_c + (row_d - row_c) * i_column // n_columns
            column = column_a + (column_b - column_a) * i_column // n_columns
            top, bottom = extents.get(column, (low_row, low_row))
            extents[column] = (min(top, low_row, high_row), max(bottom, low_row, high_row))
    for column, (top, bottom) in extents.items():
        for row in range(top, bottom + 1):
            frame.sheet.put("░", row=row, column=column, role="band")


def _draw_limits(frame: Frame, chart: LineChart) -> None:
    for _, value in chart.limits:
        if is_drawable(value, chart.y):
            row = frame.cell(frame.x_scale.low, value)[0]
            frame.sheet.put("-" * frame.width, row=row, column=frame.left, role="limit")
    if chart.cursor is not None and frame.x_scale.holds(chart.cursor):
        column = frame.cell(chart.cursor, frame.y_scale.low)[1]
        for row in range(frame.top, frame.top + frame.height):
            frame.sheet.put("|", row=row, column=column, role="cursor")


def _draw_marks(frame: Frame, points: list[tuple[float, float]], *, i_series: int) -> None:
    """The glyph of a series at its ends and now and then between, staggered by series."""
    before = -_MARK_EVERY + (3 * i_series) % _MARK_EVERY
    for i_point, (x, y) in enumerate(points):
        row, column = frame.cell(x, y)
        if column - frame.left - before >= _MARK_EVERY or i_point == len(points) - 1:
            frame.sheet.put(_glyph(i_series), row=row, column=column, role=_role(i_series))
            before = column - frame.left


def _stretches(series: Series, chart: LineChart) -> list[list[tuple[float, float]]]:
    """Points between gaps."""
    stretches: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(series.x, series.y, strict=True):
        if is_drawable(x, chart.x) and is_drawable(y, chart.y):
            stretches[-1].append((x, y))
        elif stretches[-1]:
            stretches.append([])
    return stretches


def _role(i_series: int) -> str:
    return SERIES_ROLES[i_series % N_SERIES]


def _glyph(i_series: int) -> str:
    return SERIES_GLYPHS[i_series % N_SERIES]


def _legend(chart: LineChart) -> tuple[LegendEntry, ...]:
    entries = [
        LegendEntry(_glyph(i_series), _role(i_series), series.name)
        for i_series, series in enumerate(chart.series)
    ]
    if any(series.low for series in chart.series):
        entries.append(LegendEntry("░", "band", "p10 to p90"))
    for name, value in chart.limits:
        entries.append(LegendEntry("-", "limit", f"{name} {short(value, chart.y)}"))
    return tuple(entries)


def _in_words(chart: LineChart) -> str:
    sentences = [f"Line chart of {chart.title}."]
    for series in chart.series:
        points = _points(series, chart)
        if not points:
            sentences.append(f"{series.name}: no values.")
            continue
        (x0, y0), (x1, y1) = points[0], points[-1]
        least, most = min(y for _, y in points), max(y for _, y in points)
        sentences.append(
            f"{series.name}: from {short(y0, chart.y)} at {short(x0, chart.x)}"
            f" to {short(y1, chart.y)} at {short(x1, chart.x)},"
            f" least {short(least, chart.y)}, most {short(most, chart.y)}."
        )
    sentences += [f"Limit {name}: {short(value, chart.y)}." for name, value in chart.limits]
    return " ".join(sentences)
