"""The app: themes, keymap, settings, the screens on the number keys, reloading of profiles."""

from __future__ import annotations

import gc
import locale
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from tui.compute import Compute, Twin
from tui.key_order import OrderedKeysApp
from tui.keymap import load_keymap, settings_path
from tui.screens.registry import HOME, SCREENS, screen_class
from tui.screens.work_screen import WorkScreen
from tui.state import Session
from tui.themes import DARK, LIGHT

if TYPE_CHECKING:
    from tui.screens.catalogue import CatalogueScreen
    from tui.screens.kernels import KernelsScreen

__all__ = ["TweelingApp", "wants_ascii"]

WIDE_COLUMNS = 140
TALL_ROWS = 32
NARROWEST_COLUMNS = 80
WARM_UP_S = 0.6
"""After the first screen stands, what other screens import is imported. [s]"""


def wants_ascii() -> bool:
    """Whether glyphs beyond ASCII would not show."""
    encoding = locale.getpreferredencoding(do_setlocale=False).lower()
    return "utf" not in encoding or os.environ.get("TERM") == "linux"


class TweelingApp(OrderedKeysApp):
    """The terminal UI."""

    TITLE = "Tweeling"
    CSS_PATH = "tui.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(e.key, f"show_screen('{e.id}')", e.name, id=f"screen_{e.id}", show=False)
        for e in SCREENS
    ]
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
        profile_dir: Path | None = None,
        measurements: Sequence[Path] = (),
    ) -> None:
        super().__init__()
        self._measurements = measurements
        """Files of measurements that are open on the Kernels screen from the start."""
        self._make_twin = make_twin
        self._compute = Compute(make_twin())
        self._session = session
        self._is_ascii = wants_ascii() if is_ascii is None else is_ascii
        self._keymap_file = keymap_file or settings_path()
        self._made: dict[str, WorkScreen] = {}
        self.profile_dir = profile_dir or self._keymap_file.parent / "profiles"
        """Where overrides of catalogue figures are written."""
        self.warms_up = False
        """Whether modules of other screens are imported before they are asked for."""

    def on_mount(self) -> None:
        """Themes, the user's keys, the first screen."""
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = DARK.name
        keymap, problems = load_keymap(self._keymap_file)
        self.set_keymap(keymap)
        self._made_screen(HOME)
        self.push_screen(HOME)
        if self._measurements:
            kernels: KernelsScreen = self._made_screen("kernels")  # type: ignore[assignment]
            kernels.opened.add(self._measurements)
            self.action_show_screen("kernels")
        for problem in problems:
            self.notify(problem, severity="warning")
        if self.warms_up:
            self.set_timer(WARM_UP_S, self._warm_up)

    def _warm_up(self) -> None:
        """Import the other screens beside the work, so that switching to them is instant."""

        def import_all() -> None:
            for entry in SCREENS:
                screen_class(entry)
            # What was imported lives as long as the program: no collection looks at it again.
            gc.collect()
            gc.freeze()

        self.run_worker(import_all, thread=True, group="warm-up", exit_on_error=False)

    def _made_screen(self, name: str) -> WorkScreen:
        """The screen of that id, made once: its cursor, order and filter stay."""
        if name not in self._made:
            entry = next(entry for entry in SCREENS if entry.id == name)
            made = screen_class(entry)(self._compute, self._session, is_ascii=self._is_ascii)
            self._made[name] = made
            self.install_screen(made, name)
        return self._made[name]

    def action_show_screen(self, name: str) -> None:
        """Show one of the screens on the number keys."""
        screen = self._made_screen(name)
        if self.screen is not screen and isinstance(self.screen, WorkScreen):
            self.switch_screen(name)

    def show_thing(self, kind: str, name: str) -> None:
        """Show one thing of the catalogue."""
        screen: CatalogueScreen = self._made_screen("catalogue")  # type: ignore[assignment]
        self.action_show_screen("catalogue")
        self.call_later(screen.show_thing, kind, name)

    def show_kernels(self, device: str) -> None:
        """Show the kernels of a device."""
        screen: KernelsScreen = self._made_screen("kernels")  # type: ignore[assignment]
        self.action_show_screen("kernels")
        self.call_later(screen.show_device, device)

    def reload_twin(self) -> None:
        """Read all profiles again."""
        self._compute = Compute(self._make_twin())
        for screen in self._made.values():
            screen.take_compute(self._compute)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Palette: Textual's own, the screens, what the screen offers, things of the catalogue."""
        yield from super().get_system_commands(screen)
        if not isinstance(screen, WorkScreen):
            return
        for entry in SCREENS:
            show = partial(self.action_show_screen, entry.id)
            yield SystemCommand(f"{entry.key} {entry.name}", entry.question, show)
        yield from screen.palette_commands()
        for kind, name in self._compute.twin.catalogue_view.names():
            show = partial(self.show_thing, kind, name)
            yield SystemCommand(f"show {name}", f"{kind}: figures and sources", show)
