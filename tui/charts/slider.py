"""Slider scale: where a setting stands in its range, and where each metric has its optimum."""

from __future__ import annotations

from dataclasses import dataclass

from tui.charts.axes import Axis, Scale, short
from tui.charts.picture import LegendEntry, Picture, Sheet, Size, Style, shortened

HANDLE = "O"
OPTIMUM_GLYPH = "^"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slider:
    """A setting with its range; values in the unit of the axis."""

    axis: Axis
    value: float
    low: float
    high: float
    optima: tuple[tuple[str, float], ...] = ()
    """Named values at which a metric is best."""

    def __post_init__(self) -> None:
        if not self.low < self.high:
            message = f"slider {self.axis.name!r}: low {self.low:g} is not below high {self.high:g}"
            raise ValueError(message)


def slider(chart: Slider, *, width: int, style: Style) -> Picture:
    """Draw a slider of three rows: title with value, the scale, its ends and optima."""
    sheet = Sheet(size=Size(width=width, height=3), style=style)
    title = f"{chart.axis.title}  {short(chart.value, chart.axis)}"
    sheet.line(title, row=0, role="title")
    room = max(width - 2, 1)
    place = _column(chart.value, chart=chart, room=room)
    track = "[" + "=" * place + "-" * (room - place) + "]"
    sheet.put(track, row=1, column=0, role="axis")
    sheet.put(HANDLE, row=1, column=1 + place, role="highlight")
    _draw_ends(sheet, chart, width=width)
    for name, value in chart.optima:
        column = 1 + _column(value, chart=chart, room=room)
        label = f"{OPTIMUM_GLYPH}{name}" if column + len(name) < width else f"{name}{OPTIMUM_GLYPH}"
        start = column if label.startswith(OPTIMUM_GLYPH) else column - len(name)
        sheet.put(label, row=2, column=start, role="front")
    return sheet.picture(text=_in_words(chart), legend=_legend(chart))


def value_at(chart: Slider, *, column: int, width: int, step: float) -> float:
    """The value under a column, at the nearest step from the low end, for drags and clicks."""
    fraction = min(max((column - 1) / max(width - 3, 1), 0.0), 1.0)
    raw = chart.low + fraction * (chart.high - chart.low)
    stepped = chart.low + round((raw - chart.low) / step) * step
    return min(max(stepped, chart.low), chart.high)


def _column(value: float, *, chart: Slider, room: int) -> int:
    """Place of a value on the track; what lies outside the range stands at its end."""
    inside = min(max(value, chart.low), chart.high)
    return Scale(chart.low, chart.high).position(inside, room)


def _draw_ends(sheet: Sheet, chart: Slider, *, width: int) -> None:
    low, high = short(chart.low, chart.axis), short(chart.high, chart.axis)
    sheet.put(shortened(low, width), row=2, column=0, role="label")
    if len(low) + len(high) < width:
        sheet.put(high, row=2, column=width - len(high), role="label")


def _legend(chart: Slider) -> tuple[LegendEntry, ...]:
    return tuple(
        LegendEntry(OPTIMUM_GLYPH, "front", f"best {name} at {short(value, chart.axis)}")
        for name, value in chart.optima
    )


def _in_words(chart: Slider) -> str:
    axis = chart.axis
    range_said = f"{short(chart.low, axis)} to {short(chart.high, axis)}"
    said = [f"{axis.title}: {short(chart.value, axis)}, of {range_said}."]
    said += [f"Best {name} at {short(value, axis)}." for name, value in chart.optima]
    return " ".join(said)
