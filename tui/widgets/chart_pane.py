"""A pane that draws a chart in the size that it has, or the same as a table of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tui.charts.picture import Picture, Size, Style
from tui.widgets.lines import Line, content
from tui.widgets.picture_text import picture_lines

__all__ = ["ChartPane"]

Draw = Callable[[Size, Style], Picture]


class ChartPane(Widget, can_focus=True):
    """Draws what it is given; left and right ask for another point."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "point(-1)", "Previous point", show=False),
        Binding("right,l", "point(1)", "Next point", show=False),
        Binding("down,j", "scroll_text(1)", "Down", show=False),
        Binding("up,k", "scroll_text(-1)", "Up", show=False),
    ]
    DEFAULT_CSS = "ChartPane { height: 1fr; text-wrap: nowrap; text-overflow: clip; }"

    as_table: reactive[bool] = reactive(False)

    class PointAsked(Message):
        """The next (1) or previous (-1) point is asked for."""

        def __init__(self, pane: ChartPane, step: int) -> None:
            super().__init__()
            self.pane = pane
            self.step = step

    def __init__(self, *, id: str, style: Style) -> None:
        super().__init__(id=id)
        self._style = style
        self._draw: Draw | None = None
        self._table: Sequence[Line] = ()
        self._top = 0
        self.picture: Picture | None = None
        """What was drawn last."""

    def show(self, draw: Draw, table: Sequence[Line]) -> None:
        """Draw a chart; the table holds the same data."""
        self._draw, self._table = draw, table
        self.refresh()

    def render(self) -> Content:
        """The chart in the pane's size."""
        if self._draw is None:
            return Content(" —")
        height = max(1, self.size.height)
        if self.as_table:
            self._top = min(self._top, max(0, len(self._table) - height))
            shown = self._table[self._top : self._top + height]
            return content(shown, is_ascii=self._style.markers == "ascii")
        size = Size(width=max(1, self.size.width), height=height)
        self.picture = self._draw(size, self._style)
        return content(picture_lines(self.picture))

    def action_point(self, step: int) -> None:
        """Ask for another point."""
        self.post_message(self.PointAsked(self, step))

    def action_scroll_text(self, step: int) -> None:
        """Scroll the table."""
        self._top = max(0, self._top + step)
        self.refresh()
