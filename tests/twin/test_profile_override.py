"""Overrides: one figure in a file of the user's; what was shipped stays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hardware_profiles.check import check_files
from hardware_profiles.errors import TweelingError
from twin.catalogue_view import CatalogueView
from twin.profile_override import Wish, override
from twin.scenario.resolve import Catalogues

WISH = Wish(
    kind="accelerator",
    name="h200-sxm",
    key="memory.capacity_bytes",
    value=150e9,
    before=151.4e9,
    figure_class="datasheet",
    day="2026-11-26",
)


def catalogues(folder):
    return Catalogues.with_folders((folder,))


def made(wish, folder):
    change = override(wish, catalogues(folder), folder)
    change.make()
    return change


def figure(folder, wish):
    details = CatalogueView(catalogues(folder)).details(wish.kind, wish.name)
    return next(one for one in details.figures if one.key == wish.key)


@pytest.mark.parametrize(
    "wish",
    [
        WISH,
        replace(WISH, key="compute.peak_flop_per_s.bf16", value=1e15),
        replace(WISH, key="launch_year", value=2025.0),
        replace(WISH, key="calibration.gemm.bf16.launch_s", value=3e-6),
        replace(WISH, kind="node", name="dgx-h100", key="network.n_nics", value=4.0),
        replace(WISH, kind="site", name="groningen", key="pue", value=1.1),
        replace(WISH, kind="model", name="llama-3-8b", key="n_layers", value=40.0),
    ],
    ids=lambda wish: wish.key,
)
def test_the_figure_takes_and_is_marked_as_the_users(tmp_path, wish):
    change = made(wish, tmp_path)
    found = figure(tmp_path, wish)
    assert found.value == wish.value
    assert tmp_path in change.path.parents
    if wish.kind != "model":
        assert found.figure_class == "user"
        assert not [
            one for one in check_files([change.path], catalogues(tmp_path).profiles)
            if one.severity == "error"
        ]  # fmt: skip


def test_taking_it_back_leaves_nothing(tmp_path):
    change = made(WISH, tmp_path)
    change.take_back()
    assert not change.path.exists()
    assert figure(tmp_path, WISH).figure_class == "datasheet"


def test_a_second_figure_and_a_second_value_stand_in_the_same_file(tmp_path):
    made(WISH, tmp_path)
    made(replace(WISH, key="power.tdp_w", value=650.0), tmp_path)
    change = made(replace(WISH, value=140e9), tmp_path)
    text = change.path.read_text()
    assert text.count("capacity_bytes = ") == 1
    assert text.count('keys = ["memory.capacity_bytes"]') == 1
    assert figure(tmp_path, WISH).value == 140e9
    change.take_back()
    assert figure(tmp_path, WISH).value == 150e9


def test_a_file_of_the_users_keeps_its_comments_and_units(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'schema_version = 1\nkind = "accelerator"\nextends = "h200-sxm"\nname = "mine"\n'
        'title = "Mine"\naliases = []\n\n[memory]\ncapacity_gib = 120 # half of the stacks\n\n'
        '[[sources]]\nkeys = ["memory.capacity_gib"]\nfigure_class = "measured"\ntext = "seen"\n'
    )
    wish = replace(WISH, name="mine")
    change = made(wish, tmp_path)
    assert change.path == path
    assert "# half of the stacks" in path.read_text()
    assert figure(tmp_path, wish).value == 150e9


def test_fits_stay_those_of_the_device(tmp_path):
    made(WISH, tmp_path)
    fits = CatalogueView(catalogues(tmp_path)).details("accelerator", "h200-sxm").fits
    shipped = CatalogueView(Catalogues.with_folders(())).details("accelerator", "h200-sxm").fits
    assert fits == shipped
    assert catalogues(tmp_path).profiles.find("accelerator", "H200").parent.parent == tmp_path


@pytest.mark.parametrize(
    "wish",
    [
        replace(WISH, kind="site", name="groningen", key="pue", value=0.5),
        replace(WISH, key="memory.capacity_bytes", value=-1.0),
        replace(WISH, key="no.such_w", value=1.0),
        replace(WISH, kind="cluster", name="lumi-g", key="partitions.gpu.n_nodes", value=3.0),
    ],
    ids=lambda wish: wish.key,
)
def test_what_cannot_be_is_refused_and_nothing_is_written(tmp_path, wish):
    with pytest.raises(TweelingError):
        override(wish, catalogues(tmp_path), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_somebody_else_changed_is_not_taken_back(tmp_path):
    change = made(WISH, tmp_path)
    change.path.write_text(change.after + "# mine\n")
    with pytest.raises(TweelingError, match="changed since"):
        change.take_back()
    assert change.path.exists()
