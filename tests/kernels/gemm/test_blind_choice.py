"""Batched products whose kernel was chosen for one of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_profiles.calibration import GemmImplementation, Provenance
from kernels.compiled_formula import FormulaCompiler
from kernels.gemm.blind_choice import blindly_chosen_gemm_s
from kernels.gemm.model import GemmMachine, GemmShape, gemm_time
from kernels.gemm.timing import gemm_library, library_machine, timed_gemm_s
from kernels.residual import NO_RESIDUAL

CDNA2 = GemmMachine(
    n_units=104.0,
    peak_flop_per_s=45.3e12,
    memory_bandwidth_bytes_per_s=1.638e12,
    tensor_efficiency_fraction=0.72,
    memory_efficiency_fraction=0.8,
    launch_s=2.3e-6,
    feed_bytes_per_s=2.36e12,
    fill_depth=20.0,
    fill_repeat_fraction=0.9,
    wave_smoothing_fraction=0.5,
    split_s=3e-6,
    droop_fraction=0.1,
    droop_time_s=4e-3,
    overlap_exponent=6.0,
    stride_conflict_ratio=0.0,
    stride_period_bytes=131072.0,
)
BLIND = GemmImplementation(
    is_batch_seen=False,
    supply_ratio=0.9,
    provenance=Provenance(figure_class="fitted", source="test", relative_spread_fraction=0.05),
)
SIZES = st.integers(1, 5000)


def shape(m, n, k, batch=1):
    return GemmShape(float(m), float(n), float(k), 4.0, 4.0, 4.0, float(batch))


def rate_tflop_per_s(one):
    flop = 2.0 * one.m * one.n * one.k * one.batch
    return flop / blindly_chosen_gemm_s(one, CDNA2) / 1e12


@given(m=SIZES, n=SIZES, k=SIZES, batch=st.integers(1, 10_000), more=st.integers(0, 10_000))
@settings(max_examples=50)
def test_more_products_are_never_faster(m, n, k, batch, more):
    fewer_s = blindly_chosen_gemm_s(shape(m, n, k, batch), CDNA2)
    assert blindly_chosen_gemm_s(shape(m, n, k, batch + more), CDNA2) >= fewer_s * (1 - 1e-12)


def test_a_large_batch_of_small_products_does_not_reach_the_rate_of_large_ones():
    small, large = shape(64, 196, 196, 16384), shape(2048, 2048, 256, 256)
    assert rate_tflop_per_s(small) < 0.5 * rate_tflop_per_s(large)
    assert blindly_chosen_gemm_s(small, CDNA2) > 1.3 * gemm_time(small, CDNA2).time_s


def test_large_products_keep_the_tile_that_the_whole_batch_would_get():
    one = shape(4096, 4096, 256, 64)
    assert blindly_chosen_gemm_s(one, CDNA2) == pytest.approx(gemm_time(one, CDNA2).time_s, rel=0.1)


def test_the_library_says_whether_it_looks_at_the_batch():
    one, machine = shape(128, 384, 384, 4096), library_machine(CDNA2, BLIND)
    assert machine.feed_bytes_per_s == pytest.approx(0.9 * CDNA2.feed_bytes_per_s)
    blind_s = timed_gemm_s(one, machine, gemm_library(BLIND), NO_RESIDUAL)
    assert blind_s == pytest.approx(blindly_chosen_gemm_s(one, machine))
    seeing_s = timed_gemm_s(one, machine, gemm_library(None), NO_RESIDUAL)
    assert seeing_s == pytest.approx(gemm_time(one, machine).time_s)


def test_the_compiled_formula_is_the_plain_one():
    compiled = FormulaCompiler().compile(blindly_chosen_gemm_s)
    for one in (shape(64, 196, 196, 1000), shape(512, 96, 512, 30), shape(4096, 4096, 96, 12)):
        assert compiled(one, CDNA2) == pytest.approx(blindly_chosen_gemm_s(one, CDNA2), rel=1e-12)
