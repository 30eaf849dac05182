"""A sparkline rises where its values rise, and leaves a gap where one is missing."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tests.tui.charts.drawing import ANY_FLOAT, STYLES, check_picture
from tui.charts.axes import Axis
from tui.charts.picture import Size, Style
from tui.charts.sparkline import sparkline

RATE = Axis(name="speed", unit="token/s")


def test_rising_values_rise():
    drawn = sparkline(range(8), axis=RATE, width=10, style=Style())
    assert drawn.rows == ("▁▂▃▄▅▆▇█  ",)
    assert sparkline(range(8), axis=RATE, width=8, style=Style(markers="ascii")).rows == (
        "_.-~=+*#",
    )


def test_a_missing_value_is_a_gap_and_none_at_all_is_said():
    assert sparkline((1, math.nan, 2), axis=RATE, width=3, style=Style()).rows == ("▁ █",)
    assert sparkline((), axis=RATE, width=12, style=Style()).rows == ("no values   ",)


def test_more_values_than_cells_are_averaged():
    assert sparkline((0, 0, 6, 6), axis=RATE, width=2, style=Style()).rows == ("▁█",)


@given(STYLES, st.lists(ANY_FLOAT, max_size=40), st.integers(1, 30))
def test_any_data_fits_any_width(style, values, width):
    picture = sparkline(values, axis=RATE, width=width, style=style)
    check_picture(picture, size=Size(width=width, height=1), style=style)
