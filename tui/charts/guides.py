"""Guide lines over a chart: where y is a ratio of x, or is one value everywhere."""

from __future__ import annotations

from dataclasses import dataclass

from tui.charts.canvas import DotCanvas, Pen
from tui.charts.frame import Frame

__all__ = ["Guide", "draw_guides"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """A straight line; on logarithmic axes alike, lines of a ratio are parallel."""

    name: str
    """What the legend says; empty for a line that belongs to another one."""
    factor: float
    """y over x, or y itself where the line is level."""
    is_level: bool = False
    """Whether y is the same for all x."""
    role: str = "axis"
    glyph: str = ":"
    """Glyph of a dot where the marker set has no dots within a cell."""


def draw_guides(frame: Frame, guides: tuple[Guide, ...]) -> None:
    """Draw lines as far as both ranges reach; later ones over earlier ones."""
    canvas = DotCanvas(width=frame.width, height=frame.height, markers=frame.sheet.style.markers)
    for guide in guides:
        ends = _ends(frame, guide)
        if ends is not None:
            dots = (frame.dot(x, y) for x, y in ends)
            canvas.polyline(dots, pen=Pen(role=guide.role, glyph=guide.glyph))
    canvas.draw(frame.sheet, row=frame.top, column=frame.left)


def _ends(frame: Frame, guide: Guide) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Ends of a line within the plot; None where it does not cross it."""
    x, y = frame.x_scale, frame.y_scale
    if guide.is_level:
        return ((x.low, guide.factor), (x.high, guide.factor)) if y.holds(guide.factor) else None
    start = max(x.low, y.low / guide.factor)
    end = min(x.high, y.high / guide.factor)
    if start >= end:
        return None
    return (start, guide.factor * start), (end, guide.factor * end)
