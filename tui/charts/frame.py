"""The frame of a chart: title, axes with ticks, the rectangle to draw in, the legend row.

time (s, lower is better)          <- title
2 -                               <- tick labels, then the plot
1 -
0 +-------+-------+------
0      10      20      count    <- x tick labels and what x is
* a   + b                         <- legend
"""

from __future__ import annotations

from dataclasses import dataclass

from tui.charts.axes import Axis, Scale, tick_labels, ticks
from tui.charts.canvas import dots_per_cell
from tui.charts.picture import LegendEntry, Picture, Plot, Sheet, Size, Style, shortened
from tui.charts.window import Window

_LEAST = Size(width=16, height=6)
"""Below this there is no room for axes, and a chart is its title."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A sheet with title and axes drawn, and the rectangle that is left for the data."""

    sheet: Sheet
    top: int
    """First row of the plot."""
    left: int
    """First column of the plot."""
    width: int
    """Cells across the plot."""
    height: int
    """Cells down the plot."""
    x_scale: Scale
    y_scale: Scale

    def dot(self, x: float, y: float) -> tuple[int, int]:
        """Dot of the plot that holds a point; outside the plot for a point outside the scales."""
        across, down = dots_per_cell(self.sheet.style.markers)
        n_down = self.height * down
        return (
            self.x_scale.position(x, self.width * across),
            n_down - 1 - self.y_scale.position(y, n_down),
        )

    def cell(self, x: float, y: float) -> tuple[int, int]:
        """Row and column on the sheet of the cell that holds a point."""
        across, down = dots_per_cell(self.sheet.style.markers)
        dot_x, dot_y = self.dot(x, y)
        return self.top + dot_y // down, self.left + dot_x // across

    def put_point(self, glyph: str, *, x: float, y: float, role: str) -> None:
        """Put a glyph at a point that lies within both scales."""
        if self.x_scale.holds(x) and self.y_scale.holds(y):
            row, column = self.cell(x, y)
            self.sheet.put(glyph, row=row, column=column, role=role)

    def finished(self, *, legend: tuple[LegendEntry, ...], text: str) -> Picture:
        """Write the legend on the last row and freeze the picture."""
        self.sheet.put_legend(legend, row=self.sheet.size.height - 1)
        plot = Plot(top=self.top, left=self.left, width=self.width, height=self.height)
        return self.sheet.picture(text=text, legend=legend, plot=plot)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """The two axes of a chart and the ranges that they show."""

    x: Axis
    y: Axis
    x_scale: Scale
    y_scale: Scale

    def within(self, window: Window) -> Axes:
        """The same axes over the part that a window shows."""
        x_scale, y_scale = window.across(self.x_scale), window.upward(self.y_scale)
        return Axes(x=self.x, y=self.y, x_scale=x_scale, y_scale=y_scale)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point stands on the whole of both axes. [1]"""
        return self.x_scale.fraction(x), self.y_scale.fraction(y)

    def holds(self, x: float, y: float) -> bool:
        """Whether a point lies within both ranges."""
        return self.x_scale.holds(x) and self.y_scale.holds(y)


def has_room(size: Size) -> bool:
    """Whether a size has room for axes."""
    return size.width >= _LEAST.width and size.height >= _LEAST.height


def too_small(title: str, *, size: Size, style: Style, text: str) -> Picture:
    """What a chart shows where there is no room for axes: its title."""
    sheet = Sheet(size=size, style=style)
    sheet.line(title, row=0, role="title")
    if size.height > 1:
        sheet.line("too small for a chart", row=1, role="muted")
    return sheet.picture(text=text)


def nothing(sentence: str, *, title: str, size: Size, style: Style) -> Picture:
    """The frame without data, and one sentence that says why."""
    if not has_room(size):
        return too_small(title, size=size, style=style, text=f"{title}. {sentence}")
    sheet = Sheet(size=size, style=style)
    sheet.line(title, row=0, role="title")
    for row in range(1, size.height - 3):
        sheet.put("|", row=row, column=3, role="axis")
    sheet.put("+" + "-" * (size.width - 5), row=size.height - 3, column=3, role="axis")
    shown = shortened(sentence, size.width - 6)
    column = 4 + max(0, (size.width - 5 - len(shown)) // 2)
    sheet.put(shown, row=(size.height - 3) // 2, column=column, role="muted")
    return sheet.picture(text=f"{title}. {sentence}")


def framed(title: str, *, axes: Axes, size: Size, style: Style) -> Frame:
    """Draw title and axes on a new sheet that `has_room`."""
    sheet = Sheet(size=size, style=style)
    sheet.line(title, row=0, role="title")
    height = size.height - 4
    y_ticks = ticks(axes.y_scale, n_most=max(3, min(8, height // 2)))
    y_labels = tick_labels(y_ticks, axes.y)
    gutter = min(max((len(label) for label in y_labels), default=1), size.width // 3)
    frame = Frame(
        sheet=sheet,
        top=1,
        left=gutter + 3,
        width=size.width - gutter - 4,
        height=height,
        x_scale=axes.x_scale,
        y_scale=axes.y_scale,
    )
    _draw_y_axis(frame, y_ticks, labels=y_labels)
    _draw_x_axis(frame, axes.x)
    return frame


def _draw_y_axis(frame: Frame, y_ticks: tuple[float, ...], *, labels: tuple[str, ...]) -> None:
    column = frame.left - 1
    for row in range(frame.top, frame.top + frame.height):
        frame.sheet.put("|", row=row, column=column, role="axis")
    for value, label in zip(y_ticks, labels, strict=True):
        row = frame.cell(frame.x_scale.low, value)[0]
        shown = shortened(label, frame.left - 3)
        start = frame.left - 2 - len(shown)
        frame.sheet.put(shown, row=row, column=start, role="label")
        frame.sheet.put("+", row=row, column=column, role="axis")


def _draw_x_axis(frame: Frame, axis: Axis) -> None:
    """The x axis; its title stands on the row of the labels where those leave room for it."""
    row = frame.top + frame.height
    frame.sheet.put("+" + "-" * frame.width, row=row, column=frame.left - 1, role="axis")
    x_ticks = ticks(frame.x_scale, n_most=max(2, min(10, frame.width // 8)))
    free_from = 0
    for value, label in zip(x_ticks, tick_labels(x_ticks, axis), strict=True):
        column = frame.cell(value, frame.y_scale.low)[1]
        frame.sheet.put("+", row=row, column=column, role="axis")
        start = min(column - len(label) // 2, frame.sheet.size.width - len(label))
        if start >= free_from:
            frame.sheet.put(label, row=row + 1, column=start, role="label")
            free_from = start + len(label) + 1
