"""Bars are as long as their values, and the parts of a bar add up to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tui.charts.drawing import ANY_FLOAT, SIZES, STYLES, body, check_picture
from tui.charts.axes import Axis
from tui.charts.picture import Size, Style
from tui.charts.stacked_bar import Bar, StackedBars, bar_text, stacked_bars

TIME = Axis(name="step time", unit="s", better="lower")
ASCII = Style(markers="ascii")


def test_exposed_and_hidden_stand_in_one_bar():
    chart = StackedBars(
        axis=TIME,
        bars=(
            Bar(label="gemm", values=(2.0,), note="M"),
            Bar(label="tp comm", values=(0.5, 1.0)),
            Bar(label="host", values=(0.001,)),
        ),
    )
    assert body(stacked_bars(chart, size=Size(width=36, height=6), style=ASCII)) == (
        "step time (s, lower is better)\n"
        "gemm    ###################### 2 s M\n"
        "tp comm ######...........      1.5 s\n"
        "host    #                       1 ms\n"
        "\n"
        "# exposed   . hidden"
    )


def test_bars_that_do_not_fit_are_counted_with_their_sum():
    bars = tuple(Bar(label=f"b{i}", values=(1.0,)) for i in range(10))
    picture = stacked_bars(
        StackedBars(axis=TIME, bars=bars, parts=("time",)),
        size=Size(width=30, height=5),
        style=ASCII,
    )
    assert picture.rows[4].rstrip() == "7 more, 7 s"


def test_no_bars_draw_one_sentence():
    empty = stacked_bars(
        StackedBars(axis=TIME, bars=()), size=Size(width=30, height=5), style=ASCII
    )
    assert "No bars to draw yet." in str(empty)


def test_words_carry_all_the_numbers():
    chart = StackedBars(axis=TIME, bars=(Bar(label="dp", values=(0.08, 0.22), note="fitted"),))
    assert stacked_bars(chart, size=Size(width=9, height=1), style=ASCII).text == (
        "Bars of step time (s, lower is better), 300 ms in all."
        " dp: exposed 80 ms, hidden 220 ms (fitted)."
    )


def test_more_values_than_parts_are_refused():
    with pytest.raises(ValueError, match="3 values for 2 parts"):
        StackedBars(axis=TIME, bars=(Bar(label="x", values=(1.0, 2.0, 3.0)),))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8), st.integers(1, 120))
def test_a_bar_is_as_long_as_the_sum_of_its_parts(values, width):
    most = 2e6
    drawn = bar_text(tuple(values), most=most, width=width)
    exact = min(sum(values) / most * width, width)
    assert abs(len(drawn) - exact) <= 0.51 or len(drawn) == 1
    assert bool(drawn) == (sum(values) > 0)


@given(SIZES, STYLES, st.lists(st.tuples(ANY_FLOAT, ANY_FLOAT), max_size=8))
def test_any_data_fits_any_size(size, style, values):
    bars = tuple(Bar(label=f"µ{i}", values=pair) for i, pair in enumerate(values))
    picture = stacked_bars(StackedBars(axis=TIME, bars=bars), size=size, style=style)
    check_picture(picture, size=size, style=style)
