"""Which part of a chart is shown: zooming and panning, as fractions of the whole axes."""

from __future__ import annotations

from dataclasses import dataclass

from tui.charts.axes import Scale

__all__ = ["WHOLE", "Window"]

ZOOM_FACTOR = 0.5
"""What is left of each side after one step. [1]"""
LEAST_SIDE = 1.0 / 256.0
"""The closest that one can look. [1]"""

ROUNDING_SLACK = 1e-9
"""A side that misses the whole by less is the whole. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of the plane that both axes span: 0 is the low end of an axis, 1 the high end."""

    left: float = 0.0
    right: float = 1.0
    low: float = 0.0
    high: float = 1.0

    @property
    def is_whole(self) -> bool:
        """Whether everything is shown."""
        return (self.left, self.right, self.low, self.high) == (0.0, 1.0, 0.0, 1.0)

    @property
    def centre(self) -> tuple[float, float]:
        """Its middle. [1]"""
        return (self.left + self.right) / 2.0, (self.low + self.high) / 2.0

    def holds(self, place: tuple[float, float]) -> bool:
        """Whether a place of the whole plane lies within."""
        return self.left <= place[0] <= self.right and self.low <= place[1] <= self.high

    def zoomed(self, n_steps: int, *, about: tuple[float, float] | None = None) -> Window:
        """Closer by steps, or farther by negative ones.

        Parameters
        ----------
        n_steps
            Steps that halve each side. [1]
        about
            Place of the whole plane that stays where it is; the middle by default, and for a
            place that is not shown. [1]
        """
        factor = ZOOM_FACTOR**n_steps
        x, y = about if about is not None and self.holds(about) else self.centre
        left, right = _side(x, self.left, self.right, factor)
        low, high = _side(y, self.low, self.high, factor)
        return Window(left=left, right=right, low=low, high=high)

    def moved(self, *, right: float, up: float) -> Window:
        """Moved by shares of its own sides, within the whole. [1]"""
        return self._shifted(right * (self.right - self.left), up * (self.high - self.low))

    def showing(self, place: tuple[float, float]) -> Window:
        """Itself where it shows a place, else moved until that place is its middle."""
        if self.holds(place):
            return self
        x, y = self.centre
        return self._shifted(place[0] - x, place[1] - y)

    def across(self, scale: Scale) -> Scale:
        """The part of the scale of x that is shown."""
        return _part(scale, self.left, self.right)

    def upward(self, scale: Scale) -> Scale:
        """The part of the scale of y that is shown."""
        return _part(scale, self.low, self.high)

    def _shifted(self, across: float, upward: float) -> Window:
        across = min(max(across, -self.left), 1.0 - self.right)
        upward = min(max(upward, -self.low), 1.0 - self.high)
        return Window(
            left=self.left + across,
            right=self.right + across,
            low=self.low + upward,
            high=self.high + upward,
        )


WHOLE = Window()
"""Everything."""


def _side(place: float, start: float, end: float, factor: float) -> tuple[float, float]:
    """A side made shorter or longer about a place, within 0 to 1."""
    length = max((end - start) * factor, LEAST_SIDE)
    if length > 1.0 - ROUNDING_SLACK:
        return 0.0, 1.0
    begin = place - (place - start) * length / (end - start)
    begin = min(max(begin, 0.0), 1.0 - length)
    return begin, begin + length


def _part(scale: Scale, start: float, end: float) -> Scale:
    if (start, end) == (0.0, 1.0):
        return scale
    return Scale(scale.value(start), scale.value(end), scale.is_log)
