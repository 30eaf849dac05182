"""What all screens on the number keys share: the tab line, panes, help, jumping, leaving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Input, Static

from tui.compute import Compute
from tui.keymap import actions_of
from tui.state import Session
from tui.widgets.dialogs import AskScreen, ConfirmScreen, TextScreen
from tui.widgets.lines import Line, content
from tui.widgets.tab_line import tab_line

if TYPE_CHECKING:
    from tui.app import TweelingApp

__all__ = ["WorkScreen", "bindings_of"]


def bindings_of(screen: str) -> list[BindingType]:
    """Keys of a screen, from the table of all actions."""
    return [
        Binding(a.keys, a.action, a.words, id=a.id, show=a.in_footer) for a in actions_of(screen)
    ]


class WorkScreen(Screen[None]):
    """One screen of the tab line; it stays as it is while another one is shown."""

    ID: ClassVar[str] = ""
    """Its id in the registry."""

    PANES: ClassVar[tuple[str, ...]] = ()
    """Ids of the panes that jumping reaches, each with another first letter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("shift+tab", "app.focus_previous", show=False),
        Binding("tab", "app.focus_next", show=False),
        Binding("escape", "back", show=False),
    ]

    def __init__(self, compute: Compute, session: Session, *, is_ascii: bool = False) -> None:
        super().__init__()
        self._compute = compute
        self.session = session
        self.is_ascii = is_ascii
        self._words = ""
        self.is_ready = False
        """Whether its panes are there to draw on."""

    @property
    def workbench(self) -> TweelingApp:
        """The app, which knows the other screens."""
        return self.app  # type: ignore[return-value]  # no other app has these screens

    def take_compute(self, compute: Compute) -> None:
        """Use another twin, after profiles were read again."""
        self._compute = compute

    def status(self) -> str:
        """What the right end of the tab line says."""
        return ""

    def scenario_name(self) -> str:
        """Name of the scenario; a star when it is not saved."""
        name = self.session.path.name if self.session.path else "example"
        pins = f"   pinned {len(self.session.pinned)}" if self.session.pinned else ""
        return f"{name}{'*' if self.session.is_changed else ''}{pins}"

    def draw_title(self) -> None:
        """Draw the tab line."""
        right = f"{self._words or self.status()} "
        # A message takes the room of the scenario's name.
        name = "" if self._words else self.scenario_name()
        line = tab_line(self.ID, width=self.size.width or 80, right=right, name=name)
        self.query_one("#title", Static).update(self.drawn([line]), layout=False)

    def say(self, words: str) -> None:
        """Tell in the title line, where it covers no number, until the next key that draws."""
        self._words = words
        self.draw_title()
        self._words = ""

    def refuse(self, refusal: Exception) -> None:
        """Show why something was not done."""
        self.notify(str(refusal), severity="error", markup=False)

    def on_screen_resume(self) -> None:
        """Other screens may have changed the scenario."""
        if self.is_mounted:
            self.draw_title()

    def on_resize(self) -> None:
        """The tab line follows the width."""
        if self.query("#title"):
            self.draw_title()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a line is typed its keys are text; esc and tab still act."""
        is_typing = isinstance(self.focused, Input)
        if is_typing and action not in ("back", "app.focus_next", "app.focus_previous"):
            return False
        return super().check_action(action, parameters)

    def drawn(self, lines: Sequence[Line]) -> Content:
        """Lines in the glyphs that the terminal has."""
        return content(lines, is_ascii=self.is_ascii)

    # -- panes ----------------------------------------------------------------------------------

    def action_maximise(self) -> None:
        """Give the pane in focus the whole screen, and back."""
        if self.maximized is not None:
            self.minimize()
        elif self.focused is not None:
            self.maximize(self.focused, container=False)

    def action_back(self) -> None:
        """Back from a maximised pane."""
        if self.maximized is not None:
            self.minimize()

    def action_jump(self) -> None:
        """Ask for the first letter of a pane and go there."""

        def go(text: str | None) -> None:
            for name in self.PANES:
                if text and name.startswith(text.lower()[:1]):
                    self.query_one(f"#{name}").focus()

        names = "  ".join(f"{name[0]} {name}" for name in self.PANES)
        self.app.push_screen(AskScreen("jump to", hint=names), go)

    # -- leaving and copying --------------------------------------------------------------------

    def action_quit_asking(self) -> None:
        """Quit; asks when the scenario is not saved."""
        if not self.session.is_changed:
            self.app.exit()
            return

        def answered(answer: bool | None) -> None:
            if answer:
                self.app.exit()

        question = "The scenario is not saved; its history is kept for the next start. Quit?"
        self.app.push_screen(ConfirmScreen(question), answered)

    def copied(self, text: str, words: str) -> None:
        """Copy a text through the terminal and say so."""
        self.app.copy_to_clipboard(text)
        self.say(f"copied {words}")

    def show_text(self, title: str, text: str, *, copies: bool = False) -> None:
        """Show a text to read; a command is copied at once."""
        if copies:
            self.app.copy_to_clipboard(text)
        self.app.push_screen(TextScreen(title, text))

    def palette_commands(self) -> Iterator[SystemCommand]:
        """What the command palette offers while this screen is shown."""
        yield from ()
