"""Sparkline: the course of a few values in one row."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tui.charts.axes import FARTHEST, Axis, short
from tui.charts.picture import Picture, Sheet, Size, Style

_LEVELS = "▁▂▃▄▅▆▇█"
_ASCII_LEVELS = "_.-~=+*#"


def sparkline(values: Sequence[float], *, axis: Axis, width: int, style: Style) -> Picture:
    """Draw a sparkline; the lowest value has the lowest glyph, a missing one leaves a gap.

    More values than cells are averaged over equal stretches; fewer leave cells free.
    """
    sheet = Sheet(size=Size(width=width, height=1), style=style)
    cells = _averaged(values, min(width, len(values)))
    known = [value for value in cells if abs(value) <= FARTHEST]
    if not known:
        sheet.line("no values", row=0, role="muted")
        return sheet.picture(text=f"{axis.title}: no values to draw yet.")
    levels = _ASCII_LEVELS if style.markers == "ascii" else _LEVELS
    low, high = min(known), max(known)
    for column, value in enumerate(cells):
        if abs(value) <= FARTHEST:
            glyph = levels[_level(value, low=low, high=high)]
            sheet.put(glyph, row=0, column=column, role="series-0")
    text = (
        f"{axis.title}: from {short(known[0], axis)} to {short(known[-1], axis)},"
        f" least {short(low, axis)}, most {short(high, axis)}."
    )
    return sheet.picture(text=text)


def _level(value: float, *, low: float, high: float) -> int:
    """Step of a value between the lowest and the highest; the first step where all are equal."""
    n_levels = len(_LEVELS)
    if high <= low:
        return 0
    return min(int((value - low) / (high - low) * n_levels), n_levels - 1)


def _averaged(values: Sequence[float], n_cells: int) -> list[float]:
    """Means over equal stretches of the values, leaving out what is no number."""
    means = []
    for i_cell in range(n_cells):
        start, end = i_cell * len(values) // n_cells, (i_cell + 1) * len(values) // n_cells
        known = [value for value in values[start:end] if abs(value) <= FARTHEST]
        means.append(sum(known) / len(known) if known else math.nan)
    return means
