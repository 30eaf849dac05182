"""A line chart shows every series, its band, gaps and limits, at every size."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tui.charts.drawing import ANY_FLOAT, SIZES, STYLES, body, check_picture, roles_of
from tui.charts.axes import Axis
from tui.charts.line import LineChart, Series, line_chart, readings
from tui.charts.picture import Size, Style

CAP = Axis(name="cap", unit="W")
RATE = Axis(name="speed", unit="token/s", better="higher")
ASCII = Style(markers="ascii")


def chart(*series: Series, **more) -> LineChart:
    return LineChart(x=CAP, y=RATE, series=series, **more)


def test_a_rising_line_rises():
    rising = Series(name="a", x=(0.0, 10.0), y=(0.0, 4.0))
    assert body(line_chart(chart(rising), size=Size(width=20, height=9), style=ASCII)) == (
        "speed (token/s, hig~\n"
        " 4 +             **\n"
        "   |         ****\n"
        " 2 +      ***\n"
        "   |  ****\n"
        " 0 +**\n"
        "   ++-------------+\n"
        "    0            10\n"
        "* a"
    )


def test_the_title_says_quantity_unit_and_direction():
    picture = line_chart(
        chart(Series(name="a", x=(1.0,), y=(1.0,))), size=Size(width=60, height=9), style=ASCII
    )
    assert picture.rows[0].rstrip() == "speed (token/s, higher is better) over cap (W)"


def test_series_differ_by_glyph_without_colour():
    two = chart(
        Series(name="a", x=(0.0, 1.0), y=(0.0, 0.0)), Series(name="b", x=(0.0, 1.0), y=(1.0, 1.0))
    )
    picture = line_chart(two, size=Size(width=40, height=10), style=Style())
    assert "*" in picture.rows[6]
    assert "+" in picture.rows[1].partition("+")[2]
    assert [entry.glyph for entry in picture.legend] == ["*", "+"]


def test_a_value_that_is_missing_leaves_a_gap():
    gap = Series(name="a", x=(0.0, 1.0, 2.0, 3.0, 4.0), y=(1.0, 1.0, math.nan, 1.0, 1.0))
    picture = line_chart(chart(gap), size=Size(width=40, height=9), style=ASCII)
    line = next(row for row in picture.rows if "**" in row)
    assert [len(stretch) for stretch in line.partition("+")[2].split()] == [9, 9]


def test_band_limit_and_cursor_are_drawn_and_named():
    series = Series(name="a", x=(0.0, 1.0), y=(2.0, 2.0), low=(1.0, 1.0), high=(3.0, 3.0))
    picture = line_chart(
        chart(series, limits=(("grid", 4.0),), cursor=0.5),
        size=Size(width=60, height=12),
        style=Style(),
    )
    assert set(roles_of(picture, "band").split()[0]) == {"░"}
    assert "-----" in roles_of(picture, "limit")
    assert "|" in roles_of(picture, "cursor")
    assert "grid 4 token/s" in picture.rows[-1]
    assert "p10 to p90" in picture.rows[-1]


def test_no_data_draws_the_frame_and_one_sentence():
    empty = line_chart(chart(), size=Size(width=40, height=8), style=ASCII)
    assert "No values to draw yet." in str(empty)
    assert "+-----" in str(empty)


def test_the_cursor_reads_the_nearest_point_of_each_series():
    series = Series(name="a", x=(0.0, 10.0, 20.0), y=(1.0, 2.0, 3.0))
    assert readings(chart(series), 12.0) == (("a", 10.0, 2.0),)


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"series 'a': 1 values of y, 2 of x"):
        Series(name="a", x=(1.0, 2.0), y=(1.0,))
    with pytest.raises(ValueError, match="both low and high"):
        Series(name="a", x=(1.0,), y=(1.0,), low=(1.0,))


@given(
    SIZES, STYLES, st.lists(st.tuples(*[ANY_FLOAT] * 4), max_size=8), st.booleans(), st.booleans()
)
def test_any_data_fits_any_size(size, style, points, is_log, has_band):
    x, y, low, high = (
        (tuple(column) for column in zip(*points, strict=True)) if points else [()] * 4
    )
    band = {"low": low, "high": high} if has_band else {}
    axis = Axis(name="x", unit="µs", is_log=is_log)
    data = LineChart(x=axis, y=axis, series=(Series(name="s", x=x, y=y, **band),), cursor=1.0)
    check_picture(line_chart(data, size=size, style=style), size=size, style=style)
