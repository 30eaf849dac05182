"""A pane that draws a chart in the size that it has, or the same as a table of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tui.charts.picture import Picture, Size, Style
from tui.charts.window import WHOLE, Window
from tui.widgets.lines import Line, content
from tui.widgets.picture_text import picture_lines

__all__ = ["ChartPane"]

PAN_SHARE = 0.25
"""How far one key moves what is shown, as a share of its width or height. [1]"""

Draw = Callable[[Size, Style], Picture]


class ChartPane(Widget, can_focus=True):
    """Draws what it is given; left and right ask for another point, a click for the one there.

    Whoever owns it draws the part that its window shows, and tells it when keys zoom.
    """

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

    class CellClicked(Message):
        """A cell of the picture was clicked."""

        def __init__(self, pane: ChartPane, cell: tuple[int, int], size: Size) -> None:
            super().__init__()
            self.pane = pane
            self.cell = cell
            """Row and column."""
            self.size = size
            """Size of the picture."""

    def __init__(self, *, id: str, style: Style, can_zoom: bool = False) -> None:
        super().__init__(id=id)
        self.chart_style = style
        """How charts are drawn."""
        self._can_zoom = can_zoom
        self.window: Window = WHOLE
        """The part of the chart that is shown."""
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
            return content(shown, is_ascii=self.chart_style.markers == "ascii")
        size = Size(width=max(1, self.size.width), height=height)
        self.picture = self._draw(size, self.chart_style)
        return content(picture_lines(self.picture))

    def show_window(self, window: Window) -> None:
        """Show another part of the chart."""
        if self._can_zoom and window != self.window:
            self.window = window
            self.refresh()

    def zoom(self, n_steps: int, *, about: tuple[float, float] | None = None) -> None:
        """Closer or farther, about a place of the whole chart."""
        self.show_window(self.window.zoomed(n_steps, about=about))

    def follow(self, place: tuple[float, float] | None) -> None:
        """Keep a place of the whole chart in sight."""
        if place is not None:
            self.show_window(self.window.showing(place))

    def on_click(self, event: events.Click) -> None:
        """Tell which cell was clicked."""
        offset = event.get_content_offset(self)
        if offset is None or self.as_table:
            return
        size = Size(width=max(1, self.size.width), height=max(1, self.size.height))
        self.post_message(self.CellClicked(self, (offset.y, offset.x), size))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel zooms about the pointer, or scrolls the table."""
        self._wheel(event, 1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel zooms about the pointer, or scrolls the table."""
        self._wheel(event, -1)

    def _wheel(self, event: events.MouseEvent, n_steps: int) -> None:
        if self.as_table:
            self.action_scroll_text(-n_steps)
            return
        offset = event.get_content_offset(self)
        plot = None if self.picture is None else self.picture.plot
        if offset is None or plot is None:
            return
        across, upward = plot.fraction(row=offset.y, column=offset.x)
        shown = self.window
        about = (
            shown.left + across * (shown.right - shown.left),
            shown.low + upward * (shown.high - shown.low),
        )
        self.zoom(n_steps, about=about)

    def action_point(self, step: int) -> None:
        """Ask for another point; a part of a chart is moved instead."""
        if self.window.is_whole or self.as_table:
            self.post_message(self.PointAsked(self, step))
        else:
            self.show_window(self.window.moved(right=PAN_SHARE * step, up=0.0))

    def action_scroll_text(self, step: int) -> None:
        """Scroll the table, or move a part of a chart."""
        if self.as_table or self.window.is_whole:
            self._top = max(0, self._top + step)
            self.refresh()
        else:
            self.show_window(self.window.moved(right=0.0, up=-PAN_SHARE * step))
