"""Validation: tables, groups, sides, filters, the run under the cursor, the mouse on the chart."""

from __future__ import annotations

import csv
import threading

import pytest

from tests.tui.test_compose import settled
from tests.tui.test_screens import rested
from tests.twin.predicted_runs import RUNS, report_of, run
from tui.screens.run_text import run_lines, run_text, seconds, sheet_lines
from tui.screens.validation_sheet import chart_of, glyphs_of, table_columns
from tui.screens.validation_text import head_text, summary_text
from tui.widgets.chart_pane import ChartPane
from tui.widgets.column_table import ColumnTable
from tui.widgets.filter_line import FilterLine
from tui.widgets.lines import plain
from tui.widgets.row_list import RowList
from twin.validation_view import GROUPINGS

SIZE = (80, 24)
WIDE = (160, 48)


@pytest.fixture
async def opened(app):
    """The app on its Validation, and a pilot."""
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await pilot.press("9")
        await rested(pilot)
        yield app.screen, pilot


def table_of(screen):
    return screen.query_one(ColumnTable)


def text_of(screen, name):
    return str(screen.query_one(name).render())


def shown_ids(screen):
    return [screen.runs[row].run_id for row in table_of(screen).row_ids.tolist()]


async def test_the_worst_by_the_error_that_decides_stand_first(opened):
    screen, _ = opened
    assert screen.focused is table_of(screen)
    errors = [abs(screen.runs[row].left_out_signed_error) for row in table_of(screen).row_ids]
    assert errors == sorted(errors, reverse=True)
    assert "8 of 9" in text_of(screen, "#device")
    assert "left out (decides)" in text_of(screen, "#device")
    assert "8 of 8 runs" in text_of(screen, "#filter-words")


async def test_the_run_under_the_cursor_is_told_with_its_reason(opened):
    screen, pilot = opened
    said = text_of(screen, "#run")
    for words in ("lab_two-0003", "out 2.970 +45.0 %", "in 2.662 +30.0 %", "s, outside"):
        assert words in said
    assert "memory 62.4 GB, measured 65.0, -4.0 %, does not fit" in said
    assert "gemm bwd 50 %" in said
    assert "! a network under repair" in said
    await pilot.press("j")
    await pilot.pause()
    assert "lab_two-0003" not in text_of(screen, "#run")
    assert "not missed" in text_of(screen, "#run")


async def test_the_other_side_reorders_and_redraws(opened):
    screen, pilot = opened
    assert "predicted, left out" in text_of(screen, "#chart")
    await pilot.press("L")
    await pilot.pause()
    assert screen.side == "in-sample"
    assert "predicted, in-sample" in text_of(screen, "#chart")
    assert table_of(screen).sort_key == "in"
    await pilot.press("L")
    assert screen.side == "left out"
    assert "which decides" in text_of(screen, "#title")


async def test_an_order_of_the_users_survives_the_other_side(opened):
    screen, pilot = opened
    table_of(screen).sort_by("measured", is_descending=False)
    await pilot.press("L")
    assert table_of(screen).sort_key == "measured"


async def test_groups_follow_the_key_and_the_filter(opened):
    screen, pilot = opened
    await pilot.press("b")
    await rested(pilot)
    groups = screen.query_one("#groups", RowList)
    assert screen.focused is groups
    assert "o Nvidia" in groups.text()
    assert "x AMD" in groups.text()
    await pilot.press("C", "C", "C")
    assert screen.grouping.name == "source"
    assert "lab_three" in groups.text()
    await pilot.press("j", "enter")
    await pilot.pause()
    assert screen.query_one(FilterLine).text == 'source="lab_one"'
    assert {one.rsplit("-", 1)[0] for one in shown_ids(screen)} == {"lab_one"}
    assert "lab_three" not in groups.text()
    await pilot.press("escape")
    assert screen.focused is table_of(screen)
    await pilot.press("escape")
    await pilot.pause()
    assert len(shown_ids(screen)) == len(RUNS)


async def test_the_chart_and_its_axes(opened):
    screen, pilot = opened
    said = text_of(screen, "#chart")
    assert "x measured step time (s, log)" in said
    assert "15 % off" in said
    assert "8 points" in said
    await pilot.press("A")
    await pilot.pause()
    assert "error, left out (%)" in text_of(screen, "#chart")
    await pilot.press("t")
    await pilot.pause()
    assert "Nvidia" in text_of(screen, "#chart")


async def test_plus_and_minus_zoom_and_zero_shows_all(opened):
    screen, pilot = opened
    pane = screen.query_one("#chart", ChartPane)
    await pilot.press("plus", "plus")
    await pilot.pause()
    assert not pane.window.is_whole
    assert "of 8 points" in text_of(screen, "#chart")
    assert "@" in "".join(pane.picture.rows[1:-3])
    before = pane.window
    pane.focus()
    await pilot.press("left")
    await pilot.pause()
    assert pane.window.left < before.left
    await pilot.press("0")
    assert pane.window.is_whole
    await pilot.press("plus", "minus")
    assert pane.window.is_whole


async def test_a_zoomed_chart_follows_the_cursor(opened):
    screen, pilot = opened
    pane = screen.query_one("#chart", ChartPane)
    await pilot.press("plus", "plus", "plus")
    for _ in range(len(RUNS)):
        await pilot.press("j")
        await pilot.pause()
        assert "@" in "".join(pane.picture.rows[1:-3]), screen.run.run_id


async def test_a_maximised_chart_has_the_whole_screen(opened):
    screen, pilot = opened
    pane = screen.query_one("#chart", ChartPane)
    pane.focus()
    await pilot.press("m")
    await pilot.pause()
    assert len(pane.picture.rows) > 20
    await pilot.press("escape")
    await pilot.pause()
    assert len(pane.picture.rows) == 11


async def test_a_click_on_a_dot_selects_its_run(opened):
    screen, pilot = opened
    pane = screen.query_one("#chart", ChartPane)
    glyphs = [
        (row, column)
        for row, text in enumerate(pane.picture.rows[1:-3], start=1)
        for column, glyph in enumerate(text)
        if glyph == "x"
    ]
    row, column = glyphs[0]
    await pilot.click(pane, offset=(column, row))
    await pilot.pause()
    assert screen.run.vendor == "AMD"
    assert screen.run.run_id == "lab_three-0006"


async def test_the_wheel_zooms_about_the_pointer(opened):
    screen, pilot = opened
    pane = screen.query_one("#chart", ChartPane)
    await pilot._post_mouse_events([_wheel()], pane, offset=(70, 2))
    await pilot.pause()
    assert pane.window.left > 0.4
    assert pane.window.low > 0.3


def _wheel():
    from textual.events import MouseScrollUp

    return MouseScrollUp


async def test_left_and_right_on_the_chart_go_by_measured_time(opened):
    screen, pilot = opened
    screen.query_one("#chart").focus()
    table_of(screen).select(2)
    await pilot.press("l")
    await pilot.pause()
    assert screen.run.run_id == "lab_two-0003"


async def test_brackets_go_through_tables_and_keep_the_order(opened):
    screen, pilot = opened
    table_of(screen).sort_by("measured", is_descending=False)
    await pilot.press("right_square_bracket")
    await rested(pilot)
    assert screen.table.name == "built-in table"
    assert len(screen.runs) == 1
    assert table_of(screen).sort_key == "measured"
    await pilot.press("exclamation_mark")
    assert screen.app.clipboard == "twin validate runs"
    await pilot.press("escape", "right_square_bracket")
    await rested(pilot)
    assert screen.table.name == "runs.csv"
    await pilot.press("exclamation_mark")
    assert screen.app.clipboard == "twin validate runs /data/runs.csv"


async def test_an_opened_table_and_one_that_is_not_there(opened):
    screen, pilot = opened
    await pilot.press("O")
    screen.app.screen.query_one("#ask").value = "/tmp/mine.csv"
    await pilot.press("enter")
    await rested(pilot)
    assert screen.table.name == "mine.csv"
    screen.open_table("/tmp/absent.csv")
    await rested(pilot)
    assert screen.table.name == "mine.csv"
    assert any("No such file" in str(one.message) for one in screen.app._notifications)
    assert [table.name for table in screen.opened] == ["mine.csv"]


async def test_a_table_without_a_run_says_so(opened):
    screen, pilot = opened
    screen.open_table("/tmp/empty.csv")
    await rested(pilot)
    assert "0 of 1" in text_of(screen, "#device")
    assert "No points" in text_of(screen, "#chart")
    for key in ("j", "enter", "w", "C", "L", "A", "plus", "Y", "y", "b", "enter", "b"):
        await pilot.press(key)
    await pilot.press("escape")


async def test_it_says_that_it_predicts_and_drops_what_came_too_late(opened, fake):
    screen, pilot = opened
    may_go_on = threading.Event()
    read = fake.validation_view.report

    def slow(path):
        may_go_on.wait(5.0)
        return read(path)

    fake.validation_view.report = slow
    await pilot.press("right_square_bracket")
    await pilot.pause(0.05)
    assert "predicting" in text_of(screen, "#device")
    assert "predicting" in text_of(screen, "#chart")
    screen.post_message(screen.Loaded(screen._version - 1, report_of(RUNS)))
    await pilot.pause()
    assert screen.report is None
    may_go_on.set()
    await rested(pilot)
    assert len(screen.runs) == 1


async def test_a_filter_narrows_everything(opened):
    screen, pilot = opened
    await pilot.press("slash", *"err>15", "enter")
    await pilot.pause()
    assert shown_ids(screen) == ["lab_two-0003"]
    assert "1 of 8 runs" in text_of(screen, "#filter-words")
    assert "1 points" in text_of(screen, "#chart")
    await pilot.press("L")
    await pilot.pause()
    assert shown_ids(screen) == ["lab_two-0003", "lab_three-0006"]


async def test_enter_shows_a_run_in_full_and_w_on_the_groups_the_report(opened):
    screen, pilot = opened
    await pilot.press("enter")
    await pilot.pause()
    said = text_of(screen.app.screen, "#dialog-text")
    assert "where the predicted time goes" in said
    assert "activations" in said
    assert "a network under repair" in said
    await pilot.press("escape", "b", "w")
    await pilot.pause()
    said = text_of(screen.app.screen, "#dialog-text")
    assert "source left out: decides" in said
    assert "mixture of experts" in said


async def test_rereading_profiles_keeps_the_run_and_predicts_again(opened, fake):
    screen, pilot = opened
    await pilot.press("j", "j")
    await pilot.pause()
    kept, n_asked = screen.run.run_id, len(fake.validation_view.asked)
    await pilot.press("r")
    await rested(pilot)
    assert screen.run.run_id == kept
    assert len(fake.validation_view.asked) == n_asked + 1


async def test_focus_never_moves_by_itself(opened):
    screen, pilot = opened
    for key in ("j", "o", "C", "L", "A", "plus", "0", "t", "t", "r", "y", "Y", "n", "escape"):
        await pilot.press(key)
        await rested(pilot)
        assert screen.focused is table_of(screen), key


async def test_copies_and_exports_carry_base_units(opened, tmp_path):
    screen, pilot = opened
    await pilot.press("Y")
    assert screen.app.clipboard.startswith("run_id\tsource_id\tvendor")
    await pilot.press("y")
    assert screen.app.clipboard.startswith("lab_two-0003")
    await pilot.press("E")
    screen.app.screen.query_one("#ask").value = str(tmp_path / "runs.csv")
    await pilot.press("enter")
    await pilot.pause()
    with (tmp_path / "runs.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(RUNS)
    assert float(rows[0]["measured_step_time_s"]) == RUNS[3].measured_step_time_s


async def test_a_wide_terminal_shows_groups_and_the_whole_run(app):
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot)
        await pilot.press("9")
        await rested(pilot)
        screen = app.screen
        assert screen.query_one("#groups").display
        assert "memory per device" in text_of(screen, "#run-sheet")
        assert not screen.query_one("#run").display


def test_small_groups_share_the_last_glyph():
    runs = [run(number, source=f"lab_{number}") for number in range(12)]
    grouping = next(one for one in GROUPINGS if one.name == "source")
    glyphs = glyphs_of(runs, grouping=grouping)
    assert len(glyphs) == 12
    assert len({glyph for glyph, _ in glyphs.values()}) == 8


def test_equal_times_stand_on_the_diagonal():
    import numpy as np

    chart = chart_of(
        RUNS,
        np.arange(len(RUNS)),
        grouping=GROUPINGS[0],
        side="in-sample",
        against="times",
        selected=7,
    )
    scatter = chart.scatter
    assert scatter.x_values[7] == scatter.y_values[7]
    assert scatter.is_square
    assert [guide.factor for guide in scatter.guides] == [1.15, 0.85, 1.0]


def test_the_sheet_fits_its_height_and_sums_up_what_it_leaves_out():
    lines = sheet_lines(RUNS[3], width=76, height=20)
    assert len(lines) <= 20
    assert "all others" in plain(lines)
    assert "which does not fit" in plain(lines)
    assert "published 65.0 GB, -4.0 %" in plain(lines)


def test_a_run_in_full_names_every_large_term_and_says_where_it_is_from():
    text = run_text(RUNS[5])
    for words in ("tp comm", "pp bubble", "1 more", "source lab_three", "fsdp (zero3)"):
        assert words in text


def test_lines_of_a_run_fit_eighty_columns():
    for one in RUNS:
        assert all(len(line) <= 80 for line in plain(run_lines(one, width=80)).splitlines())


@pytest.mark.parametrize(
    ("value_s", "text"),
    [(0.058149, "0.05815"), (10.0, "10.00"), (299.7, "299.7"), (1234.5, "1234")],
)
def test_times_line_up(value_s, text):
    assert seconds(value_s) == text


def test_the_head_names_what_decides_first():
    text = head_text("runs.csv", report_of(RUNS), progress="")
    assert text.index("left out (decides)") < text.index("in-sample")


def test_the_summary_counts_reasons_and_memory():
    text = summary_text(report_of(RUNS))
    assert "8 of 9 runs predicted" in text
    assert "1  mixture of experts" in text
    assert "predicted not to fit" in text


def test_the_table_in_ascii_is_ascii():
    for column in table_columns(RUNS, is_ascii=True):
        assert column.header.isascii()
        assert all(column.shown(value).isascii() for value in column.values)
