"""Error statistics against closed forms."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.validation.statistics import grouped, percentile, summarise

errors = st.lists(st.floats(-0.9, 5.0), min_size=1, max_size=50)


@given(errors)
def test_the_median_is_the_fiftieth_percentile(values):
    assert percentile(values, 0.5) == pytest.approx(statistics.median(values), abs=1e-12)


@given(errors)
def test_percentiles_lie_between_the_extremes_and_rise(values):
    shares = [percentile(values, share / 10) for share in range(11)]
    assert shares[0] == min(values)
    assert shares[-1] == max(values)
    assert all(low <= high + 1e-12 for low, high in itertools.pairwise(shares))


def test_nothing_has_no_summary():
    assert summarise([]) is None
    assert math.isnan(percentile([], 0.5))


def test_signed_errors_cancel_in_the_bias_only():
    summary = summarise([0.1, -0.1])
    assert summary is not None
    assert summary.bias == pytest.approx(0.0)
    assert summary.mape == pytest.approx(0.1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-0.5, 0.5)), max_size=30))
def test_groups_cover_every_row_once(rows):
    groups = grouped(rows, lambda row: row[0], lambda row: row[1])
    assert sum(group.n for group in groups.values()) == len(rows)
