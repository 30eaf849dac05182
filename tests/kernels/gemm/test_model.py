"""Truths about the GEMM model."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.compiled_formula import FormulaCompiler
from kernels.gemm.model import GemmMachine, GemmShape, compulsory_traffic_bytes, gemm_time

HOPPER = GemmMachine(
    n_units=132.0,
    peak_flop_per_s=989e12,
    memory_bandwidth_bytes_per_s=3.35e12,
    tensor_efficiency_fraction=0.85,
    memory_efficiency_fraction=0.82,
    launch_s=2.4e-6,
    feed_bytes_per_s=19e12,
    fill_repeat_fraction=1.0,
    fill_depth=170.0,
    wave_smoothing_fraction=0.9,
    split_s=2.4e-6,
    droop_fraction=0.18,
    droop_time_s=4e-3,
    overlap_exponent=6.0,
    stride_conflict_ratio=0.0,
    stride_period_bytes=131072.0,
)

CONFLICTED = HOPPER._replace(stride_conflict_ratio=8.0)

SIZES = st.integers(1, 70_000)
GROWTH = st.floats(1.0, 8.0)


def shape(m, n, k):
    return GemmShape(float(m), float(n), float(k), 2.0, 2.0, 2.0, 1.0)


@given(m=SIZES, n=SIZES, k=SIZES, more=st.integers(0, 5000), axis=st.sampled_from("mnk"))
def test_a_larger_product_is_never_faster(m, n, k, more, axis):
    small = shape(m, n, k)
    large = small._replace(**{axis: getattr(small, axis) + more})
    assert gemm_time(large, HOPPER).time_s >= gemm_time(small, HOPPER).time_s * (1 - 1e-12)


@given(
    m=SIZES,
    n=SIZES,
    k=SIZES,
    factor=GROWTH,
    what=st.sampled_from(
        [
            "peak_flop_per_s",
            "memory_bandwidth_bytes_per_s",
            "tensor_efficiency_fraction",
            "memory_efficiency_fraction",
            "feed_bytes_per_s",
        ]
    ),
)
def test_a_better_machine_is_never_slower(m, n, k, factor, what):
    better = HOPPER._replace(**{what: getattr(HOPPER, what) * factor})
    one = shape(m, n, k)
    assert gemm_time(one, better).time_s <= gemm_time(one, HOPPER).time_s * (1 + 1e-12)


@given(
    m=SIZES,
    n=SIZES,
    k=SIZES,
    factor=GROWTH,
    what=st.sampled_from(["launch_s", "fill_depth", "split_s", "droop_fraction"]),
)
def test_more_overhead_is_never_faster(m, n, k, factor, what):
    worse = HOPPER._replace(**{what: getattr(HOPPER, what) * factor})
    one = shape(m, n, k)
    assert gemm_time(one, worse).time_s >= gemm_time(one, HOPPER).time_s * (1 - 1e-12)


def test_with_unlimited_bandwidth_a_full_product_takes_its_arithmetic():
    machine = HOPPER._replace(
        memory_bandwidth_bytes_per_s=1e30,
        feed_bytes_per_s=1e30,
        wave_smoothing_fraction=1.0,
        fill_repeat_fraction=1.0,
        fill_depth=0.0,
        launch_s=0.0,
        droop_fraction=0.0,
    )
    one = shape(8192, 8192, 8192)
    expected_s = 2.0 * 8192.0**3 / (0.85 * 989e12)
    assert gemm_time(one, machine).time_s == pytest.approx(expected_s, rel=1e-9)


def test_with_unlimited_arithmetic_a_product_takes_its_traffic():
    machine = HOPPER._replace(
        peak_flop_per_s=1e30, feed_bytes_per_s=1e30, launch_s=0.0, droop_fraction=0.0
    )
    one = shape(4096, 4096, 4096)
    expected_s = compulsory_traffic_bytes(one) / (0.82 * 3.35e12)
    assert gemm_time(one, machine).time_s == pytest.approx(expected_s, rel=1e-6)


def test_a_tiny_product_takes_the_launch_floor():
    time_s = gemm_time(shape(1, 1, 1), HOPPER).time_s
    assert HOPPER.launch_s < time_s < 1.5 * HOPPER.launch_s


def test_splitting_the_depth_fills_an_empty_device():
    deep = gemm_time(shape(128, 128, 65536), HOPPER)
    assert deep.n_splits > 1.0


def test_rows_a_power_of_two_apart_share_channels():
    aligned, beside = shape(8192, 8192, 65536), shape(8192, 8192, 65536 + 8)
    assert gemm_time(aligned, CONFLICTED).time_s > 1.3 * gemm_time(beside, CONFLICTED).time_s
    assert gemm_time(aligned, HOPPER).time_s < gemm_time(beside, HOPPER).time_s


@given(m=SIZES, n=SIZES, k=SIZES)
def test_conflicts_are_never_faster_and_spare_odd_depths(m, n, k):
    one = shape(m, n, k)
    slow_s, plain_s = (gemm_time(one, machine).time_s for machine in (CONFLICTED, HOPPER))
    assert slow_s >= plain_s * (1 - 1e-12)
    odd = one._replace(k=2.0 * (k // 2) + 1.0)
    assert gemm_time(odd, CONFLICTED).time_s == pytest.approx(
        gemm_time(odd, HOPPER).time_s, rel=1e-3
    )


def test_a_split_depth_begins_at_several_places():
    deep = shape(128, 128, 131072)
    apart = gemm_time(deep, CONFLICTED)
    whole = gemm_time(deep._replace(batch=1000.0), CONFLICTED)
    assert apart.n_splits > 1.0
    assert whole.n_splits == 1.0


@given(m=SIZES, n=SIZES, k=SIZES)
def test_the_winner_is_no_faster_than_any_of_its_limits(m, n, k):
    found = gemm_time(shape(m, n, k), HOPPER)
    assert found.time_s >= max(found.arithmetic_s, found.feed_s, found.memory_s)
    assert found.time_s >= found.launch_s + found.split_s


@pytest.fixture(scope="module")
def compiled():
    return FormulaCompiler().compile(gemm_time)


@settings(max_examples=200, deadline=None)
@given(m=SIZES, n=SIZES, k=SIZES)
def test_the_compiled_twin_agrees_with_the_plain_formula(compiled, m, n, k):
    plain, fast = (time(shape(m, n, k), CONFLICTED) for time in (gemm_time, compiled))
    assert all(math.isclose(a, b, rel_tol=1e-12) for a, b in zip(plain, fast, strict=True))


def test_traffic_to_memory_does_not_droop():
    steady = HOPPER._replace(droop_fraction=0.0)
    drooping = HOPPER._replace(droop_fraction=0.5)
    streaming, computing = shape(4_000_000, 64, 64), shape(32_768, 32_768, 32_768)
    streamed = gemm_time(streaming, drooping).time_s / gemm_time(streaming, steady).time_s
    computed = gemm_time(computing, drooping).time_s / gemm_time(computing, steady).time_s
    assert streamed < 1.02
    assert computed > 1.4
