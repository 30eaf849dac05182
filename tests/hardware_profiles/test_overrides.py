"""Figures set for once: same keys, same units, same strictness as a file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles.catalogue import Catalogue
from hardware_profiles.errors import ProfileError

CATALOGUE = Catalogue()


def machine(*settings, cluster="dgx-h100"):
    return CATALOGUE.machine(cluster, overrides=[tuple(s.split("=", 1)) for s in settings])


def refused(*settings):
    with pytest.raises(ProfileError) as caught:
        machine(*settings)
    line = str(caught.value)
    assert line.startswith("--set")
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("accelerator.memory.capacity_gb=96", "accelerator.memory.capacity_bytes", 96e9),
        ("accelerator.memory.capacity_bytes=9.6e10", "accelerator.memory.capacity_bytes", 96e9),
        ("accelerator.power.tdp_w=500", "accelerator.power.tdp_w", 500.0),
        ("accelerator.power.tdp_kw=0.5", "accelerator.power.tdp_w", 500.0),
        ("node.network.n_nics=4", "node.network.n_nics", 4),
        ("node.intra_node.topology=mesh", "node.intra_node.topology", "mesh"),
        ("cluster.fabric.latency_us=3", "cluster.fabric.latency_s", 3e-6),
        ("site.pue=1.1", "site.pue", 1.1),
        ('site.country="FI"', "site.country", "FI"),
        ("site.country=FI", "site.country", "FI"),
    ],
)
def test_a_setting_replaces_one_figure(setting, key, value):
    extra = ["accelerator.link.peer_bandwidth_gb_per_s=50"] if "mesh" in setting else []
    changed = machine(setting, *extra)
    held = changed
    for name in key.split("."):
        held = getattr(held, name)
    assert held == value
    assert key in changed.overridden_keys
    assert len(changed.overridden_keys) == 1 + len(extra)


def test_peaks_are_set_by_dtype_and_fits_by_table():
    changed = machine(
        "accelerator.compute.peak_flop_per_s.bf16=1e15",
        "accelerator.compute.peak_dense.fp8_pflop_per_s=2",
        "accelerator.calibration.gemm.bf16.tensor_efficiency_percent=80",
    )
    peaks = changed.accelerator.compute.peak_flop_per_s
    assert (peaks["bf16"], peaks["fp8"], peaks["fp16"]) == (1e15, 2e15, 989e12)
    assert changed.accelerator.calibration.gemm["bf16"].tensor_efficiency_fraction == 0.8
    assert changed.overridden_keys == (
        "accelerator.calibration.gemm.bf16.tensor_efficiency_fraction",
        "accelerator.compute.peak_flop_per_s.bf16",
        "accelerator.compute.peak_flop_per_s.fp8",
    )


def test_a_setting_leaves_the_catalogue_and_all_else_alone():
    before = machine()
    changed = machine("accelerator.power.tdp_w=500")
    assert machine() == before
    assert changed.node == before.node
    assert changed.accelerator.memory == before.accelerator.memory


def test_another_reference_is_followed():
    changed = machine("node.accelerator=h200-sxm", "cluster.site=kajaani")
    assert changed.accelerator.name == "h200-sxm"
    assert changed.site.name == "kajaani"


def test_of_two_settings_of_one_figure_the_later_wins():
    changed = machine("accelerator.power.tdp_w=500", "accelerator.power.tdp_kw=0.6")
    assert changed.accelerator.power.tdp_w == 600
    assert changed.overridden_keys == ("accelerator.power.tdp_w",)


class TestHashes:
    def test_a_setting_changes_the_hash_of_its_thing_only(self):
        before = machine().profile_hashes
        after = machine("accelerator.power.tdp_w=500").profile_hashes
        assert {key for key in before if before[key] != after[key]} == {"accelerator/h100-sxm"}

    def test_the_same_value_in_another_unit_has_the_same_hash(self):
        one = machine("accelerator.power.tdp_w=500").profile_hashes
        assert machine("accelerator.power.tdp_kw=0.5").profile_hashes == one

    @given(tdp_w=st.floats(min_value=201, max_value=2000).filter(lambda value: value != 500.0))
    def test_another_value_has_another_hash(self, tdp_w):
        one = machine("accelerator.power.tdp_w=500").profile_hashes
        assert machine(f"accelerator.power.tdp_w={tdp_w!r}").profile_hashes != one


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("acelerator.power.tdp_w=5", "nearest is accelerator"),
        ("accelerator.power.tpd_w=5", "nearest accelerator.power.tdp_w"),
        ("accelerator.memory.capcity_gb=96", "nearest accelerator.memory.capacity_gb"),
        ("accelerator.memory.capacity=96", "unit is missing; expected one of capacity_bytes"),
        ("accelerator.memory.capacity_w=96", "unit _w does not fit"),
        ("accelerator.memory.capacity_gb=lots", '"lots": expected a number'),
        ("accelerator.memory.capacity_gb=nan", "expected a finite number"),
        ("accelerator.memory.capacity_gb=-1", "expected a number above 0"),
        ("accelerator.memory.capacity_gb=", "expected a number"),
        ("accelerator.memory.capacity_gb=1\nx=2", "expected a number"),
        ("accelerator.compute.peak_flop_per_s.bf17=1", "accelerator.compute.peak_flop_per_s.bf16"),
        ("accelerator.calibration.gemm.fp4.launch_us=1", "accelerator.calibration.gemm."),
        ("node.network.n_nics=2.5", "expected a whole number"),
        ("node.intra_node.topology=swich", "nearest is switch"),
        ("site.pue=0.9", "expected a number of at least 1"),
        ("accelerator.name=mine", "no figure of this accelerator"),
        ("accelerator.schema_version=2", "no figure of this accelerator"),
        ("accelerator.sources=2", "no figure of this accelerator"),
        ("cluster.partitions=3", "no figure of this cluster"),
        ("accelerator=3", "expected a figure of the accelerator"),
        ("accelerator..tdp_w=3", "expected a figure of the accelerator"),
        ("accelerator.memory=3", "no figure of this accelerator"),
        ("accelerator.power.tdp_w=50", "power.idle_w = 65: expected less than power.tdp_w = 50"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(setting, complaint):
    assert complaint in refused(setting)
