"""Truths about the streaming model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.memory_bound.model import StreamMachine, stream_time_s

MACHINE = StreamMachine(
    memory_bandwidth_bytes_per_s=3.35e12, bandwidth_efficiency_fraction=0.87, launch_s=2.5e-6
)


def test_nothing_to_move_takes_the_launch_floors():
    assert stream_time_s(0.0, 3.0, MACHINE) == pytest.approx(7.5e-6)


@given(traffic=st.floats(0.0, 1e13), factor=st.floats(1.0, 10.0))
def test_more_traffic_never_faster_and_more_bandwidth_never_slower(traffic, factor):
    base_s = stream_time_s(traffic, 1.0, MACHINE)
    faster = MACHINE._replace(memory_bandwidth_bytes_per_s=3.35e12 * factor)
    assert stream_time_s(traffic * factor, 1.0, MACHINE) >= base_s
    assert stream_time_s(traffic, 1.0, faster) <= base_s


def test_a_long_stream_runs_at_the_sustained_bandwidth():
    assert stream_time_s(1e13, 1.0, MACHINE) == pytest.approx(1e13 / (0.87 * 3.35e12), rel=1e-5)
