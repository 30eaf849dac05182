"""Figures become text and text becomes figures again."""

from __future__ import annotations

import pytest

from hardware_profiles.catalogue import Catalogue
from hardware_profiles.check import figures
from twin.figures import FigureError, better, figure_name, parse_figure, shown_figure

CASES = [
    ("memory.capacity_bytes", 80e9, ("80", "GB")),
    ("memory.bandwidth_bytes_per_s", 3.35e12, ("3350", "GB/s")),
    ("memory.l2_bytes", 50e6, ("50", "MB")),
    ("compute.peak_flop_per_s.bf16", 989e12, ("989", "TFLOP/s")),
    ("compute.boost_clock_hz", 1.83e9, ("1830", "MHz")),
    ("compute.n_units", 132, ("132", "")),
    ("power.tdp_w", 700.0, ("700", "W")),
    ("calibration.gemm.bf16.launch_s", 2.5e-6, ("2.5", "µs")),
    ("calibration.gemm.bf16.tensor_efficiency_fraction", 0.84, ("84", "%")),
    ("derived.bf16_per_watt_flop_per_j", 1.4e12, ("1.4", "TFLOP/s/W")),
    ("parameters", 70e9, ("70", "G")),
    ("memory.capacity_bytes", None, ("n/a", "")),
    ("intra_node.has_in_switch_reduction", True, ("yes", "")),
    ("vendor", "amd", ("amd", "")),
]


@pytest.mark.parametrize(("key", "value", "shown"), CASES)
def test_figures_are_shown_in_the_unit_of_the_screen(key, value, shown):
    assert shown_figure(key, value) == shown


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("memory.capacity_bytes", "80", 80e9),
        ("memory.capacity_bytes", "80 GiB", 80 * 2.0**30),
        ("memory.bandwidth_bytes_per_s", "3.35TB/s", 3.35e12),
        ("compute.peak_flop_per_s.bf16", "1 PFLOP/s", 1e15),
        ("compute.peak_flop_per_s.bf16", "989 tflops", 989e12),
        ("power.tdp_w", "1,2 kW", 1200.0),
        ("parameters", "8B", 8e9),
        ("compute.n_units", "132", 132.0),
    ],
)
def test_typed_values_carry_their_unit_or_take_the_screens(key, text, value):
    assert parse_figure(key, text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "many", "80 W", "80 TFLOP/s"])
def test_what_is_no_memory_is_refused(text):
    with pytest.raises(FigureError):
        parse_figure("memory.capacity_bytes", text)


def test_every_number_of_the_catalogue_reads_back():
    catalogue = Catalogue()
    for name in catalogue.names("accelerator"):
        for key, value in figures(catalogue.load("accelerator", name).table):
            number, unit = shown_figure(key, value)
            assert parse_figure(key, f"{number} {unit}") == pytest.approx(value, rel=1e-3), key


def test_directions():
    assert better("memory.capacity_bytes") == "higher"
    assert better("power.tdp_w") == "lower"
    assert better("power.minimum_cap_w") == "neither"
    assert better("launch_year") == "neither"


def test_names_leave_the_unit_out():
    assert figure_name("memory.capacity_bytes") == ("memory", "capacity")
    assert figure_name("compute.peak_flop_per_s.bf16") == ("compute", "peak bf16")
    assert figure_name("pue") == ("", "pue")
