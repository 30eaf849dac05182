"""An announced part may lack figures; nothing is predicted with it until they are there."""

import pytest

from hardware_profiles.accelerator import Accelerator, Announcement
from hardware_profiles.catalogue import Catalogue
from hardware_profiles.check import check_files
from hardware_profiles.errors import ProfileError

MISSING = (
    "compute.boost_clock_hz",
    "compute.peak_flop_per_s",
    "memory.bandwidth_bytes_per_s",
    "power.tdp_w",
    "power.idle_w",
    "module.n_devices",
    "module.form_factor",
)
REST = """
[compute]
boost_clock_ghz = 2

[compute.peak_dense]
bf16_tflop_per_s = 819.2

[memory]
bandwidth_tb_per_s = 20

[link]
name = "link"
bandwidth_gb_per_s = 900
peer_bandwidth_gb_per_s = 900

[power]
tdp_w = 1800
idle_w = 180

[module]
n_devices = 1
form_factor = "OAM"

[[sources]]
keys = ["*"]
figure_class = "assumed"
text = "as its predecessor, scaled"
"""
SETTINGS = [
    ("node.accelerator", "preview"),
    ("accelerator.compute.boost_clock_ghz", "2"),
    ("accelerator.compute.peak_flop_per_s.bf16", "819.2e12"),
    ("accelerator.memory.bandwidth_tb_per_s", "20"),
    ("node.n_devices", "1"),
    ("accelerator.power.tdp_w", "1800"),
    ("accelerator.power.idle_w", "180"),
    ("accelerator.module.n_devices", "1"),
    ("accelerator.module.form_factor", "OAM"),
]


def test_what_is_missing_is_known_by_name(announced, tmp_path):
    announced()
    thing = Catalogue([tmp_path]).load("accelerator", "preview").thing
    assert isinstance(thing, Announcement)
    assert thing.missing_keys == MISSING


def test_it_passes_the_check_with_a_note(announced):
    path = announced()
    (note,) = check_files([path], Catalogue())
    assert note.severity == "note"
    assert note.message.endswith(f"announced; not known: {', '.join(MISSING)}")


def test_a_part_that_can_be_bought_needs_every_figure(announced):
    path = announced()
    path.write_text(path.read_text().replace('"announced"', '"available"'))
    (error,) = check_files([path], Catalogue())
    assert error.severity == "error"
    assert "missing; the profile needs it" in error.message


def test_an_announced_figure_needs_a_source_too(announced):
    path = announced()
    path.write_text(path.read_text().replace('"*"', '"memory.*"'))
    (error,) = check_files([path], Catalogue())
    assert "compute.n_units = 100: expected a source" in error.message


def test_no_machine_is_made_of_it_and_one_line_says_why(announced, tmp_path):
    path = announced()
    catalogue = Catalogue([tmp_path])
    for refused in (
        lambda: catalogue.accelerator("preview"),
        lambda: catalogue.machine("dgx-h100", overrides=SETTINGS[:1]),
        lambda: catalogue.machine("dgx-h100", overrides=SETTINGS[:4]),
    ):
        with pytest.raises(ProfileError) as caught:
            refused()
        line = str(caught.value)
        assert line.startswith(f"{path}: preview is announced and lacks ")
        assert "power.tdp_w" in line
        assert "\n" not in line


def test_the_check_of_a_node_names_it(announced, write, tmp_path):
    announced()
    head = 'schema_version = 1\nkind = "node"\nextends = "dgx-h100"\nname = "box"\ntitle = "B"\n'
    path = write("box", head + 'accelerator = "preview"\n')
    (error,) = check_files([path], Catalogue([tmp_path]))
    assert 'accelerator = "preview": preview is announced and lacks' in error.message


def test_figures_of_ones_own_complete_it_and_it_stays_announced(announced, child, tmp_path):
    announced()
    child("mine", "preview", REST)
    mine = Catalogue([tmp_path]).accelerator("mine")
    assert isinstance(mine, Accelerator)
    assert (mine.status, mine.power.tdp_w, mine.compute.n_units) == ("announced", 1800, 100)


def test_figures_set_for_once_complete_it_too(announced, tmp_path):
    announced()
    machine = Catalogue([tmp_path]).machine("dgx-h100", overrides=SETTINGS)
    assert machine.accelerator.memory.bandwidth_bytes_per_s == 20e12
    assert "accelerator.power.tdp_w" in machine.overridden_keys
