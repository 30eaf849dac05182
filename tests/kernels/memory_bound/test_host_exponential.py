"""The host's exponential against NumPy's in extended precision."""

import numpy as np
import pytest
from numba import njit

from kernels.memory_bound.host_exponential import exponential

ERROR = {"f4": 1e-7, "f8": 3e-16}
RANGE = {"f4": (-86.9, 88.7), "f8": (-708.0, 709.7)}


@njit
def exponential_of_all(values):
    result = np.empty_like(values)
    for i in range(values.size):
        result[i] = exponential(values[i])
    return result


@pytest.mark.parametrize("dtype", ERROR)
def test_errors_are_those_that_are_promised(dtype):
    values = np.concatenate([np.linspace(*RANGE[dtype], 300_001), np.linspace(-1, 1, 100_001)])
    values = values.astype(dtype)
    truth = np.exp(values.astype(np.longdouble))
    assert (np.abs(exponential_of_all(values) - truth) / truth).max() < ERROR[dtype]


@pytest.mark.parametrize("dtype", ERROR)
def test_extreme_values_overflow_vanish_and_stay_no_number(dtype):
    values = np.array([np.inf, 1e30, 800, -800, -1e30, -np.inf, np.nan, 0.0, -0.0], dtype)
    expected = np.array([np.inf, np.inf, np.inf, 0, 0, 0, np.nan, 1, 1], dtype)
    np.testing.assert_array_equal(exponential_of_all(values), expected)
    faint = np.linspace(RANGE[dtype][0] - 20, RANGE[dtype][0], 1000).astype(dtype)
    difference = exponential_of_all(faint) - np.exp(faint.astype(np.longdouble))
    assert np.abs(difference).max() <= 3 * np.finfo(dtype).smallest_normal
