"""Compose: what does this configuration deliver? The home screen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from hardware_profiles.errors import TweelingError
from tui.compute import Answer, Compute
from tui.screens.compose_text import (
    REMEDY_KEYS,
    help_text,
    notes_lines,
    status_text,
    table_text,
)
from tui.screens.work_screen import WorkScreen, bindings_of
from tui.state import Session, change_words, journal_path, write_journal
from tui.widgets.dialogs import AskScreen
from tui.widgets.form import Form
from tui.widgets.lines import content
from tui.widgets.panes import (
    BreakdownPane,
    HeadlinePane,
    MemoryPane,
    PowerPane,
    ResultPane,
)
from tui.widgets.why_tree import WhyScreen
from twin.quantities import shown
from twin.scenario.command import predict_command
from twin.scenario.fields import FIELDS, field_named
from twin.scenario.scenario import PlanRequest, Scenario
from twin.scenario.scenario_file import read_scenario, write_scenario

if TYPE_CHECKING:
    from twin.prediction import Prediction

__all__ = ["ComposeScreen"]

INLINE_BUDGET_S = 0.015
"""Predictions expected to take longer run in a thread. [s]"""

TALL_ROWS = 32
TALL_NOTES = 8
SHORT_NOTES = 2
"""Lines of notes on tall and on short terminals. [1]"""


class ComposeScreen(WorkScreen):
    """A form on the left, what it delivers on the right."""

    ID = "compose"
    PANES = ("form", "headline", "breakdown", "memory", "power")
    BINDINGS = [  # noqa: RUF012 - the way Textual declares bindings
        *bindings_of("compose"),
        Binding("j,down", "move(1)", show=False),
        Binding("k,up", "move(-1)", show=False),
        Binding("g,home", "move(-100)", show=False),
        Binding("G,end", "move(100)", show=False),
        Binding("ctrl+d", "move(8)", show=False),
        Binding("ctrl+u", "move(-8)", show=False),
        Binding("h", "app.focus_previous", show=False),
        Binding("l", "app.focus_next", show=False),
        *(Binding(key, f"remedy({i})", show=False) for i, key in enumerate(REMEDY_KEYS)),
    ]

    def __init__(self, compute: Compute, session: Session, *, is_ascii: bool = False) -> None:
        super().__init__(compute, session, is_ascii=is_ascii)
        self.version = 0
        """Counts scenarios; an answer for an older one is dropped."""
        self.answer: Answer | None = None
        self._good: Prediction | None = None
        self._find = ""
        self._is_first_start = len(session.history) == 1
        self._is_outdated = False

    def compose(self) -> ComposeResult:
        """Panes; the side column shows on wide terminals only."""
        yield Static("", id="title", markup=False)
        with Horizontal(id="main"):
            with Vertical(id="left"):
                yield Static(" configuration", classes="heading", markup=False)
                yield Form(self._compute.twin.catalogues, self.session.scenario)
            with Vertical(id="right"):
                yield Static(" result", classes="heading", markup=False)
                yield HeadlinePane(id="headline")
                yield Static(" step time, where it goes", classes="heading", markup=False)
                yield BreakdownPane(id="breakdown")
            with Vertical(id="side"):
                yield Static(" memory per device", classes="heading", markup=False)
                yield MemoryPane(id="memory")
                yield Static(" power and energy", classes="heading", markup=False)
                yield PowerPane(id="power")
                yield Static(" edits", classes="heading", markup=False)
                yield Static("", id="log", markup=False)
        yield Static("", id="notes", markup=False)
        yield Static(
            " e edit  +/- step  a auto  w why  u undo  ! command  s save  ? help", id="keys"
        )

    def on_mount(self) -> None:
        """Predict what the session holds."""
        for pane in self.query(ResultPane):
            pane.is_ascii = self.is_ascii
        self.query_one(Form).focus()
        self.refresh_prediction()

    # -- predicting -----------------------------------------------------------------------------

    def refresh_prediction(self) -> None:
        """Ask for the present scenario: at once if quick, in a thread if not; newest wins."""
        self.version += 1
        scenario, version = self.session.scenario, self.version
        form = self.query_one(Form)
        form.device_limit_w = self._compute.device_limit_w(scenario)
        form.show(scenario, self._good.plan if self._good is not None else None)
        expected_s = self._compute.expected_s(scenario)
        if expected_s is not None and expected_s < INLINE_BUDGET_S:
            self._take(self._compute.answer(scenario, version))
            return
        self._mark_stale(True)
        self.run_worker(self._answer_in_thread(scenario, version), group="predict", exclusive=True)

    async def _answer_in_thread(self, scenario: Scenario, version: int) -> None:
        self._take(await asyncio.to_thread(self._compute.answer, scenario, version))

    def _take(self, answer: Answer) -> None:
        """Draw an answer unless the scenario has moved on."""
        if answer.version != self.version or not self.is_mounted:
            return
        self.answer = answer
        if answer.prediction is not None:
            self._good = answer.prediction
            for pane in self.query(ResultPane):
                pane.prediction = answer.prediction
        self._mark_stale(answer.prediction is None)
        plan = answer.prediction.plan if answer.prediction is not None else None
        self.query_one(Form).show(self.session.scenario, plan)
        self._draw_words()

    def _mark_stale(self, is_stale: bool) -> None:
        for pane in self.query(ResultPane):
            pane.is_stale = is_stale

    def _draw_words(self) -> None:
        """Title, notes, status and the log of edits."""
        session, answer = self.session, self.answer
        width, height = self.size.width or 80, self.size.height or 24
        self.draw_title()
        room = TALL_NOTES if height >= TALL_ROWS else SHORT_NOTES
        notes = notes_lines(answer, is_first_start=self._is_first_start, width=width, n_lines=room)
        self.query_one("#notes", Static).update(content(notes))
        log = "\n".join(f" {edit.words}" for edit in session.history[session.position : 0 : -1])
        self.query_one("#log", Static).update(log)

    # -- editing --------------------------------------------------------------------------------

    def _edit(self, scenario: Scenario, words: str, *, field_name: str | None = None) -> None:
        if self.session.edit(scenario, words, field_name=field_name):
            self._is_first_start = False
            write_journal(self.session, journal_path())
            self.refresh_prediction()
        self._draw_words()

    def on_form_edited(self, message: Form.Edited) -> None:
        """Apply what the form says."""
        before = self.session.scenario
        after = message.field.put(before, message.value)  # type: ignore[arg-type]
        name = message.field.name
        self._edit(after, change_words(name, before, after), field_name=name)
        if message.is_final:
            self.session.close_edit()

    def on_form_finished(self, message: Form.Finished) -> None:
        """Typing ended; a cancelled edit is taken back."""
        last = self.session.history[self.session.position]
        if message.is_cancelled and last.field_name == self.query_one(Form).field.name:
            self.session.undo()
            self.refresh_prediction()
        self.session.close_edit()
        self._draw_words()

    @property
    def _form(self) -> Form:
        return self.query_one(Form)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a field is edited its keys are text."""
        if self.query(Form) and self._form.editing is not None:
            return False
        return super().check_action(action, parameters)

    def action_enter(self) -> None:
        """Edit the field under the cursor."""
        self.action_edit()

    def action_edit(self) -> None:
        """Edit the field under the cursor."""
        self._form.focus()
        self._form.begin_edit()

    def action_step(self, direction: int) -> None:
        """Take the next sensible value of the field under the cursor."""
        self._form.step(direction)

    def action_alternative(self, direction: int) -> None:
        """Take the next alternative of the catalogue."""
        self._form.step(direction)

    def action_move(self, step: int) -> None:
        """Move the cursor of the pane that has focus."""
        focused = self.focused
        if isinstance(focused, (Form, ResultPane)):
            focused.move(step)

    def action_auto_plan(self) -> None:
        """Leave the whole plan to the twin."""
        scenario = self.session.scenario
        self._edit(replace(scenario, plan=PlanRequest()), "plan left to the twin")

    def action_undo(self) -> None:
        """Take the last edit back."""
        words = self.session.undo()
        self._after_history(f"undone: {words}" if words else "nothing to undo", bool(words))

    def action_redo(self) -> None:
        """Make the edit again."""
        words = self.session.redo()
        self._after_history(f"redone: {words}" if words else "nothing to redo", bool(words))

    def _after_history(self, words: str, is_changed: bool) -> None:
        if is_changed:
            write_journal(self.session, journal_path())
            self.refresh_prediction()
        self._draw_words()
        self.say(words)

    def action_pin(self) -> None:
        """Pin the scenario for comparison."""
        self.say("pinned" if self.session.pin() else "pinned already")
        self._draw_words()

    def action_unpin(self) -> None:
        """Unpin it."""
        self.say("unpinned" if self.session.unpin() else "was not pinned")
        self._draw_words()

    def action_remedy(self, index: int) -> None:
        """Take one of the changes that make the plan fit, the fastest first."""
        if self.answer is not None and index < len(self.answer.remedies):
            chosen = self.answer.remedies[index]
            self._edit(chosen.scenario, f"made to fit: {chosen.words}")

    # -- looking --------------------------------------------------------------------------------

    def action_why(self) -> None:
        """Open the tree of terms of the number in focus."""
        focused = self.focused
        quantity = focused.quantity if isinstance(focused, ResultPane) else "step_time_s"
        if self._good is None:
            self.say("nothing predicted yet")
            return
        # The plan that was chosen is pinned, so that nothing is searched while a key waits.
        plan = self._good.plan
        pinned = PlanRequest(**{f.name: getattr(plan, f.name) for f in fields(PlanRequest)})
        try:
            terms = self._compute.twin.explain(replace(self._good.scenario, plan=pinned))
        except TweelingError as refusal:
            self.notify(str(refusal), severity="error")
            return
        self.app.push_screen(WhyScreen(terms[quantity], is_ascii=self.is_ascii), self._overridden)

    def _overridden(self, key: str | None) -> None:
        """Ask for the value of a profile figure that the user wants to override."""
        if key is None:
            return

        def apply(value: str | None) -> None:
            if value is None:
                return
            scenario = self.session.scenario
            kept = tuple(pair for pair in scenario.overrides if pair[0] != key)
            changed = replace(scenario, overrides=(*kept, (key, value)))
            self._edit(changed, f"{key} set to {value}")

        self.app.push_screen(AskScreen(f"{key}, base unit, for this scenario only"), apply)

    def action_toggle_intervals(self) -> None:
        """Show or hide p10 to p90."""
        for pane in self.query(ResultPane):
            pane.has_intervals = not pane.has_intervals

    def action_toggle_table(self) -> None:
        """Bars as a table and back."""
        for pane in self.query(ResultPane):
            pane.as_table = not pane.as_table

    def action_copy_value(self) -> None:
        """Copy the value under the cursor with its unit."""
        focused = self.focused
        if isinstance(focused, Form):
            text = focused.field.text(focused.field.of(self.session.scenario))
        elif isinstance(focused, ResultPane) and self._good is not None:
            text = shown(focused.quantity, getattr(self._good, focused.quantity))
        else:
            return
        self.app.copy_to_clipboard(text)
        self.notify(f"copied {text}")

    def action_copy_table(self) -> None:
        """Copy all results as tab-separated text."""
        if self._good is not None:
            self.app.copy_to_clipboard(table_text(self._good))
            self.say("copied all results as tab-separated text")

    def action_show_command(self) -> None:
        """Show the command that asks the same."""
        folders = self._compute.twin.profile_dirs
        command = predict_command(self.session.scenario, profile_dirs=folders)
        self.show_text("the same on the command line (copied)", command, copies=True)

    def action_help(self) -> None:
        """Keys and fields."""
        self.show_text("Compose: keys", help_text(self._form.field))

    def action_find(self) -> None:
        """Find a field by a part of its label or help."""

        def found(text: str | None) -> None:
            self._find = (text or "").lower()
            self.action_find_next(0)

        self.app.push_screen(AskScreen("find a field", self._find), found)

    def action_find_next(self, step: int) -> None:
        """Go to the next field that matches."""
        if not self._find:
            return
        n = len(FIELDS)
        direction = step or 1
        start = self._form.cursor + step
        for offset in range(n):
            index = (start + offset * direction) % n
            if self._find in f"{FIELDS[index].label} {FIELDS[index].help}".lower():
                self._form.cursor = index
                self._form.focus()
                return
        self.say(f"no field matches {self._find}")

    # -- files ----------------------------------------------------------------------------------

    def action_save(self) -> None:
        """Save under the name it was opened from."""
        if self.session.path is None:
            self.action_save_as()
        else:
            self._save(str(self.session.path))

    def action_save_as(self) -> None:
        """Ask for a name and save."""
        suggestion = str(self.session.path or "scenario.toml")
        self.app.push_screen(AskScreen("save the scenario as", suggestion), self._save)

    def _save(self, name: str | None) -> None:
        if name is None:
            return
        path = Path(name).expanduser()
        try:
            write_scenario(self.session.scenario, path)
        except TweelingError as refusal:
            self.notify(str(refusal), severity="error")
            return
        self.session.path, self.session.saved = path, self.session.scenario
        write_journal(self.session, journal_path())
        self._draw_words()
        self.notify(f"saved {path}")

    def action_open(self) -> None:
        """Ask for a scenario file and open it; undo comes back."""

        def opened(name: str | None) -> None:
            if name is None:
                return
            path = Path(name).expanduser()
            try:
                scenario = read_scenario(path, self._compute.twin.catalogues)
            except TweelingError as refusal:
                self.notify(str(refusal), severity="error")
                return
            self.session.path, self.session.saved = path, scenario
            self._edit(scenario, f"opened {path.name}")

        self.app.push_screen(AskScreen("open a scenario file"), opened)

    def action_recompute(self) -> None:
        """Read the profiles again and predict."""
        self.workbench.reload_twin()
        self.refresh_prediction()

    def palette_commands(self) -> Iterator[SystemCommand]:
        """Every cluster and model of the catalogue, for the command palette."""
        for name in ("cluster", "model"):
            field = field_named(name)
            choices = field.choices(self._compute.twin.catalogues) if field.choices else ()
            for choice in choices:
                yield SystemCommand(
                    f"use {choice}", f"{name} of this scenario", partial(self._use, name, choice)
                )

    def _use(self, name: str, choice: str) -> None:
        before = self.session.scenario
        after = field_named(name).put(before, choice)
        self._edit(after, change_words(name, before, after))

    def on_resize(self) -> None:
        """Notes are cut to the width."""
        self._draw_words()

    def status(self) -> str:
        """Edits, and how long the prediction took."""
        return status_text(self.session, self.answer).strip()

    def on_screen_resume(self) -> None:
        """Another screen may have changed the scenario, or the profiles behind it."""
        if self.is_mounted and (self._is_outdated or self._is_other_scenario):
            self._is_outdated = False
            self.refresh_prediction()
        super().on_screen_resume()

    @property
    def _is_other_scenario(self) -> bool:
        return self.answer is not None and self.answer.scenario != self.session.scenario

    def take_compute(self, compute: Compute) -> None:
        """Use another twin; predict when the screen is next seen."""
        super().take_compute(compute)
        self._is_outdated = True
