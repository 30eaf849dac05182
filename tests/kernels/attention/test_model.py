"""Truths about the attention model."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.attention.model import (
    BACKWARD_PRODUCTS,
    FORWARD_PRODUCTS,
    AttentionMachine,
    AttentionShape,
    attention_backward_time,
    attention_flop,
    attention_forward_time,
)
from kernels.compiled_formula import FormulaCompiler

HOPPER = AttentionMachine(
    n_units=132.0,
    clock_hz=1.83e9,
    peak_flop_per_s=989e12,
    memory_bandwidth_bytes_per_s=3.35e12,
    matrix_efficiency_fraction=0.7,
    backward_matrix_efficiency_fraction=0.5,
    memory_efficiency_fraction=0.8,
    exponentials_per_clock_per_unit=16.0,
    block_latency_s=0.2e-6,
    diagonal_blocks=1.0,
    launch_s=10e-6,
    traffic_factor=1.8,
    join_exponent=1.8,
)

CALLS = pytest.mark.parametrize("call", [attention_forward_time, attention_backward_time])

SHAPES = st.builds(
    AttentionShape,
    batch=st.integers(1, 16).map(float),
    n_heads=st.sampled_from([8.0, 16.0, 32.0, 64.0]),
    n_kv_heads=st.sampled_from([1.0, 4.0, 8.0]),
    query_len=st.integers(1, 20_000).map(float),
    key_len=st.integers(1, 20_000).map(float),
    head_dim=st.sampled_from([40.0, 64.0, 80.0, 128.0, 256.0]),
    visible_fraction=st.sampled_from([0.5, 1.0]),
    element_bytes=st.just(2.0),
)


def test_flop_of_full_attention_is_two_products_of_two_per_multiply_add():
    one = AttentionShape(3.0, 8.0, 8.0, 512.0, 512.0, 64.0, 1.0, 2.0)
    assert attention_flop(one, FORWARD_PRODUCTS) == 4.0 * 3 * 8 * 512 * 512 * 64


def test_backward_is_five_products_and_a_causal_mask_leaves_half():
    full = AttentionShape(1.0, 8.0, 8.0, 512.0, 512.0, 64.0, 1.0, 2.0)
    causal = full._replace(visible_fraction=0.5)
    forward = attention_flop(full, FORWARD_PRODUCTS)
    assert attention_flop(full, BACKWARD_PRODUCTS) == 2.5 * forward
    assert attention_flop(causal, FORWARD_PRODUCTS) == 0.5 * forward


@CALLS
@given(
    one=SHAPES,
    factor=st.integers(1, 6),
    axis=st.sampled_from(["batch", "n_heads", "query_len", "key_len", "head_dim"]),
)
def test_more_work_is_never_faster(call, one, factor, axis):
    larger = one._replace(**{axis: getattr(one, axis) * factor})
    assert call(larger, HOPPER).time_s >= call(one, HOPPER).time_s * (1 - 1e-12)


@CALLS
@given(
    one=SHAPES,
    factor=st.floats(1.0, 8.0),
    what=st.sampled_from(
        [
            "peak_flop_per_s",
            "memory_bandwidth_bytes_per_s",
            "matrix_efficiency_fraction",
            "backward_matrix_efficiency_fraction",
            "exponentials_per_clock_per_unit",
        ]
    ),
)
def test_a_better_machine_is_never_slower(call, one, factor, what):
    better = HOPPER._replace(**{what: getattr(HOPPER, what) * factor})
    assert call(one, better).time_s <= call(one, HOPPER).time_s * (1 + 1e-12)


@CALLS
@given(
    one=SHAPES,
    factor=st.floats(1.0, 8.0),
    what=st.sampled_from(["block_latency_s", "launch_s", "traffic_factor", "diagonal_blocks"]),
)
def test_more_overhead_is_never_faster(call, one, factor, what):
    worse = HOPPER._replace(**{what: getattr(HOPPER, what) * factor})
    assert call(one, worse).time_s >= call(one, HOPPER).time_s * (1 - 1e-12)


@given(one=SHAPES)
def test_a_causal_mask_is_never_slower_than_none(one):
    causal = attention_forward_time(one._replace(visible_fraction=0.5), HOPPER)
    full = attention_forward_time(one._replace(visible_fraction=1.0), HOPPER)
    assert causal.time_s <= full.time_s * (1 + 1e-12)


def test_without_overheads_full_attention_takes_its_matrix_products():
    machine = HOPPER._replace(
        block_latency_s=0.0,
        launch_s=0.0,
        memory_bandwidth_bytes_per_s=1e30,
        exponentials_per_clock_per_unit=1e30,
    )
    one = AttentionShape(11.0, 12.0, 12.0, 8192.0, 8192.0, 128.0, 1.0, 2.0)
    expected_s = attention_flop(one, FORWARD_PRODUCTS) / (0.7 * 989e12)
    assert attention_forward_time(one, machine).time_s == pytest.approx(expected_s, rel=1e-9)


def test_one_token_takes_the_launch_floor():
    one = AttentionShape(1.0, 1.0, 1.0, 1.0, 1.0, 64.0, 1.0, 2.0)
    time_s = attention_forward_time(one, HOPPER).time_s
    assert HOPPER.launch_s < time_s < 1.5 * HOPPER.launch_s


def test_one_long_sequence_on_one_head_is_bound_by_its_longest_item():
    one = AttentionShape(1.0, 1.0, 1.0, 16384.0, 16384.0, 128.0, 0.5, 2.0)
    found = attention_forward_time(one, HOPPER)
    assert found.longest_item_s > found.schedule_s


@pytest.fixture(scope="module")
def compiler():
    return FormulaCompiler()


@CALLS
@settings(max_examples=100, deadline=None)
@given(one=SHAPES)
def test_the_compiled_twin_agrees_with_the_plain_formula(compiler, call, one):
    plain, fast = call(one, HOPPER), compiler.compile(call)(one, HOPPER)
    assert all(math.isclose(a, b, rel_tol=1e-12) for a, b in zip(plain, fast, strict=True))
