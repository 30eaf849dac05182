"""The shipped profiles: complete, sourced, and each of their files loadable."""

import pytest

from hardware_profiles.accelerator import Announcement
from hardware_profiles.catalogue import SHIPPED, Catalogue
from hardware_profiles.check import check_files, figures
from hardware_profiles.loader import read_file
from hardware_profiles.schema import KINDS
from hardware_profiles.sources import figure_source

CATALOGUE = Catalogue()
ALL = [(kind, name) for kind in KINDS for name in CATALOGUE.names(kind)]


def test_every_shipped_file_passes_without_a_doubt():
    files = sorted(SHIPPED.rglob("*.toml"))
    assert len(files) == len(ALL)
    findings = check_files(files, CATALOGUE)
    assert [finding.message for finding in findings if finding.severity != "note"] == []


def test_notes_are_about_announced_parts_only():
    for finding in check_files(sorted(SHIPPED.rglob("*.toml")), CATALOGUE):
        thing = CATALOGUE.load("accelerator", finding.path.stem).thing
        assert thing.status == "announced"


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_figure_can_be_traced(kind, name):
    loaded = CATALOGUE.load(kind, name)
    for key, _ in figures(loaded.table):
        source = figure_source(loaded.thing, key)
        assert source, key
        assert len(source.text) > 5, key


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_file_states_no_figure_that_its_own_sources_do_not_name(kind, name, tmp_path):
    """Without its sources, each file that states a figure fails the check: none is decoration."""
    text = CATALOGUE.path(kind, name).read_text(encoding="utf-8")
    stated = list(figures(read_file(CATALOGUE.path(kind, name)).table))
    bare, _, rest = text.partition("[[sources]]")
    calibration = rest.partition("[calibration")
    path = tmp_path / f"{name}.toml"
    path.write_text(bare + calibration[1] + calibration[2], encoding="utf-8")
    errors = [f for f in check_files([path], CATALOGUE) if f.severity == "error"]
    assert bool(errors) == (bool(stated) or "extends" not in bare)


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_references_lead_to_things_that_can_be_predicted_with(kind, name):
    thing = CATALOGUE.load(kind, name).thing
    if kind == "cluster":
        for partition in thing.partitions:
            assert CATALOGUE.machine(f"{name}:{partition.name}").node.name == partition.node
    if kind == "node":
        assert not isinstance(CATALOGUE.accelerator(thing.accelerator), Announcement)
