"""Catalogue: the tree, filters, marks, using a thing, setting a figure."""

from __future__ import annotations

import json

import pytest

from tests.tui.conftest import EXAMPLE
from tests.tui.test_compose import settled
from tests.tui.test_screens import rested
from tui.screens.side_by_side import SideBySide, SideBySideScreen, side_rows
from tui.widgets.dialogs import AskScreen, TextScreen
from tui.widgets.filter_line import FilterLine
from tui.widgets.lines import plain
from tui.widgets.row_list import RowList

SIZE = (80, 24)


@pytest.fixture
async def opened(app, tmp_path):
    """The app on its Catalogue, and a pilot."""
    app.profile_dir = tmp_path / "profiles"
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await pilot.press("2")
        await rested(pilot)
        yield app.screen, pilot


def tree_of(screen):
    return screen.query_one("#tree", RowList)


def leaves(screen):
    return [row.key for row in tree_of(screen).rows if row.key in screen.entries]


async def go_to(screen, pilot, kind, name):
    screen.show_thing(kind, name)
    await pilot.pause()


async def test_the_tree_has_focus_and_the_first_accelerator_is_shown(opened):
    screen, _ = opened
    assert screen.focused is tree_of(screen)
    assert screen.thing == ("accelerator", "alpha-80")
    assert "alpha-80" in screen.query_one("#tree", RowList).text()


async def test_moving_shows_the_thing_under_the_cursor(opened):
    screen, pilot = opened
    await go_to(screen, pilot, "accelerator", "beta-192")
    await pilot.press("j")
    assert screen.thing == ("accelerator", "gamma-next")
    figures = screen.query_one("#figures", RowList).text()
    assert "tdp" in figures
    assert "n/a" in figures
    calibration = str(screen.query_one("#calibration").render())
    assert "power.tdp_w not published" in calibration


async def test_the_bottom_line_says_how_much_is_calibrated(opened):
    screen, _ = opened
    said = str(screen.query_one("#calibration").render())
    assert "gemm bf16 ◆ 3000 samples 3.9 %" in said
    assert "attention ? inherited from hopper" in said


async def test_the_source_of_a_figure_can_be_read_in_full(opened):
    screen, pilot = opened
    await pilot.press("tab", "j", "j")
    assert screen.figure.key == "compute.peak_flop_per_s.bf16"
    said = str(screen.query_one("#source").render())
    assert "vendor's data sheet" in said
    await pilot.press("w")
    assert isinstance(screen.app.screen, TextScreen)
    assert "the larger figure is kept" in screen.app.screen._text


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("mem>100", ["beta-192", "gamma-next"]),
        ("mem>100 vendor:amd bf16<2000", ["beta-192"]),
        ("tdp:n/a", ["gamma-next"]),
        ("A80", ["alpha-80"]),
        ("kind:site -broken", ["kajaani"]),
        ("params>7 params<8", ["mistral-7b"]),
    ],
)
async def test_a_filter_narrows_as_it_is_typed(opened, typed, found):
    screen, pilot = opened
    await pilot.press("slash")
    screen.query_one(FilterLine).put(typed)
    await pilot.pause()
    assert [name for _, name in leaves(screen)] == found
    assert screen.thing[1] == found[0]
    await pilot.press("enter")
    assert screen.focused is tree_of(screen)
    await pilot.press("escape")
    await pilot.pause()
    assert len(leaves(screen)) == len(screen.entries)


async def test_a_wrong_filter_is_said_and_the_rest_of_it_counts(opened):
    screen, pilot = opened
    await pilot.press("slash", *"memory>1 amd")
    await pilot.pause()
    said = str(screen.query_one("#filter-words").render())
    assert "no such field" in said
    assert [name for _, name in leaves(screen)] == ["beta-192", "gamma-next"]


async def test_marked_things_stand_side_by_side_with_the_best_underlined(opened):
    screen, pilot = opened
    await pilot.press("space", "N", "N", "space")
    assert len(screen.marked) == 2
    await pilot.press("equals_sign")
    await pilot.pause()
    side = screen.app.screen
    assert isinstance(side, SideBySideScreen)
    rows = {row.key: row.line for row in side_rows(side._view)}
    best = [text for text, style in rows["memory.capacity_bytes"] if style == "bold underline"]
    assert best == ["192"]
    assert "↑ better" in plain([rows["memory.capacity_bytes"]])
    best = [text for text, style in rows["power.tdp_w"] if style == "bold underline"]
    assert best == ["700"]
    await pilot.press("d")
    assert "architecture" not in side.query_one(RowList).text()
    await pilot.press("escape")
    assert screen.app.screen is screen


def test_side_by_side_in_ascii_says_the_direction_in_words(fake):
    things = tuple(
        fake.catalogue_view.details("accelerator", name) for name in ("alpha-80", "beta-192")
    )
    text = plain(
        [row.line for row in side_rows(SideBySide(things=things, width=80, is_ascii=True))]
    )
    assert "GB more better" in text
    assert "W less better" in text
    assert text.isascii()


async def test_enter_uses_a_cluster_and_u_takes_it_back(opened):
    screen, pilot = opened
    await go_to(screen, pilot, "cluster", "lumi-g")
    await pilot.press("enter")
    assert screen.session.scenario.cluster == "lumi-g"
    assert screen.focused is tree_of(screen)
    await pilot.press("u")
    assert screen.session.scenario == EXAMPLE
    await pilot.press("U")
    assert screen.session.scenario.cluster == "lumi-g"
    await pilot.press("1")
    compose = await settled(pilot)
    assert compose.answer.scenario.cluster == "lumi-g"


async def test_enter_on_a_part_uses_the_only_cluster_that_has_it(opened):
    screen, pilot = opened
    await pilot.press("enter")
    assert screen.session.scenario.cluster == "lumi-g"
    await go_to(screen, pilot, "node", "alpha-box")
    await pilot.press("enter")
    assert "dgx-h100, lumi-g" in str(screen.query_one("#title").render())
    await go_to(screen, pilot, "accelerator", "beta-192")
    await pilot.press("enter")
    assert "no cluster has it" in str(screen.query_one("#title").render())


async def test_undo_refuses_when_the_scenario_moved_on(opened):
    screen, pilot = opened
    await pilot.press("enter")
    screen.session.edit(EXAMPLE, "changed elsewhere")
    await pilot.press("u")
    assert screen.session.scenario == EXAMPLE
    assert screen.changes.n_done == 1


async def test_a_figure_is_set_in_a_file_of_the_users_and_taken_back(opened, fake):
    screen, pilot = opened
    await pilot.press("tab", "G")
    while screen.figure.key != "memory.capacity_bytes":
        await pilot.press("k")
    await pilot.press("e")
    assert isinstance(screen.app.screen, AskScreen)
    ask = screen.app.screen.query_one("#ask")
    assert ask.value == "80 GB"
    ask.value = "96 GB"
    await pilot.press("enter")
    await rested(pilot)
    path = screen.app.profile_dir / "accelerators" / "alpha-80.toml"
    assert path.read_text() == "memory.capacity_bytes = 96000000000.0\n"
    await pilot.press("u")
    await rested(pilot)
    assert not path.exists()
    await pilot.press("U")
    await rested(pilot)
    assert path.exists()


@pytest.mark.parametrize("typed", ["many", "96 W", "9e99 GB"])
async def test_an_impossible_value_writes_nothing(opened, typed):
    screen, pilot = opened
    await pilot.press("tab", "G")
    while screen.figure.key != "memory.capacity_bytes":
        await pilot.press("k")
    await pilot.press("e")
    screen.app.screen.query_one("#ask").value = typed
    await pilot.press("enter")
    await pilot.pause()
    assert not screen.app.profile_dir.exists()
    assert screen.changes.n_done == 0


async def test_a_broken_file_says_what_is_wrong_while_the_rest_works(opened):
    screen, pilot = opened
    await go_to(screen, pilot, "site", "broken")
    said = " ".join(str(screen.query_one("#figures", RowList).render()).split())
    assert 'pue = "x": expected a number' in said
    await pilot.press("j")
    assert screen.thing == ("site", "kajaani")


async def test_branches_close_and_open(opened):
    screen, pilot = opened
    before = len(tree_of(screen).rows)
    await pilot.press("h", "h")
    assert len(tree_of(screen).rows) < before
    await pilot.press("l")
    assert len(tree_of(screen).rows) == before


async def test_focus_never_moves_by_itself(opened):
    screen, pilot = opened
    await pilot.press("tab")
    focused = screen.focused
    for key in ("j", "r", "u", "U", "space", "n", "N", "y", "Y", "enter", "escape"):
        await pilot.press(key)
        await rested(pilot)
        if screen.app.screen is not screen:
            await pilot.press("escape")
        assert screen.focused is focused, key


async def test_copying_the_command_and_exports(opened, tmp_path):
    screen, pilot = opened
    await pilot.press("y")
    assert screen.app.clipboard == "alpha-80"
    await pilot.press("Y")
    assert "memory.capacity_bytes\t80000000000.0\tdatasheet" in screen.app.clipboard
    await pilot.press("exclamation_mark")
    assert screen.app.clipboard == "twin profiles show alpha-80 --kind accelerator"
    await pilot.press("escape", "E")
    screen.app.screen.query_one("#ask").value = str(tmp_path / "alpha.json")
    await pilot.press("enter")
    await pilot.pause()
    document = json.loads((tmp_path / "alpha.json").read_text())
    assert document["name"] == "alpha-80"
    assert {"memory.capacity_bytes"} <= {row["key"] for row in document["rows"]}


async def test_k_goes_to_the_kernels_of_the_device(opened):
    screen, pilot = opened
    await go_to(screen, pilot, "accelerator", "beta-192")
    await pilot.press("K")
    await rested(pilot)
    assert screen.app.screen.ID == "kernels"
    assert screen.app.screen.device == "beta-192"


async def test_help_documents_the_grammar(opened):
    screen, pilot = opened
    await pilot.press("question_mark")
    assert "mem>100" in screen.app.screen._text
    assert "mark for side by side" in screen.app.screen._text
