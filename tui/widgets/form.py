"""The form of a scenario: one line per field, edited in place."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tui.format import fixed
from tui.widgets.lines import Line, content
from twin.scenario.fields import FIELDS, Field, Invalid, Ok
from twin.scenario.resolve import Catalogues
from twin.scenario.scenario import Scenario
from twin.training.plan import Plan

__all__ = ["Form", "form_lines"]

LABEL_WIDTH = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class FormView:
    """Everything the form draws."""

    scenario: Scenario
    plan: Plan | None
    """The plan of the last prediction: shows what the twin chose."""
    cursor: int
    width: int
    editing: str | None = None
    invalid: str | None = None


def _value_text(field: Field, view: FormView) -> tuple[str, str]:
    """Value and style: pinned bright, decided by the twin dim."""
    value = field.of(view.scenario)
    if value is None and field.is_plan and view.plan is not None:
        return f"{field.text(getattr(view.plan, field.name))}", "dim"
    if value is None:
        return field.text(None), "dim"
    unit = f" {field.unit}" if field.unit else ""
    return field.text(value) + unit, "bold" if field.is_plan else ""


def form_lines(view: FormView) -> list[Line]:
    """One line per field; the line being edited shows what is typed."""
    lines: list[Line] = []
    room = max(6, view.width - LABEL_WIDTH - 2)
    for index, field in enumerate(FIELDS):
        is_here = index == view.cursor
        text, style = _value_text(field, view)
        mark = ">" if is_here else " "
        origin = "auto" if field.is_plan and field.of(view.scenario) is None else ""
        if is_here and view.editing is not None:
            text, style, origin = f"{view.editing}▏", "$accent bold", ""
        body = fixed(text, room - len(origin)) + origin
        row = f"{style} reverse" if is_here and view.editing is None else style
        lines.append([(f"{mark}{fixed(field.label, LABEL_WIDTH)}", "dim"), (body, row.strip())])
        if is_here and view.invalid:
            lines.append([(fixed(f"  {view.invalid}", view.width), "$error")])
    return lines


class Form(Widget, can_focus=True):
    """Draws the fields and turns keys into edits; the screen applies them."""

    DEFAULT_CSS = "Form { height: 1fr; }"

    cursor: reactive[int] = reactive(0)
    editing: reactive[str | None] = reactive[str | None](None)
    invalid: reactive[str | None] = reactive[str | None](None)

    @dataclass
    class Edited(Message):
        """A field got a new value by typing, stepping or choosing."""

        field: Field
        value: object
        is_final: bool

    @dataclass
    class Finished(Message):
        """Typing ended; the next edit is a step of its own."""

        is_cancelled: bool

    def __init__(self, catalogues: Catalogues, scenario: Scenario) -> None:
        super().__init__(id="form")
        self._catalogues = catalogues
        self._scenario = scenario
        self._plan: Plan | None = None
        self.device_limit_w: float | None = None
        """Where a power cap starts from when there is none yet. [W]"""

    @property
    def field(self) -> Field:
        """The field under the cursor."""
        return FIELDS[self.cursor]

    def show(self, scenario: Scenario, plan: Plan | None) -> None:
        """Draw another scenario, or the plan that was chosen for it."""
        if (scenario, plan) != (self._scenario, self._plan):
            self._scenario, self._plan = scenario, plan
            self.refresh()

    def render(self) -> Content:
        """The form as text."""
        view = FormView(
            scenario=self._scenario,
            plan=self._plan,
            cursor=self.cursor,
            width=self.size.width or 32,
            editing=self.editing,
            invalid=self.invalid,
        )
        return content(form_lines(view))

    def move(self, step: int) -> None:
        """Move the cursor; it stops at the ends."""
        self.cursor = max(0, min(len(FIELDS) - 1, self.cursor + step))

    def begin_edit(self) -> None:
        """Edit the field under the cursor, starting from its present text."""
        value = self.field.of(self._scenario)
        self.editing = "" if value is None else self.field.text(value)
        self.invalid = None

    def step(self, direction: int) -> None:
        """Take the next sensible value, from what the twin chose where the field is open."""
        value = self.field.of(self._scenario)
        if value is None and self.field.is_plan and self._plan is not None:
            value = getattr(self._plan, self.field.name)
        if value is None and self.field.kind == "watts":
            # The first step down starts from the device's own limit.
            value = self.device_limit_w
        moved = self.field.stepped(value, direction, self._catalogues)
        self.post_message(self.Edited(self.field, moved, True))

    def _typed(self, text: str) -> None:
        """Take what is typed so far: a valid value counts at once."""
        self.editing = text
        parsed = self.field.parse(text, self._catalogues)
        if isinstance(parsed, Ok):
            self.invalid = None
            self.post_message(self.Edited(self.field, parsed.value, False))
        elif isinstance(parsed, Invalid):
            self.invalid = parsed.message if text else None

    def _end_edit(self, *, is_cancelled: bool) -> None:
        self.editing, self.invalid = None, None
        self.post_message(self.Finished(is_cancelled))

    def on_key(self, event: events.Key) -> None:
        """While a field is edited, keys are its text; otherwise they are commands."""
        if self.editing is None:
            return
        if event.key == "enter":
            self._end_edit(is_cancelled=self.invalid is not None)
        elif event.key == "escape":
            self._end_edit(is_cancelled=True)
        elif event.key in ("tab", "down", "up"):
            self._end_edit(is_cancelled=self.invalid is not None)
            return
        elif event.key == "backspace":
            self._typed(self.editing[:-1])
        elif event.character is not None and event.is_printable:
            self._typed(self.editing + event.character)
        event.stop()
        event.prevent_default()

    def on_click(self, event: events.Click) -> None:
        """A click puts the cursor on a field."""
        if 0 <= event.y < len(FIELDS):
            self.cursor = event.y
