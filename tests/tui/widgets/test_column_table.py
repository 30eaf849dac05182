"""The table shows a window on its columns; sorting and filtering keep the selected row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult

from tui.widgets.column_table import Column, ColumnTable, row_order


def columns(n_rows: int = 100) -> tuple[Column, ...]:
    number = np.arange(n_rows)
    return (
        Column(key="name", title="name", values=number, shown=lambda v: f"row{v}", is_text=True),
        Column(key="rest", title="rest", unit="s", values=number % 7, width=8),
    )


class Host(App[None]):
    def __init__(self, table: ColumnTable) -> None:
        super().__init__()
        self.table = table
        self.heard: list[tuple[str, int]] = []

    def compose(self) -> ComposeResult:
        yield self.table

    def on_column_table_row_selected(self, message: ColumnTable.RowSelected) -> None:
        self.heard.append(("selected", message.row_id))

    def on_column_table_row_opened(self, message: ColumnTable.RowOpened) -> None:
        self.heard.append(("opened", message.row_id))


def lines(table: ColumnTable, n_lines: int) -> list[str]:
    return [table.render_line(y).text.rstrip() for y in range(n_lines)]


async def test_the_header_stays_and_rows_are_aligned():
    host = Host(ColumnTable(columns()))
    async with host.run_test(size=(40, 6)) as pilot:
        assert lines(host.table, 3) == [
            "name          rest s",
            "row0               0",
            "row1               1",
        ]
        host.table.focus()
        await pilot.press("G")
        assert lines(host.table, 6)[0] == "name          rest s"
        assert lines(host.table, 6)[-1] == "row99              1"


async def test_keys_move_the_cursor_and_tell_the_row():
    host = Host(ColumnTable(columns()))
    async with host.run_test(size=(40, 11)) as pilot:
        host.table.focus()
        await pilot.press("j", "down", "k", "pagedown", "ctrl+d", "enter")
        assert host.table.selected_id == 15
        assert host.heard == [
            *(("selected", row_id) for row_id in (0, 1, 0, 10, 15)),
            ("opened", 15),
        ]
        await pilot.press("g")
        assert host.table.selected_id == 0
        await pilot.press("up")
        assert host.table.selected_id == 0


async def test_sorting_keeps_the_selected_row_and_turns_on_the_second_time():
    host = Host(ColumnTable(columns()))
    async with host.run_test(size=(40, 8)) as pilot:
        host.table.focus()
        host.table.select(50)
        await pilot.press("l", "o")
        assert host.table.row_ids[:3].tolist() == [0, 7, 14]
        await pilot.press("o")
        assert host.table.row_ids[:3].tolist() == [6, 13, 20]
        assert "vrest s" in lines(host.table, 1)[0]
        assert host.table.selected_id == 50
        assert any(line.startswith("row50") for line in lines(host.table, 8))


async def test_a_filter_hides_rows_and_gives_the_selection_back():
    host = Host(ColumnTable(columns()))
    async with host.run_test(size=(40, 8)) as pilot:
        host.table.select(50)
        host.table.filter_rows(np.arange(100) < 2)
        assert lines(host.table, 4)[1:] == ["row0               0", "row1               1", ""]
        host.table.filter_rows(None)
        await pilot.pause()
        assert host.table.selected_id == 50
        assert any(line.startswith("row50") for line in lines(host.table, 8))


async def test_clicks_sort_and_select():
    host = Host(ColumnTable(columns()))
    async with host.run_test(size=(40, 8)) as pilot:
        await pilot.click(host.table, offset=(15, 0))
        assert host.table.sort_key == "rest"
        await pilot.click(host.table, offset=(2, 2))
        assert host.table.selected_id == 7


async def test_a_table_without_rows_says_so():
    host = Host(ColumnTable(columns(0), empty="No results yet."))
    async with host.run_test(size=(40, 8)) as pilot:
        host.table.focus()
        await pilot.press("j", "G", "o", "enter", "pageup")
        assert lines(host.table, 2)[1] == "No results yet."


async def test_a_million_rows_format_only_those_on_screen():
    n_formatted = 0

    def counted(value: int) -> str:
        nonlocal n_formatted
        n_formatted += 1
        return str(value)

    values = np.arange(1_000_000)
    table = ColumnTable((Column(key="v", title="v", values=values, shown=counted),))
    async with Host(table).run_test(size=(40, 20)) as pilot:
        table.focus()
        await pilot.press("G")
        assert table.selected_id == 999_999
        assert n_formatted < 200


def test_mistakes_are_told():
    table = ColumnTable(columns())
    with pytest.raises(ValueError, match=r"no column 'speed'.*expected one of name, rest"):
        table.sort_by("speed")
    with pytest.raises(ValueError, match="mask has 3 entries"):
        table.filter_rows(np.ones(3, bool))
    with pytest.raises(ValueError, match="row 100 is not in the table"):
        table.select(100)
    with pytest.raises(ValueError, match=r"lengths \[1, 2\]"):
        table.show_columns(tuple(Column(key="k", title="k", values=np.arange(n)) for n in (1, 2)))


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, np.nan]), max_size=20), st.booleans())
def test_order_is_stable_and_missing_values_come_last(values, is_descending):
    array = np.array(values, float)
    order = row_order(array, is_descending=is_descending).tolist()
    sign = -1 if is_descending else 1
    expected = sorted(
        range(len(values)), key=lambda i: (np.isnan(array[i]), np.nan_to_num(sign * array[i]), i)
    )
    assert order == expected
