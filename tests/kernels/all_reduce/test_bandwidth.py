"""Algorithm and bus bandwidth against the closed forms of nccl-tests."""

import pytest

from kernels.all_reduce.bandwidth import (
    algorithm_bandwidth_bytes_per_s,
    bus_bandwidth_bytes_per_s,
    bus_factor,
)
from kernels.all_reduce.groups import PATTERNS


@pytest.mark.parametrize("n", [1, 2, 3, 8, 1024])
def test_factors_are_those_of_the_document(n):
    assert bus_factor("all_reduce", n) == pytest.approx(2 * (n - 1) / n)
    for operation in ("all_gather", "reduce_scatter", "all_to_all"):
        assert bus_factor(operation, n) == pytest.approx((n - 1) / n)
    assert bus_factor("point_to_point", n) == 1.0


def test_every_operation_of_the_model_has_a_factor():
    assert all(bus_factor(operation, 2) > 0 for operation in PATTERNS)


def test_eight_ranks_that_reduce_a_gigabyte_in_ten_milliseconds():
    assert algorithm_bandwidth_bytes_per_s(1e9, 0.01) == pytest.approx(100e9)
    reached = bus_bandwidth_bytes_per_s("all_reduce", message_bytes=1e9, time_s=0.01, n_ranks=8)
    assert reached == pytest.approx(175e9)


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: bus_factor("broadcast", 2), "'broadcast' is unknown; expected all_reduce"),
        (lambda: bus_factor("all_reduce", 0), "n_ranks=0; expected at least 1"),
        (lambda: algorithm_bandwidth_bytes_per_s(1.0, 0.0), "expected a time above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(call, what):
    with pytest.raises(ValueError, match=what):
        call()
