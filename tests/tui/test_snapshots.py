"""Pictures of the screens; a change is looked at and committed by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tui.conftest import EXAMPLE
from tests.tui.fake_twin import FakeTwin
from tests.tui.test_compose import settled
from tui.app import TweelingApp
from tui.state import Session

SIZES = [(80, 24), (160, 48)]
MOST_LOOKS = 500
"""Looks at a screen before it is given up. [1]"""
SCREENS = {
    "catalogue": ["2"],
    "catalogue_figure": ["2", "N", "tab", "j", "j", "j"],
    "catalogue_announced": ["2", "N"],
    "catalogue_filter": ["2", "slash", *"mem>100 foo>1"],
    "catalogue_broken": ["2", *["n"] * 4],
    "catalogue_side_by_side": ["2", "space", "N", "space", "N", "space", "equals_sign"],
    "kernels": ["7", "j"],
    "kernels_basis": ["7", "b", "j"],
    "kernels_unknown": ["7", "left_square_bracket"],
    "kernels_measured": ["7", "enter"],
    "kernels_empty": ["7", "slash", *"nothing"],
    "kernels_opened": ["7", "O", *"mine.csv", "enter", "1", "7"],
    "kernels_zoomed": ["7", "j", "plus", "plus"],
    "validation": ["9", "j"],
    "validation_errors": ["9", "L", "A", "C", "C"],
    "validation_groups": ["9", "b", "C", "C", "C", "j"],
    "validation_filter": ["9", "slash", *"vendor:amd foo>1"],
    "validation_run": ["9", "enter"],
    "validation_help": ["9", "question_mark"],
}
STATES = {
    "compose": [],
    "edited": ["j", "plus", "p"],
    "invalid": ["j", "e", "x"],
    "refused": [*["j"] * 7, "e", "3", "enter"],
    "too_big": [*["j"] * 11, "e", "6", "4", "enter"],
    "why": ["w"],
    "command": ["exclamation_mark"],
}


@pytest.fixture(autouse=True)
def same_time(monkeypatch):
    """Predictions always took the same time on the picture."""
    monkeypatch.setattr("tui.compute.time.perf_counter", lambda: 0.0)


def make_app(*, is_ascii: bool = False) -> TweelingApp:
    fake = FakeTwin()
    return TweelingApp(lambda: fake, Session.of(EXAMPLE), is_ascii=is_ascii)


async def at_rest(pilot):
    """Wait until no worker runs and two pictures in a row are alike: machines may be busy."""
    before = None
    for _ in range(MOST_LOOKS):
        await pilot.app.workers.wait_for_complete()
        await pilot.pause(0.02)
        now = (pilot.app.screen.id, pilot.app.screen._compositor.render_strips())
        if now == before and not pilot.app.workers:
            return
        before = now
    pytest.fail("the screen does not come to rest")


def steps(keys):
    async def run(pilot):
        await settled(pilot)
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
            if key.isdecimal():
                await at_rest(pilot)
        for toast in list(pilot.app._notifications):
            pilot.app._unnotify(toast)
        await at_rest(pilot)

    return run


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("state", STATES)
def test_compose(snap_compare, state, size):
    assert snap_compare(make_app(), terminal_size=size, run_before=steps(STATES[state]))


def test_compose_in_ascii(snap_compare):
    assert snap_compare(make_app(is_ascii=True), terminal_size=(80, 24), run_before=steps([]))


def test_compose_in_monochrome(snap_compare, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(make_app(), terminal_size=(80, 24), run_before=steps([]))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("state", SCREENS)
def test_screens(snap_compare, state, size):
    assert snap_compare(make_app(), terminal_size=size, run_before=steps(SCREENS[state]))


@pytest.mark.parametrize("state", ["catalogue_figure", "kernels", "validation"])
def test_screens_in_ascii(snap_compare, state):
    app = make_app(is_ascii=True)
    assert snap_compare(app, terminal_size=(80, 24), run_before=steps(SCREENS[state]))


@pytest.mark.parametrize("state", ["catalogue_figure", "kernels"])
def test_screens_in_monochrome(snap_compare, monkeypatch, state):
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(make_app(), terminal_size=(80, 24), run_before=steps(SCREENS[state]))


def test_a_small_terminal_keeps_the_numbers(snap_compare):
    assert snap_compare(make_app(), terminal_size=(60, 16), run_before=steps([]))


def test_a_whole_run(snap_compare):
    fake = FakeTwin()
    session = Session.of(replace(EXAMPLE, tokens=1e12))
    app = TweelingApp(lambda: fake, session, is_ascii=False)
    assert snap_compare(app, terminal_size=(80, 24), run_before=steps([]))
