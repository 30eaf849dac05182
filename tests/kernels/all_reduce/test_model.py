"""Truths about the model of collectives."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.all_reduce.implementation import (
    VENDOR,
    ImplementationMachine,
    implementation_time_s,
)
from kernels.all_reduce.model import (
    PATTERNS,
    CollectiveGroup,
    CollectiveMachine,
    NetworkMachine,
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

NETWORK = NetworkMachine(
    ring_efficiency_fraction=0.85,
    tree_efficiency_fraction=0.75,
    latency_s=30e-6,
    latency_per_doubling_s=10e-6,
    latency_per_hop_s=15e-6,
    chunk_ratio=2.0,
    decline_exponent=0.01,
)

GRAPH = ImplementationMachine(
    host_s=0.0,
    copy_passes=0.0,
    latency_ratio=1.0,
    bandwidth_ratio=1.0,
    kernel_latency_s=3e-6,
    kernel_latency_per_rank_s=0.2e-6,
    kernel_efficiency_fraction=0.65,
    kernel_limit_bytes=8e6,
    memory_bandwidth_bytes_per_s=3.35e12,
)

ALL_REDUCE, ALL_GATHER = PATTERNS["all_reduce"], PATTERNS["all_gather"]


def group(n_ranks, per_node=8.0):
    return CollectiveGroup(
        n_ranks=float(n_ranks),
        n_ranks_per_node=float(min(n_ranks, per_node)),
        link_bandwidth_bytes_per_s=450e9,
        network_bandwidth_bytes_per_s=400e9,
        network=NETWORK,
    )


def with_network(one, **changes):
    return one._replace(network=one.network._replace(**changes))


MESSAGES = st.floats(1.0, 1e11)
RANKS = st.sampled_from([2, 4, 8, 16, 64, 1024])
PATTERN = st.sampled_from([PATTERNS[name] for name in ("all_reduce", "all_gather", "all_to_all")])


@pytest.mark.parametrize("name", ["all_reduce", "all_gather", "all_to_all"])
def test_one_rank_or_no_bytes_take_no_time(name):
    assert collective_time_s(1e9, PATTERNS[name], SWITCHED, group(1)) == 0.0
    assert collective_time_s(0.0, PATTERNS[name], SWITCHED, group(8)) == 0.0
    assert implementation_time_s(0.0, PATTERNS[name], GRAPH, SWITCHED, group(8)) == 0.0


def test_wire_factors():
    assert wire_factor(8.0, ALL_REDUCE) == pytest.approx(2 * 7 / 8)
    assert wire_factor(8.0, ALL_GATHER) == pytest.approx(7 / 8)
    assert wire_factor(2.0, PATTERNS["point_to_point"]) == 1.0
    assert wire_factor(1.0, ALL_REDUCE) == 0.0


@given(ranks=RANKS, message=MESSAGES, factor=st.floats(1.0, 10.0), pattern=PATTERN)
def test_a_larger_message_is_never_faster(ranks, message, factor, pattern):
    one = group(ranks)
    small_s = collective_time_s(message, pattern, SWITCHED, one)
    assert collective_time_s(message * factor, pattern, SWITCHED, one) >= small_s * (1 - 1e-12)


@given(ranks=st.sampled_from([2, 3, 4, 5, 6]), message=MESSAGES, pattern=PATTERN)
def test_one_more_rank_in_the_node_is_never_faster(ranks, message, pattern):
    fewer_s = collective_time_s(message, pattern, SWITCHED, group(ranks))
    more_s = collective_time_s(message, pattern, SWITCHED, group(ranks + 1))
    assert more_s >= fewer_s * (1 - 1e-12)


@given(nodes=st.sampled_from([2, 3, 4, 8, 64, 512]), message=MESSAGES, pattern=PATTERN)
def test_twice_the_nodes_are_never_faster(nodes, message, pattern):
    fewer_s = collective_time_s(message, pattern, SWITCHED, group(8 * nodes))
    more_s = collective_time_s(message, pattern, SWITCHED, group(16 * nodes))
    assert more_s >= fewer_s * (1 - 1e-12)


@given(
    ranks=RANKS,
    message=MESSAGES,
    factor=st.floats(1.0, 10.0),
    what=st.sampled_from(["link_bandwidth_bytes_per_s", "network_bandwidth_bytes_per_s"]),
)
def test_better_wires_are_never_slower(ranks, message, factor, what):
    one = group(ranks)
    better = one._replace(**{what: getattr(one, what) * factor})
    base_s = collective_time_s(message, ALL_REDUCE, SWITCHED, one)
    assert collective_time_s(message, ALL_REDUCE, SWITCHED, better) <= base_s * (1 + 1e-12)


@given(
    ranks=RANKS,
    message=MESSAGES,
    factor=st.floats(1.0, 10.0),
    what=st.sampled_from(
        ["latency_s", "latency_per_doubling_s", "latency_per_hop_s", "chunk_ratio"]
    ),
)
def test_a_slower_start_is_never_faster(ranks, message, factor, what):
    one = group(ranks)
    worse = with_network(one, **{what: getattr(one.network, what) * factor})
    base_s = collective_time_s(message, ALL_REDUCE, SWITCHED, one)
    assert collective_time_s(message, ALL_REDUCE, SWITCHED, worse) >= base_s * (1 - 1e-12)


def test_a_huge_message_moves_at_the_sustained_bandwidth():
    message = 1e15
    machine = SWITCHED._replace(local_copy_fraction=0.0)
    time_s = collective_time_s(message, ALL_GATHER, machine, group(4))
    assert time_s == pytest.approx(message * 0.75 / (0.85 * 450e9), rel=0.02)


def test_the_bus_bandwidth_stays_below_the_link():
    for ranks in (2, 4, 6):
        time_s = collective_time_s(1e9, ALL_REDUCE, SWITCHED, group(ranks))
        assert 1e9 * wire_factor(ranks, ALL_REDUCE) / time_s < 450e9


def test_the_switch_adds_from_eight_ranks_on():
    plain = SWITCHED._replace(in_switch_gain=1.0)
    for ranks, gain in ((4, 1.0), (8, 1.2)):
        with_switch_s = collective_time_s(1e12, ALL_REDUCE, SWITCHED, group(ranks))
        without_s = collective_time_s(1e12, ALL_REDUCE, plain, group(ranks))
        assert without_s / with_switch_s == pytest.approx(gain, rel=0.01)


@given(message=MESSAGES)
def test_an_all_reduce_takes_longer_than_a_gather_of_the_same_bytes(message):
    gather_s = collective_time_s(message, ALL_GATHER, SWITCHED, group(8))
    assert collective_time_s(message, ALL_REDUCE, SWITCHED, group(8)) >= gather_s


def test_two_nodes_send_the_message_once_and_not_twice():
    """A tree adds up inside the node; a ring would move 2(p-1)/p of the message."""
    one = with_network(group(16), tree_efficiency_fraction=0.85)
    one = one._replace(link_bandwidth_bytes_per_s=1e15)
    time_s = collective_time_s(1e12, ALL_REDUCE, SWITCHED, one)
    assert time_s == pytest.approx(1e12 / (0.85 * 400e9), rel=0.05)


def test_many_nodes_of_a_large_message_take_the_ring_and_of_a_small_one_the_tree():
    slow_tree = with_network(group(256), tree_efficiency_fraction=0.3)
    slow_hops = with_network(group(256), latency_per_hop_s=1e-3)
    base_s = collective_time_s(1e12, ALL_REDUCE, SWITCHED, group(256))
    assert collective_time_s(1e12, ALL_REDUCE, SWITCHED, slow_tree) < 1.1 * base_s
    small_s = collective_time_s(1e3, ALL_REDUCE, SWITCHED, group(256))
    assert collective_time_s(1e3, ALL_REDUCE, SWITCHED, slow_hops) < 1.1 * small_s


def test_all_to_all_sends_what_every_rank_of_a_node_has_for_others():
    time_s = collective_time_s(1e12, PATTERNS["all_to_all"], SWITCHED, group(16))
    least_s = 8 * 0.5 * 1e12 / (0.85 * 400e9)
    assert least_s < time_s < 1.2 * least_s


def test_a_send_is_latency_plus_bytes_over_bandwidth():
    assert point_to_point_time_s(1e9, bandwidth_bytes_per_s=1e9, latency_s=0.5) == 1.5
    assert point_to_point_time_s(0.0, bandwidth_bytes_per_s=1e9, latency_s=0.5) == 0.0


@given(ranks=RANKS, message=MESSAGES, pattern=PATTERN)
def test_the_vendors_library_is_the_model_itself(ranks, message, pattern):
    one = group(ranks)
    plain_s = collective_time_s(message, pattern, SWITCHED, one)
    assert implementation_time_s(message, pattern, VENDOR, SWITCHED, one) == pytest.approx(plain_s)


def test_own_kernels_win_small_messages_and_leave_large_ones_to_the_vendor():
    for ranks in (2, 4, 8):
        small_s = implementation_time_s(1e4, ALL_REDUCE, GRAPH, SWITCHED, group(ranks))
        assert small_s < collective_time_s(1e4, ALL_REDUCE, SWITCHED, group(ranks))
        large_s = implementation_time_s(1e9, ALL_REDUCE, GRAPH, SWITCHED, group(ranks))
        vendor_s = collective_time_s(1e9, ALL_REDUCE, SWITCHED, group(ranks))
        assert large_s == pytest.approx(vendor_s, rel=1e-3)


@given(message=MESSAGES)
def test_host_time_and_copies_only_add(message):
    eager = GRAPH._replace(host_s=20e-6, copy_passes=2.0)
    base_s = implementation_time_s(message, ALL_REDUCE, GRAPH, SWITCHED, group(8))
    slower_s = implementation_time_s(message, ALL_REDUCE, eager, SWITCHED, group(8))
    assert slower_s >= max(base_s, 20e-6) * (1 - 1e-12)


@pytest.fixture(scope="module")
def compiled():
    return FormulaCompiler().compile(implementation_time_s)


@settings(max_examples=200, deadline=None)
@given(ranks=RANKS, message=MESSAGES, pattern=PATTERN, library=st.sampled_from([VENDOR, GRAPH]))
def test_the_compiled_twin_agrees_with_the_plain_formula(
    compiled, ranks, message, pattern, library
):
    plain = implementation_time_s(message, pattern, library, SWITCHED, group(ranks))
    fast = compiled(message, pattern, library, SWITCHED, group(ranks))
    assert math.isclose(plain, fast, rel_tol=1e-12)
