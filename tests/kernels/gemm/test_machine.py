"""What of a relative's constants carries over to a device of another size."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles.catalogue import Catalogue
from kernels.gemm.machine import gemm_machine, scaled_droop_fraction

LIMITS = st.floats(1e-14, 1e-10)


@pytest.fixture(scope="module")
def h100():
    return Catalogue().accelerator("h100-sxm")


def machine_of(device, **figures):
    fitted = device.calibration.gemm["bf16"]
    peak = device.compute.peak_flop_per_s["bf16"]
    return gemm_machine(
        device, fitted, **{"peak_flop_per_s": peak, "fitted_dtype": "bf16"} | figures
    )


def test_the_supply_follows_the_units_and_not_the_memory(h100):
    memory = msgspec.structs.replace(
        h100.memory, bandwidth_bytes_per_s=2.0 * h100.memory.bandwidth_bytes_per_s
    )
    wider = msgspec.structs.replace(h100, memory=memory)
    assert machine_of(wider).feed_bytes_per_s == machine_of(h100).feed_bytes_per_s
    peaks = {dtype: 0.5 * peak for dtype, peak in h100.compute.peak_flop_per_s.items()}
    compute = msgspec.structs.replace(h100.compute, peak_flop_per_s=peaks)
    smaller = machine_of(msgspec.structs.replace(h100, compute=compute))
    assert smaller.feed_bytes_per_s == pytest.approx(0.5 * machine_of(h100).feed_bytes_per_s)


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
    assert scaled_droop_fraction(0.2, limit_j_per_flop=0.0, own_limit_j_per_flop=1.0) == 0.2
