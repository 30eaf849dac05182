"""A window is a part of the plane: it never leaves the whole, and zooming can be taken back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.charts.axes import Scale
from tui.charts.window import WHOLE, Window

FRACTIONS = st.floats(0.0, 1.0)
PLACES = st.tuples(FRACTIONS, FRACTIONS)


def inside(window: Window) -> bool:
    return (
        0.0 <= window.left < window.right <= 1.0 + 1e-12
        and 0.0 <= window.low < window.high <= 1.0 + 1e-12
    )


@given(st.lists(st.tuples(st.integers(-3, 3), PLACES, st.floats(-1, 1)), max_size=12))
def test_no_order_of_steps_leaves_the_whole(steps):
    window = WHOLE
    for n_steps, place, share in steps:
        window = window.zoomed(n_steps, about=place).moved(right=share, up=-share)
        assert inside(window)
    assert window.zoomed(-20).is_whole


@given(PLACES)
def test_the_place_zoomed_about_stays_in_sight(place):
    window = WHOLE
    for _ in range(12):
        window = window.zoomed(1, about=place)
        assert window.left - 1e-9 <= place[0] <= window.right + 1e-9
        assert window.low - 1e-9 <= place[1] <= window.high + 1e-9


@given(PLACES, PLACES)
def test_what_is_asked_for_comes_into_sight(place, about):
    shown = WHOLE.zoomed(3, about=about).showing(place)
    assert inside(shown)
    assert shown.left - 1e-9 <= place[0] <= shown.right + 1e-9


def test_scales_are_cut_by_fraction():
    half = Window(left=0.5, right=1.0, low=0.0, high=0.5)
    log = half.across(Scale(1.0, 100.0, True))
    assert log.low == pytest.approx(10.0)
    assert log.high == pytest.approx(100.0)
    linear = half.upward(Scale(0.0, 10.0))
    assert (linear.low, linear.high) == (0.0, 5.0)
