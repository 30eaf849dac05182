"""Units: each suffix means one factor, and a quantity may be written in any of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles.units import UNITS, spellings, split_unit

numbers = st.floats(min_value=1e-6, max_value=1e6)


@pytest.mark.parametrize(
    ("key", "value", "base_key", "base_value"),
    [
        ("capacity_gb", 80, "capacity_bytes", 80e9),
        ("capacity_gib", 80, "capacity_bytes", 85_899_345_920),
        ("bandwidth_tb_per_s", 3.35, "bandwidth_bytes_per_s", 3.35e12),
        ("nic_bandwidth_gbit_per_s", 400, "nic_bandwidth_bytes_per_s", 50e9),
        ("bf16_tflop_per_s", 989, "bf16_flop_per_s", 989e12),
        ("boost_clock_mhz", 1410, "boost_clock_hz", 1.41e9),
        ("tdp_kw", 0.7, "tdp_w", 700.0),
        ("latency_us", 20, "latency_s", 2e-5),
        ("launch_ns", 2500, "launch_s", 2.5e-6),
        ("energy_per_flop_pj", 0.62, "energy_per_flop_j", 6.2e-13),
        ("fan_percent", 11, "fan_fraction", 0.11),
    ],
)
def test_a_suffix_means_its_factor(key, value, base_key, base_value):
    name, unit = split_unit(key)
    assert name + unit.base == base_key
    assert unit.to_base(value) == pytest.approx(base_value, rel=1e-15)


def test_decimal_fractions_are_rounded_once():
    assert UNITS["_us"].to_base(20) == 20e-6
    assert UNITS["_percent"].to_base(7) == 0.07


@given(value=numbers, suffix=st.sampled_from(sorted(UNITS)))
def test_there_and_back_again(value, suffix):
    unit = UNITS[suffix]
    assert unit.to_base(value) * unit.divisor / unit.factor == pytest.approx(value, rel=1e-14)


@given(suffix=st.sampled_from(sorted(UNITS)), name=st.from_regex(r"[a-z]{1,8}", fullmatch=True))
def test_the_longest_suffix_is_the_unit(suffix, name):
    parted = split_unit(f"{name}0{suffix}")
    assert parted == (f"{name}0", UNITS[suffix])


@given(suffix=st.sampled_from(sorted(UNITS)))
def test_every_unit_has_a_base_that_is_its_own(suffix):
    base = UNITS[UNITS[suffix].base]
    assert (base.base, base.factor, base.divisor) == (UNITS[suffix].base, 1.0, 1.0)


def test_no_unit_can_be_read_in_two_ways():
    # milliwatt to a driver, megawatt to a data centre; megabit and megabyte
    assert not {"_mw", "_mbps", "_gbps", "_flops", "_tflops"} & set(UNITS)
    assert split_unit("power_mw") == ("power_m", UNITS["_w"]) or split_unit("power_mw") is None


def test_spellings_begin_with_the_base_unit():
    assert spellings("capacity_bytes")[0] == "capacity_bytes"
    assert {"capacity_gb", "capacity_gib"} <= set(spellings("capacity_bytes"))
    assert "capacity_gb_per_s" not in spellings("capacity_bytes")
    assert spellings("n_devices") == ("n_devices",)
