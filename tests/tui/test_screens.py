"""Screens on the number keys: switching, what survives it, one meaning for each key."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import defaultdict

import pytest

from tests.tui.test_compose import settled, to_field
from tui.keymap import ACTIONS, actions_of
from tui.screens.registry import SCREENS, screen_class
from tui.widgets.column_table import ColumnTable
from tui.widgets.filter_line import FilterLine
from tui.widgets.row_list import RowList
from tui.widgets.tab_line import tab_line

SIZE = (80, 24)
FORBIDDEN = {"ctrl+i", "ctrl+m", "ctrl+j", "ctrl+h", "ctrl+a", "ctrl+b", "ctrl+space", "ctrl+z"}


async def rested(pilot):
    """Wait until workers are done and everything is drawn."""
    await pilot.pause(0.02)
    await pilot.app.workers.wait_for_complete()
    await pilot.pause(0.05)


async def test_number_keys_show_screens_and_compose_is_still_there(app):
    async with app.run_test(size=SIZE) as pilot:
        compose = await settled(pilot)
        for entry in (*SCREENS[1:], *SCREENS):
            await pilot.press(entry.key)
            await rested(pilot)
            assert entry.id == app.screen.ID
            assert f"{entry.key} " in str(app.screen.query_one("#title").render())
        await pilot.press("1")
        assert app.screen is compose


async def test_digits_are_text_while_a_field_is_edited(app):
    async with app.run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        to_field(screen, "devices")
        await pilot.press("e", "2", "7")
        assert app.screen is screen
        assert screen.query_one("Form").editing.endswith("27")


async def test_cursor_order_and_filter_survive_the_switch(app):
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await pilot.press("2")
        await rested(pilot)
        await pilot.press("slash", *"amd", "enter", "j")
        tree = app.screen.query_one("#tree", RowList)
        key, text = tree.key, app.screen.query_one(FilterLine).text
        await pilot.press("7")
        await rested(pilot)
        await pilot.press("l", "l", "o", "j")
        table = app.screen.query_one(ColumnTable)
        kept = (table.sort_key, table.selected_id, table.i_column)
        await pilot.press("2", "7", "1", "7")
        await rested(pilot)
        assert (table.sort_key, table.selected_id, table.i_column) == kept
        await pilot.press("2")
        assert app.screen.query_one("#tree", RowList).key == key
        assert app.screen.query_one(FilterLine).text == text == "amd"


async def test_the_palette_offers_screens_and_things(app):
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert {
            "2 Catalogue",
            "7 Kernels",
            "9 Validation",
            "show beta-192",
            "show mistral-7b",
        } <= titles
        app.show_thing("accelerator", "beta-192")
        await rested(pilot)
        assert app.screen.thing == ("accelerator", "beta-192")


@pytest.mark.parametrize("entry", SCREENS, ids=lambda entry: entry.id)
def test_a_key_means_the_same_on_every_screen(entry):
    meanings = {key: action for action in ACTIONS for key in action.keys.split(",")}
    seen = defaultdict(set)
    for cls in screen_class(entry).__mro__:
        for binding in vars(cls).get("BINDINGS", []):
            for key in binding.key.split(","):
                if key in meanings and binding.id:
                    seen[key].add(binding.id)
                elif key in meanings:
                    pytest.fail(f"{entry.id}: {key} is bound without the id of its action")
    for key, ids in seen.items():
        assert ids == {meanings[key].id}
    assert not set(seen) & FORBIDDEN


@pytest.mark.parametrize("entry", SCREENS, ids=lambda entry: entry.id)
def test_every_action_of_a_screen_is_there(entry):
    cls = screen_class(entry)
    names = [action.action.split("(")[0] for action in actions_of(entry.id)]
    assert not [name for name in names if not hasattr(cls, f"action_{name}")]


def test_number_keys_are_free_of_other_meanings():
    keys = [key for action in ACTIONS for key in action.keys.split(",")]
    assert not {entry.key for entry in SCREENS} & set(keys)
    assert len({entry.key for entry in SCREENS}) == len(SCREENS)


@pytest.mark.parametrize("width", [20, 60, 80, 160])
def test_the_tab_line_fills_its_width_and_marks_the_screen_without_colour(width):
    line = tab_line("kernels", width=width, right="working", name="example*")
    assert [text.strip() for text, style in line if "reverse" in style] in (
        ["7 Kernels"],
        ["7 Kern"],
    )
    if width >= 60:
        assert sum(len(text) for text, _ in line) == width


def test_the_first_screen_imports_neither_arrays_nor_tables(repository):
    program = (
        "import sys, tui.app, tui.screens.registry as r; r.screen_class(r.SCREENS[0]);"
        "heavy = {'numpy', 'pyarrow', 'numba', 'scipy', 'pandas', 'matplotlib'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=repository, check=True
    )
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (160, 48)], ids=str)
async def test_no_order_of_keys_breaks_a_screen(app, size, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app.profile_dir = tmp_path / "profiles"
    generator = random.Random(7)
    keys = [key for action in ACTIONS for key in action.keys.split(",") if action.id != "quit"]
    keys += ["tab", "shift+tab", "escape", "escape", "escape", *"1279", *"hjklgGo5x"]
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        for _ in range(150):
            await pilot.press(generator.choice(keys))
        await rested(pilot)
        assert app.return_code is None
