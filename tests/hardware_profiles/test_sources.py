"""Every figure can be traced: the last source that names it counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.catalogue import Catalogue
from hardware_profiles.sources import base_pattern, figure_source, matches

MORE = """
[[sources]]
keys = ["power.*", "memory.capacity_gib", "compute.peak_dense.bf16_tflop_per_s"]
figure_class = "datasheet"
text = "the datasheet"

[[sources]]
keys = ["power.idle_w"]
figure_class = "measured"
text = "a meter"

[calibration.memory_bound]
bandwidth_efficiency_fraction = 0.8
launch_us = 3
provenance = { figure_class = "fitted", source = "a fit", relative_spread_fraction = 0.1 }
"""


@pytest.fixture
def thing(device):
    return Catalogue().accelerator(str(device(tail=MORE)))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("power.idle_w", "a meter"),
        ("power.tdp_w", "the datasheet"),
        ("memory.capacity_bytes", "the datasheet"),
        ("compute.peak_flop_per_s.bf16", "the datasheet"),
        ("memory.bandwidth_bytes_per_s", "a test"),
        ("calibration.memory_bound.launch_s", "a fit"),
    ],
)
def test_the_last_source_that_names_a_figure_counts(thing, key, text):
    assert figure_source(thing, key).text == text


def test_an_uncalibrated_family_has_no_source(thing):
    assert figure_source(thing, "calibration.power.busy_w") is None
    assert figure_source(thing, "calibration.gemm.bf16.launch_s") is None


def test_what_another_device_was_measured_for_is_assumed_here(device, child, tmp_path):
    device("base", tail=MORE)
    child("mine", "base")
    mine = Catalogue([tmp_path]).accelerator("mine")
    source = figure_source(mine, "calibration.memory_bound.launch_s")
    assert (source.figure_class, source.text) == ("assumed", "taken over from base: a fit")


def test_the_backward_pass_has_a_source_of_its_own():
    device = Catalogue().accelerator("h100-sxm")
    name = next(iter(device.calibration.attention))
    table = f"calibration.attention.{name}"
    forward = figure_source(device, f"{table}.matrix_efficiency_fraction")
    backward = figure_source(device, f"{table}.backward_matrix_efficiency_fraction")
    assert forward.text == device.calibration.attention[name].provenance.source
    assert backward.text == device.calibration.attention[name].backward_provenance.source


names = st.from_regex(r"[a-z_.\[\]0-9]{0,20}", fullmatch=True)


@given(names)
def test_a_key_matches_itself_and_a_star_everything(key):
    assert matches(key, key)
    assert matches("*", key)


@given(names, names, names)
def test_a_star_stands_for_any_run(head, middle, tail):
    assert matches(f"{head}*{tail}", head + middle + tail)


def test_a_dot_is_a_dot():
    assert not matches("power.tdp_w", "power_tdp_w")
    assert not matches("power.*", "powers.tdp_w")


@pytest.mark.parametrize(
    ("written", "base"),
    [
        ("*", "*"),
        ("memory.capacity_gib", "memory.capacity_bytes"),
        ("compute.peak_dense.*", "compute.peak_flop_per_s.*"),
        ("compute.peak_dense.bf16_tflop_per_s", "compute.peak_flop_per_s.bf16"),
        ("compute.peak_dense.fp64", "compute.peak_flop_per_s.fp64"),
        ("power.idle*", "power.idle*"),
        ("launch_year", "launch_year"),
    ],
)
def test_a_source_may_name_a_key_as_the_file_writes_it(written, base):
    assert base_pattern(written, Accelerator) == base
