"""The correction grid: exact at its nodes, linear between, silent outside."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles.calibration import Residual
from kernels.calibration.fit_residual import ResidualFitter
from kernels.residual import NO_RESIDUAL, residual_grid, residual_log

RNG = np.random.default_rng(5)
RESIDUAL = Residual(
    starts_log2=(0.0, 4.0, 5.0),
    steps_log2=(2.0, 1.0, 2.0),
    counts=(4, 3, 2),
    values_permille=" ".join(str(value) for value in RNG.integers(-300, 300, size=24)),
)
GRID = residual_grid(RESIDUAL)
EXPONENTS = st.floats(-4.0, 20.0)


def at(*exponents):
    return residual_log(*(2.0**exponent for exponent in exponents), GRID)


def test_a_node_holds_its_value():
    for number, value in enumerate(RESIDUAL.values):
        i, j, k = np.unravel_index(number, RESIDUAL.counts)
        assert at(2.0 * i, 4.0 + j, 5.0 + 2.0 * k) == pytest.approx(1e-3 * value, abs=1e-12)


def test_between_two_nodes_it_is_their_mean():
    middle = at(1.0, 4.0, 5.0)
    assert middle == pytest.approx((at(0.0, 4.0, 5.0) + at(2.0, 4.0, 5.0)) / 2.0)


def test_one_step_outside_and_beyond_it_is_silent():
    assert at(-2.0, 4.0, 5.0) == 0.0
    assert at(8.0, 4.0, 5.0) == 0.0
    assert at(0.0, 30.0, 5.0) == 0.0


@given(EXPONENTS, EXPONENTS, EXPONENTS)
def test_it_is_bounded_by_its_largest_value(x, y, z):
    assert abs(at(x, y, z)) <= 1e-3 * max(map(abs, RESIDUAL.values)) + 1e-12


@given(EXPONENTS, EXPONENTS, EXPONENTS, st.integers(0, 2))
def test_it_has_no_steps(x, y, z, axis):
    point = [x, y, z]
    near = list(point)
    near[axis] += 1e-7
    assert at(*near) == pytest.approx(at(*point), abs=1e-5)


def test_no_correction_corrects_nothing():
    assert residual_log(10.0, 20.0, 30.0, NO_RESIDUAL) == 0.0


def test_compiled_and_plain_agree():
    sizes = 2.0 ** RNG.uniform(-2.0, 12.0, size=(200, 3))
    plain = [residual_log(*(float(size) for size in row), GRID) for row in sizes]
    assert ResidualFitter().logs(sizes, RESIDUAL) == pytest.approx(plain, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"counts": (4, 3, 3)}, "expected 36 numbers"),
        ({"values_permille": "1 2 many"}, "whole numbers"),
        ({"starts_log2": (0.0, 1.0)}, "expected 3 numbers"),
        ({"steps_log2": (0.0, 1.0, 1.0)}, "above 0"),
    ],
)
def test_a_grid_that_does_not_add_up_is_refused(change, complaint):
    fields = {name: getattr(RESIDUAL, name) for name in RESIDUAL.__struct_fields__}
    with pytest.raises(ValueError, match=complaint):
        Residual(**(fields | change))


def test_log_two_is_one_octave():
    assert at(math.log2(1.0), 4.0, 5.0) == at(0.0, 4.0, 5.0)
