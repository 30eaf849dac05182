"""Scatter of many points: merged per cell before anything is drawn, the front highlighted.

Drawing costs a pass of NumPy over the points and then work per cell, so a million points
are no slower to put on the screen than a thousand. NumPy is imported when a chart is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tui.charts.axes import FARTHEST, Axis, Scale, scale_for, short
from tui.charts.canvas import dots_per_cell, glyph_of, masks_of
from tui.charts.frame import Axes, Frame, framed, has_room, nothing, too_small
from tui.charts.guides import Guide, draw_guides
from tui.charts.picture import (
    N_SERIES,
    SERIES_ROLES,
    LegendEntry,
    Picture,
    Size,
    Style,
)
from tui.charts.window import WHOLE, Window

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]
    Integers = npt.NDArray[np.integer]

FRONT_GLYPHS = "ox+*#%&="
"""Glyph of a point on the front, by group."""
POINT_GLYPH = "."
"""Glyph of points that are not on the front, where the marker set has no finer dots."""
HIGHLIGHT_GLYPH = "@"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scatter:
    """Points, as columns."""

    x: Axis
    y: Axis
    x_values: Floats
    y_values: Floats
    is_front: Flags | None = None
    """Which points are on the front; None for no front."""
    groups: Integers | None = None
    """Group of each point, an index into `group_names`; None for a single group."""
    group_names: tuple[str, ...] = ()
    highlighted: int | None = None
    """Index of the point that a table has selected."""
    has_all: bool = True
    """Whether points that are not on the front are drawn too."""
    has_glyphs: bool = False
    """Whether every point is drawn with the glyph of its group, and not as a fine dot."""
    is_square: bool = False
    """Whether both axes show one range, so that equal values stand on the diagonal."""
    guides: tuple[Guide, ...] = ()
    """Lines under the points."""
    window: Window = WHOLE
    """The part that is shown."""

    @property
    def title(self) -> str:
        """Both quantities, their units and better directions."""
        return f"x {self.x.title}   y {self.y.title}"


def scatter(chart: Scatter, *, size: Size, style: Style) -> Picture:
    """Draw a scatter."""
    drawable = _drawable(chart)
    n_points = int(drawable.sum())
    if n_points == 0:
        return nothing("No points to draw yet.", title=chart.title, size=size, style=style)
    text = _in_words(chart, drawable)
    if not has_room(size):
        return too_small(chart.title, size=size, style=style, text=text)
    axes = _axes(chart, drawable).within(chart.window)
    frame = framed(chart.title, axes=axes, size=size, style=style)
    draw_guides(frame, chart.guides)
    seen = _seen(chart, drawable, axes)
    n_cells = _draw(frame, chart, seen)
    legend = _legend(chart, n_points=n_points, n_seen=int(seen.sum()), n_cells=n_cells, style=style)
    return frame.finished(legend=legend, text=text)


def place_of(chart: Scatter) -> tuple[float, float] | None:
    """Where the highlighted point stands on the whole axes; None where it has no place. [1]"""
    drawable = _drawable(chart)
    if chart.highlighted is None or not drawable[chart.highlighted]:
        return None
    x, y = chart.x_values[chart.highlighted], chart.y_values[chart.highlighted]
    return _axes(chart, drawable).place(float(x), float(y))


def point_at(chart: Scatter, *, cell: tuple[int, int], size: Size, style: Style) -> int | None:
    """Index of the point drawn nearest to a (row, column), those on the front first.

    None where no point lies in the cell or in one that touches it.
    """
    import numpy as np

    drawable = _drawable(chart)
    if not drawable.any() or not has_room(size):
        return None
    axes = _axes(chart, drawable).within(chart.window)
    frame = framed(chart.title, axes=axes, size=size, style=style)
    seen = _seen(chart, drawable, axes)
    if not seen.any():
        return None
    rows, columns = _cells(frame, chart, seen)
    # A row is about twice as high as a column is wide.
    distance = np.maximum(2 * np.abs(rows - cell[0]), np.abs(columns - cell[1])).astype(float)
    if chart.is_front is not None:
        distance[~chart.is_front[seen]] += 0.5
    nearest = int(distance.argmin())
    return int(np.flatnonzero(seen)[nearest]) if distance[nearest] < 3 else None


def _drawable(chart: Scatter) -> Flags:
    """Which points have a place on both axes, and are asked for."""
    import numpy as np

    found = np.ones(len(chart.x_values), dtype=np.bool_)
    for values, axis in ((chart.x_values, chart.x), (chart.y_values, chart.y)):
        found &= np.abs(values) <= FARTHEST
        if axis.is_log:
            found &= values >= 1 / FARTHEST
    if not chart.has_all and chart.is_front is not None:
        found &= chart.is_front
    return found


def _axes(chart: Scatter, drawable: Flags) -> Axes:
    def scale(values: Floats, axis: Axis) -> Scale:
        shown = values[drawable]
        return scale_for((float(shown.min()), float(shown.max())), axis)

    x_scale, y_scale = scale(chart.x_values, chart.x), scale(chart.y_values, chart.y)
    if chart.is_square:
        ends = (x_scale.low, x_scale.high, y_scale.low, y_scale.high)
        x_scale = y_scale = scale_for(ends, chart.x)
    elif chart.guides:
        levels = (guide.factor for guide in chart.guides if guide.is_level)
        y_scale = scale_for((y_scale.low, y_scale.high, *levels), chart.y)
    return Axes(x=chart.x, y=chart.y, x_scale=x_scale, y_scale=y_scale)


def _seen(chart: Scatter, drawable: Flags, axes: Axes) -> Flags:
    """Which of the drawable points lie in the part that is shown."""
    if chart.window.is_whole:
        return drawable
    seen = drawable.copy()
    for values, scale in ((chart.x_values, axes.x_scale), (chart.y_values, axes.y_scale)):
        seen &= (values >= scale.low) & (values <= scale.high)
    return seen


def _places(values: Floats, scale: Scale, n_places: int) -> Integers:
    """`Scale.position` of every value; all lie within the scale."""
    import numpy as np

    if scale.is_log:
        fraction = np.log(values / scale.low) / np.log(scale.high / scale.low)
    else:
        fraction = (values - scale.low) / (scale.high - scale.low)
    places: Integers = np.floor(fraction * (n_places - 1) + 0.5).astype(np.int64)
    return places


def _dots(frame: Frame, chart: Scatter, drawable: Flags) -> tuple[Integers, Integers]:
    """Dot columns and rows of the drawable points within the plot."""
    across, down = dots_per_cell(frame.sheet.style.markers)
    n_down = frame.height * down
    x = _places(chart.x_values[drawable], frame.x_scale, frame.width * across)
    y = _places(chart.y_values[drawable], frame.y_scale, n_down)
    return x, n_down - 1 - y


def _cells(frame: Frame, chart: Scatter, drawable: Flags) -> tuple[Integers, Integers]:
    """Rows and columns on the sheet of the drawable points."""
    across, down = dots_per_cell(frame.sheet.style.markers)
    x, y = _dots(frame, chart, drawable)
    return frame.top + y // down, frame.left + x // across


def _draw(frame: Frame, chart: Scatter, drawable: Flags) -> int:
    """Draw all points, then the front, then the highlighted one; returns the cells in use."""
    if chart.has_glyphs:
        n_cells = _draw_glyphs(frame, chart, drawable)
        _draw_highlight(frame, chart, drawable)
        return n_cells
    x, y = _dots(frame, chart, drawable)
    groups = None if chart.groups is None else chart.groups[drawable]
    used: set[tuple[int, int]] = set()
    for i_group in range(max(len(chart.group_names), 1)):
        chosen = slice(None) if groups is None else groups == i_group
        role = "muted" if groups is None else SERIES_ROLES[i_group % N_SERIES]
        used |= _draw_dots(frame, x[chosen], y[chosen], role=role)
    if chart.is_front is not None:
        _draw_glyphs(frame, chart, drawable & chart.is_front)
    _draw_highlight(frame, chart, drawable)
    return len(used)


def _draw_highlight(frame: Frame, chart: Scatter, drawable: Flags) -> None:
    if chart.highlighted is not None and drawable[chart.highlighted]:
        x, y = chart.x_values[chart.highlighted], chart.y_values[chart.highlighted]
        frame.put_point(HIGHLIGHT_GLYPH, x=float(x), y=float(y), role="highlight")


def _draw_glyphs(frame: Frame, chart: Scatter, wanted: Flags) -> int:
    """Draw some points, one glyph per cell and group; returns the cells in use."""
    import numpy as np

    rows, columns = _cells(frame, chart, wanted)
    groups = np.zeros(len(rows), int) if chart.groups is None else chart.groups[wanted]
    points = set(zip(rows.tolist(), columns.tolist(), groups.tolist(), strict=True))
    for row, column, i_group in sorted(points):
        glyph = FRONT_GLYPHS[i_group % N_SERIES]
        role = "front" if chart.groups is None else SERIES_ROLES[i_group % N_SERIES]
        frame.sheet.put(glyph, row=row, column=column, role=role)
    return len({(row, column) for row, column, _ in points})


def _draw_dots(frame: Frame, x: Integers, y: Integers, *, role: str) -> set[tuple[int, int]]:
    """Draw points as dots, one glyph per cell whatever the number of points; returns the cells."""
    markers = frame.sheet.style.markers
    masks = masks_of(x, y, width=frame.width, height=frame.height, markers=markers)
    used: set[tuple[int, int]] = set()
    for row in range(frame.height):
        filled = masks[row].nonzero()[0].tolist()
        used.update((row, column) for column in filled)
        # Neighbours are written in one stroke: a full plot is a few strokes a row.
        for run in _runs(filled):
            glyphs = (
                POINT_GLYPH * len(run)
                if markers == "ascii"
                else "".join(glyph_of(mask, markers) for mask in masks[row, run].tolist())
            )
            frame.sheet.put(glyphs, row=frame.top + row, column=frame.left + run[0], role=role)
    return used


def _runs(columns: list[int]) -> list[list[int]]:
    """Rising numbers as stretches of neighbours."""
    runs: list[list[int]] = []
    for column in columns:
        if runs and runs[-1][-1] == column - 1:
            runs[-1].append(column)
        else:
            runs.append([column])
    return runs


def _legend(
    chart: Scatter, *, n_points: int, n_seen: int, n_cells: int, style: Style
) -> tuple[LegendEntry, ...]:
    dot = POINT_GLYPH if style.markers == "ascii" else glyph_of(1, style.markers)
    counted = f"{n_seen} of {n_points}" if n_seen < n_points else f"{n_points}"
    glyph = " " if chart.has_glyphs else dot
    entries = [LegendEntry(glyph, "muted", f"{counted} points in {n_cells} cells")]
    if chart.is_front is not None and not chart.group_names:
        n_front = int(chart.is_front.sum())
        entries.append(LegendEntry(FRONT_GLYPHS[0], "front", f"{n_front} on the front"))
    for i_group, name in enumerate(chart.group_names):
        has_glyph = chart.has_glyphs or chart.is_front is not None
        glyph = FRONT_GLYPHS[i_group % N_SERIES] if has_glyph else dot
        entries.append(LegendEntry(glyph, SERIES_ROLES[i_group % N_SERIES], name))
    entries += [
        LegendEntry(guide.glyph, guide.role, guide.name) for guide in chart.guides if guide.name
    ]
    n_left_out = len(chart.x_values) - n_points if chart.has_all else 0
    if n_left_out:
        entries.append(LegendEntry("!", "limit", f"{n_left_out} without a place"))
    if chart.highlighted is not None:
        entries.append(LegendEntry(HIGHLIGHT_GLYPH, "highlight", "selected"))
    return tuple(entries)


def _in_words(chart: Scatter, drawable: Flags) -> str:
    x, y = chart.x_values[drawable], chart.y_values[drawable]
    sentences = [
        f"Scatter of {len(x)} points, {chart.title}.",
        f"x from {short(float(x.min()), chart.x)} to {short(float(x.max()), chart.x)},",
        f"y from {short(float(y.min()), chart.y)} to {short(float(y.max()), chart.y)}.",
    ]
    if chart.is_front is not None:
        sentences.append(f"{int(chart.is_front.sum())} points are on the front.")
    if chart.highlighted is not None:
        i_point = chart.highlighted
        at_x = short(float(chart.x_values[i_point]), chart.x)
        at_y = short(float(chart.y_values[i_point]), chart.y)
        sentences.append(f"Selected: x {at_x}, y {at_y}.")
    return " ".join(sentences)
