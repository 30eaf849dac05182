"""The catalogue as it is looked through, with files of the user's and broken ones."""

from __future__ import annotations

import pytest

from twin.catalogue_view import CatalogueView, matches, show_command
from twin.scenario.resolve import Catalogues

BROKEN = 'schema_version = 1\nkind = "site"\nname = "nowhere"\ntitle = "Nowhere"\npue = "low"\n'


@pytest.fixture(scope="module")
def view():
    return CatalogueView(Catalogues.with_folders(()))


def found(view, text):
    entries = (view.entry(*key) for key in view.names())
    return {entry.name for entry in entries if matches(entry, view.filter(text))}


def test_everything_that_is_shipped_can_be_read(view):
    assert not [view.entry(*key).problem for key in view.names() if view.entry(*key).problem]


def test_filters_compare_figures_in_the_units_of_the_screen(view):
    assert {"h200-sxm", "mi300x"} <= found(view, "mem>100 kind:accelerator")
    assert "h100-sxm" not in found(view, "mem>100 kind:accelerator")
    assert found(view, "vendor:amd kind:cluster") == found(view, "vendor:amd kind:cluster mem>1")
    assert "gpt3-175b" in found(view, "params>100 kind:model")


def test_figures_of_a_part_find_what_has_it(view):
    assert {"dgx-h200"} <= found(view, "mem>130 kind:node") & found(view, "mem>130 kind:cluster")


def test_every_number_has_a_class_and_a_source(view):
    for kind, name in view.names():
        for figure in view.details(kind, name).figures:
            if figure.is_figure and figure.value is not None:
                assert figure.figure_class, (name, figure.key)
                assert figure.source, (name, figure.key)


def test_ratios_are_those_of_the_figures(view):
    figures = {one.key: one.value for one in view.details("accelerator", "h100-sxm").figures}
    peak, tdp_w = figures["compute.peak_flop_per_s.bf16"], figures["power.tdp_w"]
    assert figures["derived.bf16_per_watt_flop_per_j"] == pytest.approx(peak / tdp_w)
    ridge = peak / figures["memory.bandwidth_bytes_per_s"]
    assert figures["derived.bf16_ridge_flop_per_byte"] == pytest.approx(ridge)


def test_clusters_that_have_a_part(view):
    assert "dgx-h100" in view.clusters_with("accelerator", "h100-sxm")
    assert view.clusters_with("node", "dgx-h200")[0] == "dgx-h200"
    assert view.device_of("cluster", "dgx-h100") == "h100-sxm"
    assert view.device_of("site", "groningen") is None


def test_a_broken_file_says_what_is_wrong_and_the_rest_works(tmp_path):
    (tmp_path / "nowhere.toml").write_text(BROKEN)
    view = CatalogueView(Catalogues.with_folders((tmp_path,)))
    problem = view.entry("site", "nowhere").problem
    assert "nowhere.toml" in problem
    assert 'pue = "low"' in problem
    assert view.details("site", "nowhere").figures == ()
    assert view.entry("site", "groningen").problem is None


def test_the_command_shows_the_same(tmp_path):
    assert show_command("model", "llama-3-8b") == "twin models show llama-3-8b"
    command = show_command("node", "dgx-h100", profile_dirs=(tmp_path,))
    assert command == f"twin profiles show dgx-h100 --kind node --profiles {tmp_path}"
