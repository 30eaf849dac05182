"""Rows of styled text with a cursor: the figures of a thing, a tree, a comparison.

The widget draws the rows on screen and keeps a cursor; whoever owns it gives the rows and is told
where the cursor is. Rows that are headings are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from tui.widgets.lines import Line, ascii_text, content, plain

__all__ = ["ListRow", "RowList"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRow:
    """One row."""

    key: object
    """What the row stands for; the cursor stays on it when rows change."""
    line: Line
    is_heading: bool = False


class RowList(Widget, can_focus=True):
    """Draws rows and moves a cursor over them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Next", show=False),
        Binding("up,k", "move(-1)", "Previous", show=False),
        Binding("pagedown", "page(2)", "Page down", show=False),
        Binding("pageup", "page(-2)", "Page up", show=False),
        Binding("ctrl+d", "page(1)", "Half page down", show=False),
        Binding("ctrl+u", "page(-1)", "Half page up", show=False),
        Binding("home,g", "end(-1)", "First", show=False),
        Binding("end,G", "end(1)", "Last", show=False),
        Binding("left,h", "sideways(-1)", "Left", show=False),
        Binding("right,l", "sideways(1)", "Right", show=False),
    ]
    DEFAULT_CSS = "RowList { height: 1fr; text-wrap: nowrap; text-overflow: clip; }"

    class Moved(Message):
        """Another row is under the cursor."""

        def __init__(self, rows: RowList, key: object) -> None:
            super().__init__()
            self.rows = rows
            self.key = key

        @property
        def control(self) -> RowList:
            """The widget that sent the message."""
            return self.rows

    class Sideways(Moved):
        """Left (-1) or right (1) was pressed on the row under the cursor."""

        def __init__(self, rows: RowList, key: object, step: int) -> None:
            super().__init__(rows, key)
            self.step = step

    def __init__(self, *, id: str, empty: str = "", is_ascii: bool = False) -> None:
        super().__init__(id=id)
        self._is_ascii = is_ascii
        self.rows: tuple[ListRow, ...] = ()
        self.cursor = 0
        self.empty = empty
        """What stands where there is no row."""
        self._top = 0

    @property
    def key(self) -> object:
        """What the row under the cursor stands for; None where there is none."""
        return self.rows[self.cursor].key if self.rows else None

    def show_rows(self, rows: Sequence[ListRow], *, key: object = None) -> None:
        """Draw other rows; the cursor goes to a key, or stays on the one that it is on."""
        wanted = self.key if key is None else key
        self.rows = tuple(rows)
        places = {row.key: place for place, row in enumerate(self.rows) if not row.is_heading}
        fallback = next((place for place, row in enumerate(self.rows) if not row.is_heading), 0)
        self.cursor = places.get(wanted, fallback)
        self._scroll()
        self.refresh()

    def put_cursor(self, key: object) -> bool:
        """Move the cursor to a row; False where there is no such row."""
        for place, row in enumerate(self.rows):
            if row.key == key:
                self._go(place)
                return True
        return False

    def render(self) -> Content:
        """The rows that fit."""
        if not self.rows:
            return Content(ascii_text(self.empty) if self._is_ascii else self.empty)
        height = max(1, self.size.height)
        shown = self.rows[self._top : self._top + height]
        lines = [self._line(row, self._top + place) for place, row in enumerate(shown)]
        return content(lines, is_ascii=self._is_ascii)

    def _line(self, row: ListRow, place: int) -> Line:
        if place != self.cursor or row.is_heading:
            return row.line
        if self.has_focus:
            text = "".join(text for text, _ in row.line)
            return [(text.ljust(self.size.width), "reverse")]
        return [(text, f"{tone} bold underline".strip()) for text, tone in row.line]

    def action_move(self, step: int) -> None:
        """Move by rows that are no headings; stop at the ends."""
        direction = 1 if step > 0 else -1
        place, left = self.cursor, abs(step)
        while left and 0 <= place + direction < len(self.rows):
            place += direction
            if not self.rows[place].is_heading:
                left -= 1
        while 0 <= place < len(self.rows) and self.rows[place].is_heading:
            place -= direction
        if 0 <= place < len(self.rows):
            self._go(place)
        if self.cursor == self._first and self._top:
            # Headings above the first row come back into sight.
            self._top = 0
            self.refresh()

    @property
    def _first(self) -> int:
        return next((place for place, row in enumerate(self.rows) if not row.is_heading), 0)

    def action_page(self, n_halves: int) -> None:
        """Move by halves of a page."""
        self.action_move(n_halves * max(1, self.size.height // 2))

    def action_end(self, direction: int) -> None:
        """Move to the first or the last row."""
        self.action_move(direction * len(self.rows))

    def action_sideways(self, step: int) -> None:
        """Tell that left or right was pressed."""
        self.post_message(self.Sideways(self, self.key, step))

    def on_click(self, event: events.Click) -> None:
        """A click puts the cursor on a row."""
        place = self._top + event.y
        if 0 <= place < len(self.rows) and not self.rows[place].is_heading:
            self._go(place)

    def on_mouse_scroll_down(self) -> None:
        """The wheel moves the cursor."""
        self.action_move(1)

    def on_mouse_scroll_up(self) -> None:
        """The wheel moves the cursor."""
        self.action_move(-1)

    def on_resize(self) -> None:
        """The cursor stays in sight."""
        self._scroll()

    def text(self) -> str:
        """All rows as bare text."""
        return plain([row.line for row in self.rows])

    def _go(self, place: int) -> None:
        if place != self.cursor:
            self.cursor = place
            self.post_message(self.Moved(self, self.rows[place].key))
        self._scroll()
        self.refresh()

    def _scroll(self) -> None:
        height = max(1, self.size.height)
        last = max(0, len(self.rows) - height)
        self._top = min(max(self._top, self.cursor - height + 1), self.cursor, last)
        # A heading right above the first row in sight belongs to it.
        while self._top > 0 and self.cursor - self._top < height - 1 and self._top == self.cursor:
            if not self.rows[self._top - 1].is_heading:
                break
            self._top -= 1
