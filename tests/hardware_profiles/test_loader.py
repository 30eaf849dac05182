"""Text becomes numbers here: what is wrong with a file is said by file, key, value, expectation."""

import pytest

from hardware_profiles.catalogue import Catalogue
from hardware_profiles.errors import ProfileError
from hardware_profiles.loader import merge, read_file


def refused(path):
    """The one line that a file is refused with; it begins with the file."""
    with pytest.raises(ProfileError) as caught:
        Catalogue([path.parent]).load("accelerator", str(path))
    line = str(caught.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


def test_a_whole_file_loads_in_base_units(device):
    thing = Catalogue().accelerator(str(device()))
    assert thing.compute.boost_clock_hz == 1e9
    assert thing.compute.peak_flop_per_s == {"bf16": 204.8e12}
    assert thing.memory.capacity_bytes == 64 * 2**30
    assert thing.memory.bandwidth_bytes_per_s == 2e12
    assert thing.memory.l2_bytes is None
    assert thing.sources[0].keys == ("*",)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("tdp_w = 500", "tdp_w = ", "not valid TOML: Invalid value (at line 25, column 9)"),
        ("tdp_w = 500", "tpd_w = 500", "power.tpd_w = 500: unknown key; nearest is tdp_w"),
        ("tdp_w = 500", "tdp = 500", "power.tdp = 500: unit is missing; expected one of tdp_w, "),
        ("tdp_w = 500", "tdp_gb = 5", "power.tdp_gb = 5: unit _gb does not fit; expected one of"),
        ("tdp_w = 500", 'tdp_w = "500"', 'power.tdp_w = "500": expected a number'),
        ("tdp_w = 500", "tdp_w = true", "power.tdp_w = true: expected a number"),
        ("tdp_w = 500", "tdp_w = nan", "power.tdp_w = nan: expected a finite number"),
        ("tdp_w = 500", "tdp_w = inf", "power.tdp_w = inf: expected a finite number"),
        ("tdp_w = 500", "tdp_w = -5", "power.tdp_w = -5: expected a number above 0"),
        ("tdp_w = 500", "tdp_w = 0", "power.tdp_w = 0: expected a number above 0"),
        ("idle_w = 50", "idle_w = -1", "power.idle_w = -1: expected a number of at least 0"),
        ("tdp_w = 500", "tdp_w = 500\ntdp_kw = 0.6", "power.tdp_kw = 0.6: a second value for tdp"),
        ("idle_w = 50", "idle_w = 600", "power.idle_w = 600: expected less than power.tdp_w = 500"),
        ("tdp_w = 500", "", "power.tdp_w: missing"),
        ("n_units = 100", "n_units = 10.5", "compute.n_units = 10.5: expected a whole number"),
        ("n_units = 100", "n_units = 0", "compute.n_units = 0: expected a number above 0"),
        ("= 204.8", "= 0", "compute.peak_dense.bf16_tflop_per_s = 0: expected a number above 0"),
        ("bf16_tflop_per_s", "bf16", "compute.peak_dense.bf16 = 204.8: unit is missing"),
        ("bf16_tflop_per_s", "bf16_gb", "compute.peak_dense.bf16_gb = 204.8: unit is missing or"),
        ("bf16_tflop", "bf17_tflop", "compute.peak_dense.bf17_tflop_per_s = 204.8: unknown dtype"),
        ('vendor = "other"', 'vendor = "nvida"', 'vendor = "nvida": expected one of'),
        ('vendor = "other"', "vendor = 3", "vendor = 3: expected one of"),
        ('title = "A device"', "", "title: missing"),
        ('name = "own"', "", "name: missing"),
        ('kind = "accelerator"', "", "kind = missing: expected one of accelerator, node"),
        ('kind = "accelerator"', 'kind = "acelerator"', "nearest is accelerator"),
        ("schema_version = 1", "schema_version = 2", "schema_version = 2: expected 1"),
        ('keys = ["*"]', 'keys = "*"', 'sources[0].keys = "*": expected a list of texts'),
        ('"assumed"', '"guessed"', 'sources[0].figure_class = "guessed": expected one of'),
        ("peer_bandwidth_gb_per_s = 400", "peer_bandwidth_gb_per_s = 500", "expected at most link"),
        ("[module]", "[modul]", "modul: unknown key; nearest is module"),
        ("[memory]", "[[memory]]", "memory: expected a table"),
    ],
)
def test_a_wrong_key_is_one_line_that_says_what_was_expected(device, old, new, complaint):
    line = refused(device(change={old: new}))
    assert complaint in line


def test_a_wrong_word_names_the_nearest_choice(device):
    line = refused(device(change={'vendor = "other"': 'vendor = "nvida"'}))
    assert line.endswith("nearest is nvidia")


def test_every_wrong_key_of_a_file_is_collected(device):
    path = device(change={"tdp_w = 500": "tpd_w = 500", "n_units = 100": "n_units = -1"})
    assert len(read_file(path).problems) == 2


def test_a_file_that_is_no_text_or_absent_is_named(tmp_path):
    path = tmp_path / "own.toml"
    path.write_bytes(b'schema_version = 1\nname = "\xff"\n')
    assert refused(path) == "line 2: not UTF-8 text"
    (tmp_path / "folder.toml").mkdir()
    assert "cannot be read" in refused(tmp_path / "folder.toml")
    assert "cannot be read" in refused(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("feed_ratio = 5.0", "replaced by feed_bytes_per_clock"),
        ("feed_bytes_per_clock = 0.0", "expected a number above 0"),
        ("feed_bytes_per_clock = nan", "expected a finite number"),
    ],
)
def test_a_supply_that_no_device_has_is_refused(device, line, complaint):
    tail = f"[calibration.gemm.bf16]\n{line}\n"
    assert complaint in refused(device(tail=tail))


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("[gemm.bf16]\nlaunch_s = 1e-6", "gemm.bf16.tensor_efficiency_fraction: missing; the"),
        ('[gemm.bf16]\nlaunch_s = "x"', 'gemm.bf16.launch_s = "x": expected a number'),
        ("[collective.all_gather]", "collective.all_gather.bandwidth_efficiency_fraction: missing"),
        (
            "[memory_bound]\nbandwidth_efficiency_fraction = 0.9\nlaunch_us = 3\n"
            "[memory_bound.bandwidth.copy]\npeak_fraction = 0.9",
            "memory_bound.bandwidth.copy.saturation_fraction: missing",
        ),
    ],
)
def test_a_wrong_constant_is_named_with_its_entry(device, lines, complaint):
    lines = lines.replace("[", "[calibration.")
    assert refused(device(tail=lines + "\n")).startswith(f"calibration.{complaint}")


def test_fitted_tables_are_read_by_dtype_implementation_and_operation(device):
    provenance = '{ figure_class = "fitted", source = "a fit", relative_spread_fraction = 0.1 }'
    tail = f"""
[calibration.memory_bound]
bandwidth_efficiency_percent = 87
launch_us = 3
provenance = {provenance}

[calibration.collective.all_reduce]
bandwidth_efficiency_fraction = 0.86
latency_us = 7.3
latency_per_rank_us = 1.8
local_copy_fraction = 1.3
pipeline_exponent = 0.6
low_latency_fraction = 0.4
low_latency_slowdown = 2.2
provenance = {provenance}
"""
    calibration = Catalogue().accelerator(str(device(tail=tail))).calibration
    assert calibration.memory_bound.bandwidth_efficiency_fraction == 0.87
    assert calibration.memory_bound.launch_s == 3e-6
    assert calibration.collective["all_reduce"].latency_s == pytest.approx(7.3e-6)
    assert calibration.gemm == {}


def test_a_percentage_where_a_share_belongs_is_refused(device):
    tail = "[calibration.memory_bound]\nbandwidth_efficiency_fraction = 87\nlaunch_us = 3\n"
    assert "= 87: expected a share between 0 and 1" in refused(device(tail=tail))


class TestExtends:
    def test_a_child_differs_only_in_what_it_says(self, device, child, tmp_path):
        device("base", head='aliases = ["B"]')
        child("mine", "base", "[memory]\ncapacity_gb = 100\n")
        catalogue = Catalogue([tmp_path])
        base, mine = catalogue.accelerator("base"), catalogue.accelerator("mine")
        assert mine.memory.capacity_bytes == 100e9  # although the base says GiB
        assert mine.memory.bandwidth_bytes_per_s == base.memory.bandwidth_bytes_per_s
        assert mine.compute == base.compute
        assert (mine.name, mine.aliases) == ("mine", ())

    def test_sources_are_joined_and_the_childs_come_last(self, device, child, tmp_path):
        device("base")
        source = '[[sources]]\nkeys = ["power.*"]\nfigure_class = "measured"\ntext = "mine"\n'
        child("mine", "base", source)
        texts = [source.text for source in Catalogue([tmp_path]).accelerator("mine").sources]
        assert texts == ["a test", "mine"]

    def test_fits_of_the_base_count_as_inherited(self, device, child, tmp_path):
        fit = (
            'provenance = { figure_class = "fitted", source = "S", relative_spread_fraction = 0.1 }'
        )
        tail = "[calibration.memory_bound]\nbandwidth_efficiency_fraction = 0.8\nlaunch_us = 3\n"
        device("base", tail=tail + fit)
        child("mine", "base")
        catalogue = Catalogue([tmp_path])
        provenance = catalogue.accelerator("mine").calibration.memory_bound.provenance
        assert provenance.figure_class == "inherited"
        assert provenance.source == "taken over from base: S"
        own = catalogue.accelerator("base").calibration.memory_bound.provenance
        assert own.figure_class == "fitted"

    def test_the_base_may_be_a_shipped_profile(self, child, tmp_path):
        child("mine", "h100-sxm", "[power]\ntdp_w = 500\n")
        mine = Catalogue([tmp_path]).accelerator("mine")
        assert mine.power.tdp_w == 500
        assert mine.compute == Catalogue().accelerator("h100-sxm").compute

    def test_a_file_may_extend_the_shipped_one_of_its_own_name(self, child, tmp_path):
        child("h100-sxm", "h100-sxm", "[power]\ntdp_w = 500\n")
        loaded = Catalogue([tmp_path]).load("accelerator", "h100-sxm")
        assert loaded.thing.power.tdp_w == 500
        shipped = Catalogue().load("accelerator", "h100-sxm")
        assert loaded.hashes.keys() == shipped.hashes.keys()
        assert loaded.hashes != shipped.hashes

    @pytest.mark.parametrize("ring", [["a"], ["a", "b"], ["a", "b", "c"]])
    def test_a_circle_is_reported(self, child, tmp_path, ring):
        for name, base in zip(ring, [*ring[1:], ring[0]], strict=True):
            child(name, base)
        with pytest.raises(ProfileError, match=r"expected no circle") as caught:
            Catalogue([tmp_path]).accelerator("a")
        assert " -> ".join([*ring, "a"]) in str(caught.value)

    def test_an_unknown_base_names_the_nearest(self, child):
        line = refused(child("mine", "h100-sxn"))
        assert line.startswith(
            'extends = "h100-sxn": accelerator "h100-sxn": unknown; nearest h100'
        )

    def test_a_base_of_another_kind_is_unknown(self, child):
        assert "unknown" in refused(child("mine", "lumi-g-node"))


def test_a_set_of_constants_that_a_child_states_replaces_the_bases_whole():
    base = {"gemm": {"bf16": {"launch_s": 1.0, "residual": {"counts": [1]}, "provenance": {}}}}
    child = {"gemm": {"bf16": {"launch_s": 2.0, "provenance": {}}}}
    merged = merge({"calibration": base}, {"calibration": child, "name": "b"}, base_name="a")
    assert merged["calibration"] == child


def test_a_single_figure_of_a_calibration_leaves_the_rest():
    base = {"gemm": {"bf16": {"launch_s": 1.0, "split_s": 3.0}}}
    child = {"gemm": {"bf16": {"launch_s": 2.0}}}
    merged = merge({"calibration": base}, {"calibration": child, "name": "b"}, base_name="a")
    assert merged["calibration"] == {"gemm": {"bf16": {"launch_s": 2.0, "split_s": 3.0}}}


def test_shipped_profiles_mix_no_fit_of_the_profile_they_extend():
    catalogue = Catalogue()
    for name in catalogue.names("accelerator"):
        loaded = catalogue.load("accelerator", name)
        own = loaded.own_table.get("calibration", {})
        for family, entries in own.items():
            for entry in entries if family in ("gemm", "attention", "collective") else ():
                assert loaded.table["calibration"][family][entry] == entries[entry]
