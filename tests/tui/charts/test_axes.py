"""Ticks are round, few enough and inside; a scale puts every value in its place."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.charts.axes import Axis, Scale, scale_for, short, tick_labels, ticks

LINEAR = Axis(name="throughput", unit="token/s", better="higher")
LOG = Axis(name="intensity", unit="flop/byte", is_log=True)
WIDE = st.floats(min_value=-1e15, max_value=1e15, allow_subnormal=False)


def leading_digits(value: float) -> float:
    return value / 10 ** math.floor(math.log10(value) + 1e-9)


@given(st.lists(WIDE, min_size=1), st.integers(1, 12))
def test_linear_ticks_are_1_2_5_steps_within_the_range(values, n_most):
    scale = scale_for(values, LINEAR)
    found = ticks(scale, n_most=n_most)
    assert len(found) <= n_most
    slack = (scale.high - scale.low) * 1e-6
    assert all(scale.low - slack <= tick <= scale.high + slack for tick in found)
    for before, after in itertools.pairwise(found):
        assert round(leading_digits(after - before), 3) in {1, 2, 5, 10}
    assert len(tick_labels(found, LINEAR)) == len(found)


@given(st.lists(st.floats(1e-12, 1e18), min_size=1), st.integers(1, 12))
def test_log_ticks_are_1_2_5_times_powers_of_ten(values, n_most):
    scale = scale_for(values, LOG)
    found = ticks(scale, n_most=n_most)
    assert len(found) <= n_most
    is_1_2_5 = all(round(leading_digits(tick), 6) in {1, 2, 5, 10} for tick in found)
    assert is_1_2_5 or scale.high < 10 * scale.low


def test_a_short_log_range_still_has_ticks_to_read_by():
    assert ticks(scale_for([5.5, 9.5], LOG), n_most=5) == (6, 7, 8, 9)


@given(st.lists(WIDE, min_size=1), st.integers(2, 300))
def test_every_value_stands_in_one_of_the_places(values, n_places):
    scale = scale_for(values, LINEAR)
    assert all(0 <= scale.position(value, n_places) < n_places for value in values)


@pytest.mark.parametrize(
    ("low", "high", "n_most", "labels"),
    [
        (0, 1.6e6, 5, ("0", "0.5M", "1.0M", "1.5M")),
        (0, 700, 4, ("0", "200", "400", "600")),
        (0.4, 1.0, 7, ("0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0")),
        (-20, 20, 3, ("-20", "0", "20")),
    ],
)
def test_linear_labels_share_one_prefix(low, high, n_most, labels):
    assert tick_labels(ticks(Scale(low, high), n_most=n_most), LINEAR) == labels


def test_money_takes_no_prefix():
    cost = Axis(name="cost", unit="EUR", has_si_prefix=False)
    assert tick_labels((0.4, 0.5, 0.6), cost) == ("0.4", "0.5", "0.6")
    assert short(0.4123, cost) == "0.4123 EUR"


def test_log_labels_carry_their_own_prefixes():
    found = ticks(Scale(1e12, 2e15, True), n_most=4)
    assert tick_labels(found, LOG) == ("1T", "10T", "100T", "1P")


def test_a_range_without_round_steps_inside_may_have_no_ticks_but_a_decade_has():
    assert ticks(Scale(1, 10, True), n_most=4) == (1, 2, 5, 10)


def test_the_title_says_quantity_unit_and_the_better_direction():
    assert LINEAR.title == "throughput (token/s, higher is better)"
    assert LOG.title == "intensity (flop/byte, log)"
    assert Axis(name="devices").title == "devices"


def test_values_are_short_and_those_that_are_none_are_not_numbers():
    assert short(1.23456e6, LINEAR) == "1.235 Mtoken/s"
    assert short(0.0, LINEAR) == "0 token/s"
    assert short(math.nan, LINEAR) == "n/a"
