"""A heat map shows high values by heavy glyphs, wherever they are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tui.charts.drawing import ANY_FLOAT, SIZES, STYLES, body, check_picture, roles_of
from tui.charts.axes import Axis
from tui.charts.heatmap import HeatMap, heat_map
from tui.charts.picture import Size, Style

POWER = Axis(name="power", unit="W", better="lower")
GRID = HeatMap(
    axis=POWER,
    values=((1.0, 2.0, 3.0), (4.0, math.nan, 9.0)),
    row_name="hour",
    column_name="day",
    row_labels=("00", "01"),
    column_labels=("1", "2", "3"),
    cursor=(0, 1),
)


def test_heavier_glyphs_are_higher_values_and_what_is_missing_is_blank():
    assert body(heat_map(GRID, size=Size(width=42, height=5), style=Style())) == (
        "power (W, lower is better), hour by day\n00 .:-\n01 = @\n   1 3\n. from 1 W   @ to 9 W"
    )


def test_words_say_where_the_extremes_and_the_cursor_are():
    text = heat_map(GRID, size=Size(width=9, height=2), style=Style()).text
    assert "Least 1 W at hour 00, day 1. Most 9 W at hour 01, day 3." in text
    assert "Cursor: 2 W at hour 00, day 2." in text


def test_the_value_under_the_cursor_stands_out():
    picture = heat_map(GRID, size=Size(width=42, height=5), style=Style())
    assert len(roles_of(picture, "cursor")) == 1


def test_more_values_than_cells_are_averaged():
    wide = HeatMap(axis=POWER, values=((0.0, 0.0, 8.0, 8.0),), row_name="r", column_name="c")
    assert heat_map(wide, size=Size(width=2, height=4), style=Style()).rows[1] == ".@"


def test_no_values_draw_one_sentence():
    empty = HeatMap(axis=POWER, values=(), row_name="hour", column_name="day")
    assert "No values to draw yet." in str(
        heat_map(empty, size=Size(width=40, height=9), style=Style())
    )


def test_ragged_rows_are_refused():
    with pytest.raises(ValueError, match="rows of different lengths"):
        HeatMap(axis=POWER, values=((1.0,), (1.0, 2.0)), row_name="r", column_name="c")


@given(
    SIZES,
    STYLES,
    st.integers(0, 6).flatmap(
        lambda n: st.lists(st.lists(ANY_FLOAT, min_size=n, max_size=n), max_size=5)
    ),
)
def test_any_data_fits_any_size(size, style, values):
    chart = HeatMap(axis=POWER, values=values, row_name="r", column_name="c")
    check_picture(heat_map(chart, size=size, style=style), size=size, style=style)
