"""Memory streams on the host compute what they claim and count what they move."""

import numpy as np
import pytest

from kernels.memory_bound.cpu import (
    copy_bytes,
    copy_numpy,
    parallel_streams,
    triad_bytes,
    triad_numpy,
)


@pytest.mark.parametrize("n", [0, 1, 1000, 40_001])
@pytest.mark.parametrize("is_parallel", [False, True])
def test_streams_write_every_element(n, is_parallel):
    copy = parallel_streams()["copy"] if is_parallel else copy_numpy
    triad = parallel_streams()["triad"] if is_parallel else triad_numpy
    random = np.random.default_rng(0)
    first, second = random.standard_normal((2, n))
    target = np.full(n, np.nan)
    copy(target, first)
    np.testing.assert_array_equal(target, first)
    target[:] = np.nan
    triad(target, first, second)
    np.testing.assert_allclose(target, first + 3.0 * second, rtol=1e-15, atol=1e-15)


def test_traffic_counts_each_operand_once():
    assert copy_bytes(10) == 160
    assert triad_bytes(10) == 240
