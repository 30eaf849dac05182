"""The app: themes, keymap, settings, the screen, reloading of profiles."""

from __future__ import annotations

import locale
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from textual.app import App, SystemCommand
from textual.screen import Screen

from tui.compute import Compute, Twin
from tui.keymap import load_keymap, settings_path
from tui.screens.compose import ComposeScreen
from tui.state import Session
from tui.themes import DARK, LIGHT

__all__ = ["TweelingApp", "wants_ascii"]

WIDE_COLUMNS = 140
TALL_ROWS = 32
NARROWEST_COLUMNS = 80


def wants_ascii() -> bool:
    """Whether glyphs beyond ASCII would not show."""
    encoding = locale.getpreferredencoding(do_setlocale=False).lower()
    return "utf" not in encoding or os.environ.get("TERM") == "linux"


class TweelingApp(App[None]):
    """The terminal UI."""

    TITLE = "Tweeling"
    CSS_PATH = "tui.tcss"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - the way Textual declares breakpoints
        (0, "-tiny"),
        (NARROWEST_COLUMNS, "-normal"),
        (WIDE_COLUMNS, "-wide"),
    ]

    VERTICAL_BREAKPOINTS = [(0, "-short"), (TALL_ROWS, "-tall")]  # noqa: RUF012 - as above

    def __init__(
        self,
        make_twin: Callable[[], Twin],
        session: Session,
        *,
        is_ascii: bool | None = None,
        keymap_file: Path | None = None,
    ) -> None:
        super().__init__()
        self._make_twin = make_twin
        self._compute = Compute(make_twin())
        self._session = session
        self._is_ascii = wants_ascii() if is_ascii is None else is_ascii
        self._keymap_file = keymap_file or settings_path()

    def on_mount(self) -> None:
        """Themes, the user's keys, the first screen."""
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = DARK.name
        keymap, problems = load_keymap(self._keymap_file)
        self.set_keymap(keymap)
        self.push_screen(ComposeScreen(self._compute, self._session, is_ascii=self._is_ascii))
        for problem in problems:
            self.notify(problem, severity="warning")

    def reload_twin(self) -> None:
        """Read all profiles again."""
        self._compute = Compute(self._make_twin())
        for screen in self.screen_stack:
            if isinstance(screen, ComposeScreen):
                screen.take_compute(self._compute)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Palette: Textual's own, and every cluster and model of the catalogue."""
        yield from super().get_system_commands(screen)
        if not isinstance(screen, ComposeScreen):
            return
        yield from screen.palette_commands()
