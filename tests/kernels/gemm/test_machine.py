"""What of a relative's constants carries over to a device of another size."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles.catalogue import Catalogue
from kernels.gemm.machine import gemm_machine, scaled_droop_fraction
from kernels.gemm.model import GemmShape, gemm_time

LIMITS = st.floats(1e-14, 1e-10)
GROWTH = st.floats(1.0, 8.0)


@pytest.fixture(scope="module")
def h100():
    return Catalogue().accelerator("h100-sxm")


def machine_of(device, **figures):
    fitted = device.calibration.gemm["bf16"]
    peak = device.compute.peak_flop_per_s["bf16"]
    return gemm_machine(
        device, fitted, **{"peak_flop_per_s": peak, "fitted_dtype": "bf16"} | figures
    )


def with_peaks(device, factor):
    peaks = {dtype: factor * peak for dtype, peak in device.compute.peak_flop_per_s.items()}
    compute = msgspec.structs.replace(device.compute, peak_flop_per_s=peaks)
    return msgspec.structs.replace(device, compute=compute)


def test_the_supply_follows_the_units_and_not_the_memory(h100):
    memory = msgspec.structs.replace(
        h100.memory, bandwidth_bytes_per_s=2.0 * h100.memory.bandwidth_bytes_per_s
    )
    wider = msgspec.structs.replace(h100, memory=memory)
    supply = machine_of(h100).feed_bytes_per_s
    assert machine_of(wider).feed_bytes_per_s == supply
    compute = msgspec.structs.replace(h100.compute, n_units=2 * h100.compute.n_units)
    doubled = with_peaks(msgspec.structs.replace(h100, compute=compute), 2.0)
    assert machine_of(doubled).feed_bytes_per_s == pytest.approx(2.0 * supply)
    # Units of twice the rate keep more to themselves.
    faster = machine_of(with_peaks(h100, 2.0))
    assert 1.5 * supply < faster.feed_bytes_per_s < 1.9 * supply


def test_what_memory_brings_reaches_the_units(h100):
    compute = msgspec.structs.replace(h100.compute, n_units=h100.compute.n_units // 20)
    small = machine_of(with_peaks(msgspec.structs.replace(h100, compute=compute), 0.05))
    least = small.memory_efficiency_fraction * small.memory_bandwidth_bytes_per_s
    assert small.feed_bytes_per_s == pytest.approx(least)


@given(m=st.integers(1, 20_000), n=st.integers(1, 20_000), k=st.integers(1, 20_000), more=GROWTH)
def test_a_higher_peak_within_the_same_power_is_never_slower(h100, m, n, k, more):
    shape = GemmShape(float(m), float(n), float(k), 2.0, 2.0, 2.0, 64.0)
    slower, faster = machine_of(h100), machine_of(with_peaks(h100, more))
    assert gemm_time(shape, faster).time_s <= gemm_time(shape, slower).time_s * (1 + 1e-9)


def test_units_draw_as_many_bytes_at_a_dtype_that_another_stands_in_for(h100):
    fp8 = machine_of(h100, peak_flop_per_s=h100.compute.peak_flop_per_s["fp8"])
    assert fp8.feed_bytes_per_s == machine_of(h100).feed_bytes_per_s
    assert fp8.droop_fraction == machine_of(h100).droop_fraction


def test_arithmetic_and_supply_follow_the_clock(h100):
    full, half = machine_of(h100), machine_of(h100, clock_fraction=0.5)
    assert half.peak_flop_per_s == pytest.approx(0.5 * full.peak_flop_per_s)
    assert half.feed_bytes_per_s == pytest.approx(0.5 * full.feed_bytes_per_s)
    assert half.memory_bandwidth_bytes_per_s == full.memory_bandwidth_bytes_per_s


def test_a_device_droops_as_it_was_fitted(h100):
    fitted = h100.calibration.gemm["bf16"].droop_fraction
    assert machine_of(h100).droop_fraction == pytest.approx(fitted, rel=1e-3)


@given(droop=st.floats(0.0, 1.0), limit=LIMITS, own=LIMITS, more=st.floats(1.0, 10.0))
def test_more_power_for_the_peak_never_droops_more(droop, limit, own, more):
    weak, strong = (
        scaled_droop_fraction(droop, limit_j_per_flop=limit, own_limit_j_per_flop=watts)
        for watts in (own, more * own)
    )
    assert 0.0 <= strong <= weak


def test_an_eighth_of_the_power_leaves_half_of_the_clock():
    droop = scaled_droop_fraction(0.0, limit_j_per_flop=8.0, own_limit_j_per_flop=1.0)
    assert 1.0 / (1.0 + droop) == pytest.approx(0.5)
    assert scaled_droop_fraction(0.2, limit_j_per_flop=None, own_limit_j_per_flop=1.0) == 0.2
