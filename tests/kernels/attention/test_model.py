"""Truths about the attention model."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_profiles.calibration import AttentionCalibration, Provenance
from hardware_profiles.catalogue import Catalogue
from kernels.attention.machine import attention_machine
from kernels.attention.model import (
    BACKWARD_PRODUCTS,
    FORWARD_PRODUCTS,
    AttentionMachine,
    AttentionShape,
    attention_backward_time,
    attention_flop,
    attention_forward_time,
    cached_traffic_time_s,
)
from kernels.compiled_formula import FormulaCompiler

HOPPER = AttentionMachine(
    n_units=132.0,
    clock_hz=1.83e9,
    peak_flop_per_s=989e12,
    memory_bandwidth_bytes_per_s=3.35e12,
    cache_bytes=25e6,
    matrix_efficiency_fraction=0.75,
    memory_efficiency_fraction=0.8,
    exponentials_per_clock_per_unit=16.0,
    join_exponent=2.5,
    block_latency_s=0.2e-6,
    item_latency_s=2e-6,
    item_latency_fixed_fraction=0.3,
    diagonal_blocks=0.7,
    wave_smoothing_fraction=0.2,
    lone_item_ratio=2.0,
    split_s=10e-6,
    query_block=128.0,
    narrow_query_block=192.0,
    least_query_block=64.0,
    group_packing_fraction=0.9,
    token_packing_fraction=0.3,
    head_96_over_64_ratio=1.4,
    head_128_over_96_ratio=1.3,
    head_192_over_128_ratio=1.5,
    head_256_over_192_ratio=1.3,
    head_512_over_256_ratio=2.5,
    unaligned_head_ratio=1.05,
    launch_s=7e-6,
    traffic_factor=1.0,
    side_query_ratio=0.5,
    side_key_ratio=2.0,
    droop_fraction=0.1,
    backward_matrix_efficiency_fraction=0.6,
    backward_latency_ratio=1.0,
    backward_side_ratio=3.0,
    backward_launch_s=30e-6,
)

CALLS = pytest.mark.parametrize("call", [attention_forward_time, attention_backward_time])

SHAPES = st.builds(
    AttentionShape,
    batch=st.integers(1, 16).map(float),
    n_heads=st.sampled_from([8.0, 16.0, 32.0, 64.0]),
    n_kv_heads=st.sampled_from([1.0, 4.0, 8.0]),
    query_len=st.integers(1, 20_000).map(float),
    key_len=st.integers(1, 20_000).map(float),
    head_dim=st.sampled_from([32.0, 64.0, 80.0, 96.0, 128.0, 192.0, 256.0]),
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
    what=st.sampled_from(
        [
            "block_latency_s",
            "item_latency_s",
            "launch_s",
            "backward_launch_s",
            "split_s",
            "traffic_factor",
            "diagonal_blocks",
            "lone_item_ratio",
            "side_key_ratio",
            "unaligned_head_ratio",
        ]
    ),
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
        item_latency_s=0.0,
        launch_s=0.0,
        side_query_ratio=0.0,
        side_key_ratio=0.0,
        droop_fraction=0.0,
        memory_bandwidth_bytes_per_s=1e30,
        exponentials_per_clock_per_unit=1e30,
    )
    # As many items as whole waves over the units.
    one = AttentionShape(11.0, 12.0, 12.0, 8192.0, 8192.0, 128.0, 1.0, 2.0)
    expected_s = attention_flop(one, FORWARD_PRODUCTS) / (0.75 * 989e12)
    assert attention_forward_time(one, machine).time_s == pytest.approx(expected_s, rel=1e-4)


def test_one_token_takes_the_launch_floor():
    one = AttentionShape(1.0, 1.0, 1.0, 1.0, 1.0, 64.0, 1.0, 2.0)
    time_s = attention_forward_time(one, HOPPER).time_s
    assert HOPPER.launch_s < time_s < 2.0 * HOPPER.launch_s


def test_a_short_sequence_on_one_head_is_bound_by_its_longest_item():
    one = AttentionShape(1.0, 1.0, 1.0, 4096.0, 4096.0, 128.0, 0.5, 2.0)
    found = attention_forward_time(one, HOPPER._replace(split_s=1.0))
    assert found.longest_item_s > found.schedule_s
    assert found.n_splits == 1.0


def test_splitting_keys_helps_a_few_heads_and_not_many():
    few = AttentionShape(1.0, 1.0, 1.0, 16384.0, 16384.0, 128.0, 1.0, 2.0)
    many = few._replace(batch=16.0, n_heads=16.0, n_kv_heads=16.0)
    assert attention_forward_time(few, HOPPER).n_splits > 1.0
    assert attention_forward_time(many, HOPPER).n_splits == 1.0


@given(one=SHAPES, query_len=st.integers(1, 512).map(float))
def test_shared_keys_are_never_slower_than_keys_of_their_own(one, query_len):
    shared = one._replace(query_len=query_len, n_kv_heads=1.0)
    own = shared._replace(n_kv_heads=one.n_heads)
    assert attention_forward_time(shared, HOPPER).time_s <= attention_forward_time(
        own, HOPPER
    ).time_s * (1 + 1e-12)


def test_shared_keys_are_less_traffic():
    own = AttentionShape(4.0, 32.0, 32.0, 2048.0, 2048.0, 128.0, 0.5, 2.0)
    shared = own._replace(n_kv_heads=8.0)
    for call in (attention_forward_time, attention_backward_time):
        assert call(shared, HOPPER).memory_s < call(own, HOPPER).memory_s


@given(one=SHAPES)
def test_the_backward_pass_takes_longer_than_the_forward_one(one):
    bare = HOPPER._replace(side_query_ratio=0.0, side_key_ratio=0.0, group_packing_fraction=0.0)
    bare = bare._replace(token_packing_fraction=0.0, split_s=1.0)
    assert attention_backward_time(one, bare).time_s > attention_forward_time(one, bare).time_s


def test_a_head_dim_that_is_no_multiple_of_16_costs_its_factor():
    one = AttentionShape(16.0, 16.0, 16.0, 8192.0, 8192.0, 80.0, 1.0, 2.0)
    slow = HOPPER._replace(unaligned_head_ratio=4.0)
    ratio = (
        attention_forward_time(one._replace(head_dim=72.0), slow).time_s
        / attention_forward_time(one, slow).time_s
    )
    assert 2.5 < ratio < 4.0


def test_traffic_that_fits_the_cache_is_up_to_four_times_faster():
    small, large = 1e6, 1e10
    times = [
        cached_traffic_time_s(
            1e6, working_set_bytes=one, cache_bytes=5e7, bandwidth_bytes_per_s=1e12
        )
        for one in (small, large)
    ]
    assert times[0] == pytest.approx(0.25e-6, rel=1e-3)
    assert times[1] == pytest.approx(1e-6, rel=1e-3)


def test_defaults_of_a_profile_describe_a_kernel_without_side_traffic():
    provenance = Provenance(figure_class="assumed", source="test", relative_spread_fraction=0.1)
    fitted = AttentionCalibration(
        matrix_efficiency_fraction=0.7,
        memory_efficiency_fraction=0.8,
        exponentials_per_clock_per_unit=16.0,
        block_latency_s=0.2e-6,
        diagonal_blocks=1.0,
        launch_s=10e-6,
        traffic_factor=1.8,
        join_exponent=1.8,
        backward_matrix_efficiency_fraction=0.5,
        provenance=provenance,
        backward_provenance=provenance,
    )
    device = Catalogue().accelerator("h100-sxm")
    machine = attention_machine(device, fitted, peak_flop_per_s=989e12, clock_fraction=0.8)
    one = AttentionShape(2.0, 32.0, 8.0, 8192.0, 8192.0, 128.0, 0.5, 2.0)
    assert attention_forward_time(one, machine).side_s == 0.0
    assert machine.block_latency_s == pytest.approx(0.25e-6)
    assert machine.backward_launch_s == 10e-6
    assert machine.cache_bytes == 0.0


@pytest.fixture(scope="module")
def compiler():
    return FormulaCompiler()


@CALLS
@settings(max_examples=100, deadline=None)
@given(one=SHAPES)
def test_the_compiled_twin_agrees_with_the_plain_formula(compiler, call, one):
    plain, fast = call(one, HOPPER), compiler.compile(call)(one, HOPPER)
    assert all(math.isclose(a, b, rel_tol=1e-12) for a, b in zip(plain, fast, strict=True))


@given(exponentials=st.floats(4.0, 64.0), length=st.integers(9, 15), ratio=st.floats(1.0, 4.0))
def test_more_exponentials_help_where_they_bind_and_never_hurt(exponentials, length, ratio):
    tokens = 2.0**length
    shape = AttentionShape(2.0, 16.0, 4.0, tokens, tokens, 128.0, 0.5, 2.0)
    slow = HOPPER._replace(exponentials_per_clock_per_unit=exponentials)
    fast = slow._replace(exponentials_per_clock_per_unit=ratio * exponentials)
    gain = attention_forward_time(shape, slow).time_s / attention_forward_time(shape, fast).time_s
    assert 1.0 - 1e-12 <= gain <= ratio * (1.0 + 1e-9)


def test_blackwell_ultra_has_the_exponentials_of_two():
    catalogue = Catalogue()
    fitted = catalogue.accelerator("gb200").calibration.attention["flash-4"]
    rates = {
        name: attention_machine(catalogue.accelerator(name), fitted, peak_flop_per_s=2.5e15)
        for name in ("gb200", "gb300")
    }
    assert rates["gb300"].exponentials_per_clock_per_unit == pytest.approx(
        2.0 * rates["gb200"].exponentials_per_clock_per_unit
    )
