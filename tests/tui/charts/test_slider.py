"""A slider shows a value in its range, and a click on it gives that value back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tui.charts.drawing import STYLES, body, check_picture
from tui.charts.axes import Axis
from tui.charts.picture import Size, Style
from tui.charts.slider import HANDLE, Slider, slider, value_at

CAP = Axis(name="cap", unit="W")


def test_the_handle_stands_where_the_value_is_and_the_optimum_is_marked():
    chart = Slider(axis=CAP, value=500, low=300, high=700, optima=(("energy", 500.0),))
    assert body(slider(chart, width=31, style=Style())) == (
        "cap (W)  500 W\n[==============O--------------]\n300 W          ^energy    700 W"
    )


def test_a_range_that_is_none_is_refused():
    with pytest.raises(ValueError, match="low 700 is not below high 300"):
        Slider(axis=CAP, value=500, low=700, high=300)


@given(st.integers(0, 16), st.integers(40, 120))
def test_a_click_on_the_handle_keeps_the_value(i_step, width):
    chart = Slider(axis=CAP, value=300 + 25 * i_step, low=300, high=700)
    column = slider(chart, width=width, style=Style()).rows[1].index(HANDLE)
    assert value_at(chart, column=column, width=width, step=25) == chart.value


@given(STYLES, st.floats(-1e6, 1e6), st.integers(1, 60))
def test_any_value_fits_any_width(style, value, width):
    chart = Slider(axis=CAP, value=value, low=300, high=700, optima=(("µ", value),))
    picture = slider(chart, width=width, style=style)
    check_picture(picture, size=Size(width=width, height=3), style=style)
