"""How wide intervals have to be: the share of measured values that they hold."""

from __future__ import annotations

import numpy as np
import pytest

from twin.fitting.spread import NARROWEST, Deviation, width
from twin.training.framework import framework, framework_names, home_of


def normal_runs(source, sigma, n, *, known=0.0):
    errors = np.random.default_rng(n).normal(0.0, sigma, n)
    return [Deviation(source, float(error), known) for error in errors]


def test_the_width_of_normal_errors_is_their_standard_deviation():
    assert width(normal_runs("a", 0.1, 20_000), {}) == pytest.approx(0.1, rel=0.03)


def test_what_kernels_account_for_is_not_counted_twice():
    runs = normal_runs("a", 0.1, 20_000, known=0.06**2)
    assert width(runs, {}) == pytest.approx(0.08, rel=0.05)
    assert width(normal_runs("a", 0.1, 1_000, known=1.0), {}) == pytest.approx(NARROWEST)


def test_sources_count_alike_however_many_rows_they_have():
    good, bad = normal_runs("good", 0.02, 2_000), normal_runs("bad", 0.2, 50)
    both = width(good + bad, {})
    assert both > 2.0 * width(good, {})
    assert width(good + bad, {"bad": 1e-6}) == pytest.approx(width(good, {}), rel=0.01)


@pytest.mark.parametrize("name", framework_names())
def test_every_framework_inherits_its_spread_from_the_file_that_states_it(name):
    home = home_of(name, "relative_spread_fraction")
    expected = framework(home).relative_spread_fraction
    assert framework(name).relative_spread_fraction == expected
