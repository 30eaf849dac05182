"""Compose: keys, edits, focus, answers that come too late."""

from __future__ import annotations

import asyncio
import shlex
import time
from dataclasses import replace

import pytest
from click.testing import CliRunner

from tests.tui.conftest import EXAMPLE
from tests.tui.fake_twin import FakeTwin
from tui.app import TweelingApp
from tui.compute import Compute, RealTwin
from tui.keymap import ACTIONS, load_keymap
from tui.screens.compose import ComposeScreen
from tui.state import Session, journal_path, read_journal
from tui.widgets.dialogs import TextScreen
from tui.widgets.form import Form
from tui.widgets.panes import HeadlinePane, ResultPane
from tui.widgets.why_tree import WhyScreen, term_lines
from twin.cli.predict import predict
from twin.scenario.command import predict_command
from twin.scenario.fields import FIELDS

SIZE = (80, 24)


async def settled(pilot):
    """Wait until the answer for the present scenario is there."""
    for _ in range(200):
        await pilot.pause(0.01)
        screen = pilot.app.screen_stack[1] if len(pilot.app.screen_stack) > 1 else None
        answer = getattr(screen, "answer", None)
        if answer is not None and answer.version == screen.version:
            return screen
    pytest.fail("no answer")


def to_field(screen, name):
    index = next(i for i, field in enumerate(FIELDS) if field.name == name)
    screen.query_one(Form).cursor = index


async def test_opens_predicted_with_focus_on_the_form(app):
    async with app.run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        assert isinstance(screen, ComposeScreen)
        assert isinstance(screen.focused, Form)
        assert screen.query_one(HeadlinePane).prediction is not None


async def test_typing_counts_at_once_and_undo_takes_back_the_word(app, fake):
    async with app.run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        to_field(screen, "devices")
        await pilot.press("e", "backspace", "backspace", "1", "2", "8", "enter")
        await settled(pilot)
        assert screen.session.scenario.devices == 128
        assert fake.asked[-1].devices == 128
        await pilot.press("u")
        await settled(pilot)
        assert screen.session.scenario == EXAMPLE
        await pilot.press("U")
        await settled(pilot)
        assert screen.session.scenario.devices == 128


async def test_escape_takes_an_edit_back(app):
    async with app.run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        to_field(screen, "devices")
        await pilot.press("e", "9", "9", "escape")
        await settled(pilot)
        assert screen.session.scenario == EXAMPLE


async def test_an_invalid_value_says_what_is_expected_and_keeps_the_last_result(app):
    async with app.run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        before = screen.query_one(HeadlinePane).prediction
        to_field(screen, "precision")
        await pilot.press("e", "backspace", "backspace", "backspace", "backspace", "q")
        await pilot.pause()
        form = screen.query_one(Form)
        assert "expected one of" in (form.invalid or "")
        assert screen.query_one(HeadlinePane).prediction is before
        await pilot.press("escape")
        assert screen.session.scenario.precision == "bf16"


@pytest.mark.parametrize("field", FIELDS, ids=lambda f: f.name)
async def test_every_field_steps(app, field):
    async with app.run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        to_field(screen, field.name)
        key = "minus" if field.name == "power_cap_w" else "plus"
        await pilot.press(key)
        await settled(pilot)
        assert field.of(screen.session.scenario) != field.of(EXAMPLE)


async def test_focus_never_moves_by_itself(app):
    async with app.run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        await pilot.press("tab")
        focused = screen.focused
        assert isinstance(focused, ResultPane)
        for key in ("a", "u", "U", "i", "t", "p", "P", "r", "j", "k"):
            await pilot.press(key)
            await settled(pilot)
            assert screen.focused is focused, key


async def test_an_old_answer_never_overwrites_a_new_one(fake):
    slow = FakeTwin()
    original = slow.predict

    def predict_slowly(scenario):
        if scenario.devices == 32:
            time.sleep(0.3)
        return original(scenario)

    slow.predict = predict_slowly
    app = TweelingApp(lambda: slow, Session.of(EXAMPLE), is_ascii=False)
    async with app.run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        screen._compute.mean_s = {True: 1.0, False: 1.0}
        screen._edit(replace(EXAMPLE, devices=32), "slow")
        await pilot.pause(0.02)
        screen._edit(replace(EXAMPLE, devices=16), "quick")
        await asyncio.sleep(0.5)
        await settled(pilot)
        assert screen.answer.scenario.devices == 16
        assert screen.query_one(HeadlinePane).prediction.scenario.devices == 16


async def test_a_refusal_is_shown_and_the_last_result_stays_dimmed(app):
    async with app.run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        to_field(screen, "tp")
        await pilot.press("e", "3", "enter")
        await settled(pilot)
        notes = str(screen.query_one("#notes").render())
        assert "tp=3 does not divide" in notes
        assert screen.query_one(HeadlinePane).is_stale
        assert screen.query_one(HeadlinePane).prediction is not None


async def test_what_does_not_fit_offers_changes_that_do(app):
    async with app.run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        to_field(screen, "micro_batch")
        await pilot.press("e", "6", "4", "enter")
        await settled(pilot)
        assert not screen.answer.prediction.fits_memory
        assert "does not fit" in str(screen.query_one("#notes").render())
        assert screen.answer.remedies
        await pilot.press("x")
        await settled(pilot)
        assert screen.answer.prediction.fits_memory


async def test_why_opens_the_tree_and_overrides_a_profile_figure(app):
    async with app.run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        await pilot.press("w")
        await pilot.pause()
        why = app.screen
        assert isinstance(why, WhyScreen)
        text = "\n".join(term_lines(why._term))
        assert "gemm_backward" in text
        assert "50.0 %" in text
        await pilot.press("j", "enter", "j")
        await pilot.press("e")
        await pilot.pause()
        if isinstance(app.screen, WhyScreen):
            await pilot.press("j", "e")
            await pilot.pause()
        await pilot.press(*"4e12", "enter")
        await settled(pilot)
        key = "accelerator.memory.bandwidth_bytes_per_s"
        assert screen.session.scenario.overrides == ((key, "4e12"),)


async def test_the_command_is_shown_and_copied(app):
    async with app.run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        await pilot.press("exclamation_mark")
        await pilot.pause()
        assert isinstance(app.screen, TextScreen)
        assert app.clipboard == predict_command(screen.session.scenario)


async def test_copying_gives_value_and_unit(app):
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await pilot.press("tab", "y")
        assert app.clipboard == "64.00 k tokens/s"
        await pilot.press("Y")
        assert "step_time_s\t" in app.clipboard


async def test_save_and_open_again(app, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with app.run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        await pilot.press("j", "plus")
        await settled(pilot)
        assert screen.session.is_changed
        await pilot.press("s")
        await pilot.pause()
        await pilot.press("enter")
        await settled(pilot)
        assert (tmp_path / "scenario.toml").is_file()
        assert not screen.session.is_changed
        await pilot.press("u", "O")
        await pilot.pause()
        await pilot.press(*"scenario.toml", "enter")
        await settled(pilot)
        assert screen.session.scenario.devices == 128


async def test_the_history_survives_a_restart(app):
    async with app.run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        await pilot.press("j", "plus")
        await settled(pilot)
        ended = screen.session.scenario
    again = read_journal(journal_path())
    assert again is not None
    assert again.scenario == ended
    assert again.undo() is not None


async def test_quitting_unsaved_asks(app):
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await pilot.press("j", "plus")
        await settled(pilot)
        await pilot.press("q")
        await pilot.pause()
        assert len(app.screen_stack) == 3
        await pilot.press("n")
        await pilot.pause()
        assert len(app.screen_stack) == 2


async def test_below_80_columns_the_numbers_stay(app):
    async with app.run_test(size=(60, 20)) as pilot:
        screen = await settled(pilot)
        assert not screen.query_one("#left").display
        assert screen.query_one(HeadlinePane).display


async def test_random_keys_never_break_it_and_undo_leads_back(app):
    import random

    keys = ["j", "k", "plus", "minus", "a", "u", "U", "i", "t", "tab", "p", "right_square_bracket"]
    chooser = random.Random(7)
    async with app.run_test(size=SIZE) as pilot:
        screen = await settled(pilot)
        for _ in range(120):
            await pilot.press(chooser.choice(keys))
        await settled(pilot)
        while screen.session.undo() is not None:
            pass
        assert screen.session.scenario == EXAMPLE


def test_every_key_stands_for_one_action():
    keys = [key for action in ACTIONS for key in action.keys.split(",")]
    assert len(keys) == len(set(keys))
    assert len({action.id for action in ACTIONS}) == len(ACTIONS)


def test_a_keymap_with_mistakes_is_reported_not_fatal(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text('[keymap]\nedit = "x,y"\nnonsense = "z"\nundo = 3\n')
    keymap, problems = load_keymap(path)
    assert keymap == {"edit": "x,y"}
    assert any("nonsense" in problem for problem in problems)
    assert any("undo" in problem for problem in problems)
    assert any("stands for" in problem for problem in problems)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cluster", "lumi-g"),
        ("devices", 128),
        ("model", "mistral-7b"),
        ("seq_len", 4096),
        ("global_batch", 1024),
        ("precision", "fp8"),
        ("framework", "torchtitan"),
        ("tp", 4),
        ("pp", 2),
        ("cp", 4),
        ("micro_batch", 1),
        ("zero", 0),
        ("sequence_parallel", False),
        ("recompute", "full"),
        ("attention", "unfused"),
        ("power_cap_w", 400.0),
        ("site", "kajaani"),
        ("tokens", 1e12),
    ],
)
def test_every_field_changes_the_real_result_to_what_the_command_prints(name, value):
    """The screen's numbers and those of the command it shows are the same to the last digit."""
    import json

    pinned = replace(EXAMPLE.plan, tp=2, sequence_parallel=True)
    base = replace(EXAMPLE, plan=pinned) if "seq" in name else EXAMPLE
    field = next(f for f in FIELDS if f.name == name)
    changed = field.put(base, value)
    compute = Compute(RealTwin())
    before, after = compute.answer(base, 1).prediction, compute.answer(changed, 2).prediction
    assert after is not None
    assert replace(before, scenario=changed, profile_hashes={}) != replace(after, profile_hashes={})
    words = shlex.split(predict_command(changed))
    printed = json.loads(CliRunner().invoke(predict, [*words[2:], "--json"]).stdout)
    for quantity in ("step_time_s", "tokens_per_s", "it_power_w", "energy_per_token_j"):
        assert printed[quantity] == getattr(after, quantity)


def test_vpp_changes_the_real_result():
    plan = replace(EXAMPLE.plan, tp=2, pp=4, zero=1, micro_batch=1, recompute="none")
    compute = Compute(RealTwin())
    times = [
        compute.answer(replace(EXAMPLE, plan=replace(plan, vpp=vpp)), 1).prediction.step_time_s
        for vpp in (1, 4)
    ]
    assert times[1] < times[0]
