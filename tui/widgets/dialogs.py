"""Small dialogs: a text with keys, one line to type."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

__all__ = ["AskScreen", "ConfirmScreen", "TextScreen"]


class TextScreen(ModalScreen[None]):
    """Text to read and to copy."""

    BINDINGS = [  # noqa: RUF012 - the way Textual declares bindings
        Binding("escape,q,enter", "close", "close"),
        Binding("y", "copy", "copy"),
    ]

    def __init__(self, title: str, text: str, *, hint: str = "y copy   esc close") -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._hint = hint

    def compose(self) -> ComposeResult:
        """Title, text, keys."""
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="dialog-title", markup=False)
            with VerticalScroll(classes="dialog-body"):
                yield Static(self._text, id="dialog-text", markup=False)
            yield Static(self._hint, classes="dialog-keys", markup=False)

    def action_close(self) -> None:
        """Back to the screen behind."""
        self.dismiss(None)

    def action_copy(self) -> None:
        """Copy the text."""
        self.app.copy_to_clipboard(self._text)
        self.notify("copied")


class AskScreen(ModalScreen[str | None]):
    """One line to type; dismissed with the text, or None."""

    BINDINGS = [Binding("escape", "close", "cancel")]  # noqa: RUF012

    def __init__(self, title: str, value: str = "", *, hint: str = "") -> None:
        super().__init__()
        self._title = title
        self._value = value
        self._hint = hint

    def compose(self) -> ComposeResult:
        """Title, input, keys."""
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="dialog-title", markup=False)
            yield Input(self._value, id="ask", select_on_focus=False)
            yield Static(self._hint or "enter accept   esc cancel", classes="dialog-keys")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the text."""
        self.dismiss(event.value.strip() or None)

    def action_close(self) -> None:
        """Cancel."""
        self.dismiss(None)


class ConfirmScreen(ModalScreen[bool]):
    """A question that is answered by y or n."""

    BINDINGS = [  # noqa: RUF012 - the way Textual declares bindings
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape", "answer(False)", "no"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The question and its keys."""
        with Vertical(classes="dialog"):
            yield Static(self._question, classes="dialog-title", markup=False)
            yield Static("y yes   n no", classes="dialog-keys")

    def action_answer(self, answer: bool) -> None:
        """Answer."""
        self.dismiss(answer)
