"""Truths about the model of collectives."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.all_reduce.model import (
    CollectiveGroup,
    CollectiveMachine,
    collective_time_s,
    point_to_point_time_s,
    wire_factor,
)
from kernels.compiled_formula import FormulaCompiler

SWITCHED = CollectiveMachine(
    bandwidth_efficiency_fraction=0.85,
    latency_s=12e-6,
    latency_per_rank_s=1.5e-6,
    local_copy_fraction=0.5,
    pipeline_exponent=0.75,
    low_latency_fraction=0.5,
    low_latency_slowdown=1.5,
    in_switch_gain=1.2,
)


def group(n_ranks, per_node=8.0):
    return CollectiveGroup(
        n_ranks=float(n_ranks),
        n_ranks_per_node=float(min(n_ranks, per_node)),
        link_bandwidth_bytes_per_s=450e9,
        network_bandwidth_bytes_per_s=400e9,
        network_efficiency_fraction=0.85,
        network_latency_s=30e-6,
        network_latency_per_doubling_s=10e-6,
    )


MESSAGES = st.floats(1.0, 1e11)
RANKS = st.sampled_from([2, 4, 8, 16, 64, 1024])


@pytest.mark.parametrize("is_all_reduce", [True, False])
def test_one_rank_or_no_bytes_take_no_time(is_all_reduce):
    assert collective_time_s(1e9, is_all_reduce, SWITCHED, group(1)) == 0.0
    assert collective_time_s(0.0, is_all_reduce, SWITCHED, group(8)) == 0.0


def test_wire_factors():
    assert wire_factor(8.0, is_all_reduce=True) == pytest.approx(2 * 7 / 8)
    assert wire_factor(8.0, is_all_reduce=False) == pytest.approx(7 / 8)
    assert wire_factor(1.0, is_all_reduce=True) == 0.0


@given(ranks=RANKS, message=MESSAGES, factor=st.floats(1.0, 10.0), reduces=st.booleans())
def test_a_larger_message_is_never_faster(ranks, message, factor, reduces):
    one = group(ranks)
    small_s = collective_time_s(message, reduces, SWITCHED, one)
    assert collective_time_s(message * factor, reduces, SWITCHED, one) >= small_s * (1 - 1e-12)


@given(
    ranks=RANKS,
    message=MESSAGES,
    factor=st.floats(1.0, 10.0),
    what=st.sampled_from(
        [
            "link_bandwidth_bytes_per_s",
            "network_bandwidth_bytes_per_s",
            "network_efficiency_fraction",
        ]
    ),
)
def test_better_wires_are_never_slower(ranks, message, factor, what):
    one = group(ranks)
    better = one._replace(**{what: getattr(one, what) * factor})
    base_s = collective_time_s(message, True, SWITCHED, one)
    assert collective_time_s(message, True, SWITCHED, better) <= base_s * (1 + 1e-12)


@given(
    ranks=RANKS,
    message=MESSAGES,
    factor=st.floats(1.0, 10.0),
    what=st.sampled_from(["network_latency_s", "network_latency_per_doubling_s"]),
)
def test_a_slower_start_is_never_faster(ranks, message, factor, what):
    one = group(ranks)
    worse = one._replace(**{what: getattr(one, what) * factor})
    base_s = collective_time_s(message, True, SWITCHED, one)
    assert collective_time_s(message, True, SWITCHED, worse) >= base_s * (1 - 1e-12)


def test_a_huge_message_moves_at_the_sustained_bandwidth():
    message = 1e15
    time_s = collective_time_s(message, False, SWITCHED._replace(local_copy_fraction=0.0), group(4))
    assert time_s == pytest.approx(message * 0.75 / (0.85 * 450e9), rel=0.02)


@given(message=MESSAGES)
def test_an_all_reduce_takes_longer_than_a_gather_of_the_same_bytes(message):
    gather_s = collective_time_s(message, False, SWITCHED, group(64))
    assert collective_time_s(message, True, SWITCHED, group(64)) >= gather_s


def test_a_send_is_latency_plus_bytes_over_bandwidth():
    assert point_to_point_time_s(1e9, bandwidth_bytes_per_s=1e9, latency_s=0.5) == 1.5
    assert point_to_point_time_s(0.0, bandwidth_bytes_per_s=1e9, latency_s=0.5) == 0.0


@pytest.fixture(scope="module")
def compiled():
    return FormulaCompiler().compile(collective_time_s)


@settings(max_examples=200, deadline=None)
@given(ranks=RANKS, message=MESSAGES, reduces=st.booleans())
def test_the_compiled_twin_agrees_with_the_plain_formula(compiled, ranks, message, reduces):
    plain = collective_time_s(message, reduces, SWITCHED, group(ranks))
    fast = compiled(message, reduces, SWITCHED, group(ranks))
    assert math.isclose(plain, fast, rel_tol=1e-12)
