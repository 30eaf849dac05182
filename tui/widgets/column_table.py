"""A table over column arrays that formats only the rows on screen, for a million rows.

Rows keep their number in the arrays as their id: sorting and filtering change an index, and
the selection follows the id. The only work that grows with the number of rows is a sort or a
filter; paging costs the same for ten rows and for a million.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

RowIds = npt.NDArray[np.intp]

_GAP = 2
"""Cells between two columns."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """One column: its values, and how one becomes text."""

    key: str
    """Name by which code and settings speak of the column."""
    title: str
    values: npt.NDArray[Any]
    unit: str = ""
    """Unit of what the formatter writes."""
    shown: Callable[[Any], str] = str
    """Text of one value, without its unit."""
    width: int = 10
    """Cells."""
    is_text: bool = False
    """Whether it is aligned to the left; numbers are aligned to the right."""
    order: npt.NDArray[Any] | None = None
    """What rows are ordered by, where that is not the values."""

    @property
    def header(self) -> str:
        """Title and unit."""
        return f"{self.title} {self.unit}".rstrip()

    def cell(self, text: str) -> str:
        """Text cut and aligned to the width of the column."""
        if len(text) > self.width:
            text = text[: self.width - 1] + "~"
        return text.ljust(self.width) if self.is_text else text.rjust(self.width)


def row_order(values: npt.NDArray[Any], *, is_descending: bool) -> RowIds:
    """Row ids in the order of their values: equal ones in their own order, missing ones last."""
    order = np.argsort(values[::-1] if is_descending else values, kind="stable")
    if is_descending:
        # Sorted from the back and turned round, so that equal values keep their order.
        order = len(values) - 1 - order[::-1]
    if values.dtype.kind != "f":
        return order
    is_missing = np.isnan(values[order])
    return np.concatenate((order[~is_missing], np.sort(order[is_missing])))


class ColumnTable(ScrollView, can_focus=True):
    """Rows of columns to page, sort, filter and select in."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Next row", show=False),
        Binding("up,k", "move(-1)", "Previous row", show=False),
        Binding("pagedown", "page(2)", "Page down", show=False),
        Binding("pageup", "page(-2)", "Page up", show=False),
        Binding("ctrl+d", "page(1)", "Half page down", show=False),
        Binding("ctrl+u", "page(-1)", "Half page up", show=False),
        Binding("home,g", "first", "First row", show=False),
        Binding("end,G", "last", "Last row", show=False),
        Binding("left,h", "column(-1)", "Previous column", show=False),
        Binding("right,l", "column(1)", "Next column", show=False),
        Binding("o", "sort", "Order by this column"),
        Binding("enter", "open", "Open"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "column-table--header",
        "column-table--column",
        "column-table--selected",
    }
    DEFAULT_CSS = """
    ColumnTable {
        height: 1fr;
        & > .column-table--header { color: $text-muted; text-style: bold; }
        & > .column-table--column { color: $accent; text-style: bold underline; }
        & > .column-table--selected { text-style: reverse; }
    }
    """

    class RowSelected(Message):
        """Another row is under the cursor."""

        def __init__(self, table: ColumnTable, row_id: int) -> None:
            super().__init__()
            self.table = table
            self.row_id = row_id

        @property
        def control(self) -> ColumnTable:
            """The table that sent the message."""
            return self.table

    class RowOpened(RowSelected):
        """Enter was pressed on the row under the cursor."""

    def __init__(
        self, columns: tuple[Column, ...] = (), *, id: str | None = None, empty: str = "No rows."
    ) -> None:
        super().__init__(id=id)
        self.columns: tuple[Column, ...] = ()
        self.selected_id: int | None = None
        self.sort_key: str | None = None
        self.is_descending = False
        self.i_column = 0
        self.empty = empty
        """What stands where there is no row."""
        self._mask: npt.NDArray[np.bool_] | None = None
        self._sorted: RowIds = np.arange(0)
        self._visible: RowIds = np.arange(0)
        self._position: int | None = None
        self.show_columns(columns)

    @property
    def n_rows(self) -> int:
        """Rows in the columns, whether filtered out or not."""
        return len(self.columns[0].values) if self.columns else 0

    @property
    def row_ids(self) -> RowIds:
        """Ids of the rows that the filter lets through, in the order shown."""
        return self._visible

    def show_columns(self, columns: tuple[Column, ...]) -> None:
        """Replace all data; the filter goes, the order stays where its column does."""
        lengths = {len(column.values) for column in columns}
        if len(lengths) > 1:
            message = f"columns of one table have lengths {sorted(lengths)}; expected one length"
            raise ValueError(message)
        self.columns = columns
        self._mask = None
        self.i_column = min(self.i_column, max(len(columns) - 1, 0))
        if self.selected_id is not None and self.selected_id >= self.n_rows:
            self.selected_id = None
        self._sort()

    def sort_by(self, key: str, *, is_descending: bool | None = None) -> None:
        """Order by a column; without a direction, a second call on the same column turns it."""
        if is_descending is None:
            is_descending = key == self.sort_key and not self.is_descending
        self._column(key)
        self.sort_key, self.is_descending = key, is_descending
        self._sort()

    def filter_rows(self, mask: npt.NDArray[np.bool_] | None) -> None:
        """Show only rows whose entry in the mask is true; None for all rows."""
        if mask is not None and len(mask) != self.n_rows:
            message = f"mask has {len(mask)} entries; expected one for each of {self.n_rows} rows"
            raise ValueError(message)
        self._mask = mask
        self._filter()
        # Fewer rows than were scrolled past would leave nothing but blank lines.
        last = max(0, len(self._visible) - self.scrollable_content_region.height + 1)
        self.scroll_to(y=min(self.scroll_offset.y, last), animate=False, immediate=True)

    def select(self, row_id: int | None) -> None:
        """Put the cursor on a row, and scroll to it where the filter lets it through."""
        if row_id is not None and not 0 <= row_id < self.n_rows:
            message = f"row {row_id} is not in the table; expected 0 to {self.n_rows - 1}"
            raise ValueError(message)
        is_other = row_id != self.selected_id
        self.selected_id = row_id
        self._find_selected()
        self._scroll_to_selected()
        self.refresh()
        if is_other and row_id is not None:
            self.post_message(self.RowSelected(self, row_id))

    def render_line(self, y: int) -> Strip:
        """One line on screen: the header, which stays, or a row."""
        scroll_x, scroll_y = self.scroll_offset
        width = self.scrollable_content_region.width
        if y == 0:
            return self._header().crop_extend(scroll_x, scroll_x + width, self.rich_style)
        position = y - 1 + scroll_y
        if position >= len(self._visible):
            text = self.empty if position == 0 else ""
            return Strip([Segment(text, self.rich_style)]).adjust_cell_length(
                width, self.rich_style
            )
        text = self._row_text(int(self._visible[position]))
        is_selected = position == self._position
        style = (
            self.get_component_rich_style("column-table--selected")
            if is_selected
            else self.rich_style
        )
        return Strip([Segment(text, style)]).crop_extend(scroll_x, scroll_x + width, style)

    def on_click(self, event: events.Click) -> None:
        """Order by the header that was clicked, or select the row."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y == 0:
            self._click_header(offset.x + self.scroll_offset.x)
            return
        position = offset.y - 1 + self.scroll_offset.y
        if position < len(self._visible):
            self.select(int(self._visible[position]))

    def action_move(self, n_rows: int) -> None:
        """Move the cursor by rows; where nothing is selected, to the first row on screen."""
        if not len(self._visible):
            return
        start = self.scroll_offset.y - n_rows if self._position is None else self._position
        self._select_position(start + n_rows)

    def action_page(self, n_halves: int) -> None:
        """Move the cursor by halves of a page."""
        self.action_move(n_halves * max(self._n_on_screen // 2, 1))

    def action_first(self) -> None:
        """Move the cursor to the first row."""
        self._select_position(0)

    def action_last(self) -> None:
        """Move the cursor to the last row."""
        self._select_position(len(self._visible) - 1)

    def action_column(self, n_columns: int) -> None:
        """Move to another column, the one that `o` orders by."""
        self.i_column = min(max(self.i_column + n_columns, 0), max(len(self.columns) - 1, 0))
        start = sum(column.width + _GAP for column in self.columns[: self.i_column])
        if self.columns and self.is_mounted:
            end = start + self.columns[self.i_column].width
            width = self.scrollable_content_region.width
            x = min(max(self.scroll_offset.x, end - width), start)
            self.scroll_to(x=x, animate=False, immediate=True)
        self.refresh()

    def action_sort(self) -> None:
        """Order by the column under the cursor, or turn its direction."""
        if self.columns:
            self.sort_by(self.columns[self.i_column].key)

    def action_open(self) -> None:
        """Tell that the row under the cursor is to be opened."""
        if self._position is not None and self.selected_id is not None:
            self.post_message(self.RowOpened(self, self.selected_id))

    @property
    def _n_on_screen(self) -> int:
        """Rows that fit under the header."""
        return max(self.scrollable_content_region.height - 1, 1)

    def _column(self, key: str) -> Column:
        for column in self.columns:
            if column.key == key:
                return column
        keys = ", ".join(column.key for column in self.columns)
        message = f"no column {key!r} in the table; expected one of {keys or 'none'}"
        raise ValueError(message)

    def _sort(self) -> None:
        if self.sort_key not in {column.key for column in self.columns}:
            self.sort_key = None
        if self.sort_key is None:
            self._sorted = np.arange(self.n_rows)
        else:
            column = self._column(self.sort_key)
            values = column.values if column.order is None else column.order
            self._sorted = row_order(values, is_descending=self.is_descending)
        self._filter()

    def _filter(self) -> None:
        self._visible = (
            self._sorted if self._mask is None else self._sorted[self._mask[self._sorted]]
        )
        width = sum(column.width + _GAP for column in self.columns) - _GAP
        self.virtual_size = Size(max(width, 0), len(self._visible) + 1)
        self._find_selected()
        self._scroll_to_selected()
        self.refresh()

    def _find_selected(self) -> None:
        """Where the selected row stands now, if the filter lets it through."""
        found = np.flatnonzero(self._visible == self.selected_id)
        self._position = int(found[0]) if len(found) else None

    def _select_position(self, position: int) -> None:
        if len(self._visible):
            inside = min(max(position, 0), len(self._visible) - 1)
            self.select(int(self._visible[inside]))

    def _scroll_to_selected(self) -> None:
        if self._position is None or not self.is_mounted:
            return
        first = self.scroll_offset.y
        wanted = min(max(first, self._position - self._n_on_screen + 1), self._position)
        if wanted != first:
            self.scroll_to(y=wanted, animate=False, immediate=True)

    def _row_text(self, row_id: int) -> str:
        return (" " * _GAP).join(
            column.cell(column.shown(column.values[row_id])) for column in self.columns
        )

    def _header(self) -> Strip:
        segments = []
        header = self.get_component_rich_style("column-table--header")
        under_cursor = self.get_component_rich_style("column-table--column")
        for i_column, column in enumerate(self.columns):
            mark = ("v" if self.is_descending else "^") if column.key == self.sort_key else ""
            style = under_cursor if i_column == self.i_column else header
            segments.append(Segment(column.cell(f"{mark}{column.header}"), style))
            segments.append(Segment(" " * _GAP, header))
        return Strip(segments[:-1])

    def _click_header(self, x: int) -> None:
        end = 0
        for i_column, column in enumerate(self.columns):
            end += column.width + _GAP
            if x < end:
                self.i_column = i_column
                self.sort_by(column.key)
                return
