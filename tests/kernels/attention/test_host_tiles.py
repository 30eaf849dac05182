"""The host's own exponential against NumPy's."""

import numpy as np
import pytest
from numba import njit

from kernels.attention.host_tiles import exp2_nonpositive


@njit
def exp2_of_all(values):
    result = np.empty_like(values)
    for i in range(values.size):
        result[i] = exp2_nonpositive(values[i])
    return result


@pytest.mark.parametrize(("dtype", "least"), [("f4", -125.0), ("f8", -1021.0)])
def test_exponentials_are_within_two_units_in_the_last_place(dtype, least):
    values = np.concatenate([np.linspace(least, 0, 200_001), np.linspace(-1, 0.5, 100_001)])
    values = values.astype(dtype)
    truth = np.exp2(values.astype(np.longdouble))
    error = np.abs(exp2_of_all(values) - truth) / truth
    assert error.max() < 2 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_integers_are_exact_and_what_is_too_small_is_zero(dtype):
    whole = np.array([0, -1, -2, -10, -126], dtype)
    np.testing.assert_array_equal(exp2_of_all(whole), np.exp2(whole))
    np.testing.assert_array_equal(exp2_of_all(np.array([-2000, -1e30, -np.inf], dtype)), 0)
    assert np.isnan(exp2_of_all(np.array([np.nan], dtype))).all()
