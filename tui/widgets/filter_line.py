"""One line in which a filter is typed; the list narrows with every key."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

__all__ = ["FilterLine"]


class FilterLine(Horizontal):
    """The line, and what it found."""

    class Changed(Message):
        """The text of the filter is another one."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """Typing ended; the filter stays."""

    def __init__(self, example: str) -> None:
        super().__init__(id="filter-line")
        self._example = example
        self._back_to: Widget | None = None

    def compose(self) -> ComposeResult:
        """Name, input, what was found."""
        yield Static(" / ", id="filter-name", markup=False)
        yield Input(placeholder=self._example, id="filter", classes="filter", compact=True)
        yield Static("", id="filter-words", markup=False)

    def on_mount(self) -> None:
        """Tab passes the line by; only the key of the filter leads to it."""
        self.query_one(Input).can_focus = False

    @property
    def text(self) -> str:
        """What is typed."""
        return self.query_one(Input).value

    def begin(self, back_to: Widget | None) -> None:
        """Type; leaving goes back to where the user came from."""
        self._back_to = back_to
        line = self.query_one(Input)
        line.can_focus = True
        # At once and not after the next refresh: the next key may be there already.
        self.screen.set_focus(line)

    def put(self, text: str) -> None:
        """Set the text from elsewhere."""
        self.query_one(Input).value = text

    def say(self, words: str, *, is_problem: bool = False) -> None:
        """What was found, or what is wrong with the filter."""
        found = self.query_one("#filter-words", Static)
        found.update(f"{words} ")
        found.set_class(is_problem, "problem")

    def leave(self) -> None:
        """Go back to where the user came from."""
        self.screen.set_focus(self._back_to)
        self.query_one(Input).can_focus = False
        self.post_message(self.Left())

    def on_input_changed(self, event: Input.Changed) -> None:
        """Every key narrows."""
        event.stop()
        self.post_message(self.Changed(event.value))

    def on_key(self, event: events.Key) -> None:
        """Enter, esc, tab and down end typing, before the next key arrives."""
        is_typing = self.screen.focused is self.query_one(Input)
        if is_typing and event.key in ("enter", "escape", "tab", "down"):
            event.stop()
            event.prevent_default()
            self.leave()
