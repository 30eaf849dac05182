"""Horizontal stacked bars: what is exposed as `#`, what is hidden behind other work as `.`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tui.charts.axes import FARTHEST, Axis, short
from tui.charts.picture import (
    N_SERIES,
    SERIES_ROLES,
    LegendEntry,
    Picture,
    Sheet,
    Size,
    Style,
    shortened,
)

PART_GLYPHS = "#.=+%o*&"
"""Glyph of each part of a bar: the first two are exposed and hidden."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar: a value for each part of the chart, in the same order."""

    label: str
    values: tuple[float, ...]
    note: str = ""
    """What stands behind the value, such as its class."""

    @property
    def total(self) -> float:
        """Sum of the parts that are drawn, in the unit of the chart."""
        return sum(_drawn(value) for value in self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackedBars:
    """What a chart of stacked bars shows."""

    axis: Axis
    bars: tuple[Bar, ...]
    parts: tuple[str, ...] = ("exposed", "hidden")
    """Names of the parts of a bar."""
    most: float | None = None
    """Value that fills the width, for charts that stand side by side; None for the longest bar."""

    def __post_init__(self) -> None:
        for bar in self.bars:
            if len(bar.values) > len(self.parts):
                message = f"bar {bar.label!r}: {len(bar.values)} values for {len(self.parts)} parts"
                raise ValueError(message)


def stacked_bars(chart: StackedBars, *, size: Size, style: Style) -> Picture:
    """Draw stacked bars, one a row; those that do not fit are counted on the last row."""
    sheet = Sheet(size=size, style=style)
    sheet.line(chart.axis.title, row=0, role="title")
    if not chart.bars:
        sentence = "No bars to draw yet."
        sheet.line(sentence, row=size.height // 2, role="muted")
        return sheet.picture(text=f"{chart.axis.title}. {sentence}")
    legend = _legend(chart)
    n_rows = max(size.height - 1 - bool(legend), 0)
    shown = chart.bars if len(chart.bars) <= n_rows else chart.bars[: max(n_rows - 1, 0)]
    _draw_bars(sheet, shown, chart)
    if len(shown) < len(chart.bars):
        rest = sum(bar.total for bar in chart.bars[len(shown) :])
        left = f"{len(chart.bars) - len(shown)} more, {short(rest, chart.axis)}"
        sheet.line(left, row=1 + len(shown), role="muted")
    if legend and size.height > 2:
        sheet.put_legend(legend, row=size.height - 1)
    return sheet.picture(text=_in_words(chart), legend=legend)


def bar_text(values: tuple[float, ...], *, most: float, width: int) -> str:
    """The glyphs of one bar, where `most` fills the width; anything above zero is seen."""
    if most <= 0 or width < 1:
        return ""
    ends, reached = [], 0.0
    for value in values:
        reached += _drawn(value)
        ends.append(min(math.floor(reached / most * width + 0.5), width))
    if reached > 0 and ends[-1] == 0:
        largest = max(range(len(values)), key=lambda i_part: _drawn(values[i_part]))
        return PART_GLYPHS[largest % len(PART_GLYPHS)]
    starts = [0, *ends[:-1]]
    return "".join(
        PART_GLYPHS[i_part % len(PART_GLYPHS)] * (end - start)
        for i_part, (start, end) in enumerate(zip(starts, ends, strict=True))
    )


def _drawn(value: float) -> float:
    """A value as long as its bar: nothing for what is negative or no number."""
    return value if 0 < value <= FARTHEST else 0.0


def _draw_bars(sheet: Sheet, bars: tuple[Bar, ...], chart: StackedBars) -> None:
    """Labels left, values right, bars in what is left between."""
    if not bars:
        return
    width = sheet.size.width
    labels = min(max(len(bar.label) for bar in bars), width // 3)
    values = [f"{short(bar.total, chart.axis)} {bar.note}".rstrip() for bar in bars]
    tail = min(max(len(value) for value in values), width // 3)
    room = width - labels - tail - 2
    most = chart.most or max(bar.total for bar in chart.bars)
    for row, (bar, value) in enumerate(zip(bars, values, strict=True), start=1):
        sheet.put(shortened(bar.label, labels), row=row, column=0, role="label")
        shown = shortened(value, tail)
        sheet.put(shown, row=row, column=width - len(shown))
        for i_column, glyph in enumerate(bar_text(bar.values, most=most, width=room)):
            role = SERIES_ROLES[PART_GLYPHS.index(glyph) % N_SERIES]
            sheet.put(glyph, row=row, column=labels + 1 + i_column, role=role)


def _legend(chart: StackedBars) -> tuple[LegendEntry, ...]:
    """The parts that occur; a chart of one part needs no legend."""
    if len(chart.parts) == 1:
        return ()
    return tuple(
        LegendEntry(PART_GLYPHS[i_part % len(PART_GLYPHS)], SERIES_ROLES[i_part % N_SERIES], part)
        for i_part, part in enumerate(chart.parts)
    )


def _in_words(chart: StackedBars) -> str:
    whole = sum(bar.total for bar in chart.bars)
    sentences = [f"Bars of {chart.axis.title}, {short(whole, chart.axis)} in all."]
    for bar in chart.bars:
        parts = [
            f"{part} {short(value, chart.axis)}"
            for part, value in zip(chart.parts, bar.values, strict=False)
            if _drawn(value)
        ]
        said = parts[0].split(" ", 1)[1] if len(chart.parts) == 1 and parts else ", ".join(parts)
        note = f" ({bar.note})" if bar.note else ""
        sentences.append(f"{bar.label}: {said or 'nothing'}{note}.")
    return " ".join(sentences)
