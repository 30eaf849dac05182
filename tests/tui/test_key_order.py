"""Keys typed faster than they are handled: each acts on what the one before it left behind."""

from __future__ import annotations

import pytest
from textual import events
from textual.widgets import Input

from tests.tui.test_compose import settled
from tests.tui.test_screens import rested
from tui.widgets.column_table import ColumnTable
from tui.widgets.filter_line import FilterLine

CHARACTERS = {"slash": "/", "greater_than_sign": ">"}


def burst(app, *keys):
    """All keys at once, before the app looks at the first."""
    for key in keys:
        character = CHARACTERS.get(key, key if len(key) == 1 else None)
        event = events.Key(key, character)
        event.set_sender(app)
        app._driver.send_message(event)


@pytest.fixture
async def kernels(app):
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("7")
        await rested(pilot)
        yield app.screen, pilot


async def acted_on(pilot):
    """No key is under way, and what the keys began is done."""
    for _ in range(100):
        await rested(pilot)
        if not (pilot.app._is_under_way or pilot.app._waiting):
            return
    pytest.fail("keys are still under way")


async def test_keys_before_and_after_the_filter_act_on_the_table(kernels):
    screen, pilot = kernels
    table = screen.query_one(ColumnTable)
    burst(screen.app, "j", "slash", *"gex", "backspace", *"mm", "enter", "j", "j")
    await acted_on(pilot)
    assert screen.query_one(FilterLine).text == "gemm"
    assert not isinstance(screen.focused, Input)
    assert screen.focused is table
    # The second row was under the cursor when typing began, and two more were gone down.
    assert table.selected_id == table.row_ids[3]


async def test_a_burst_goes_on_when_screens_and_dialogs_come_and_go(kernels):
    screen, pilot = kernels
    burst(screen.app, "9", "7", "slash", *"attn", "escape", "question_mark")
    await acted_on(pilot)
    assert screen.app.screen is not screen
    burst(screen.app, "escape", "slash", *"x")
    await acted_on(pilot)
    assert screen.app.screen is screen
    # What was there is selected when typing begins again, and replaced.
    assert screen.query_one(FilterLine).text == "x"
