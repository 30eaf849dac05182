"""The screens on the number keys: one line each; a screen is imported when it is first shown."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from tui.screens.work_screen import WorkScreen

__all__ = ["HOME", "SCREENS", "ScreenEntry", "screen_class"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenEntry:
    """One screen of the tab line."""

    key: str
    id: str
    name: str
    short: str
    """Name where the tab line has no room for the whole."""
    question: str
    """What it answers."""

    @property
    def target(self) -> tuple[str, str]:
        """Module and class."""
        return f"tui.screens.{self.id}", f"{self.id.capitalize()}Screen"


SCREENS: tuple[ScreenEntry, ...] = (
    ScreenEntry(key="1", id="compose", name="Compose", short="Compose",
                question="what does this configuration deliver?"),
    ScreenEntry(key="2", id="catalogue", name="Catalogue", short="Cat",
                question="which parts are there, and where do their figures come from?"),
    ScreenEntry(key="7", id="kernels", name="Kernels", short="Kern",
                question="how far are kernels from the roofline, how good is the calibration?"),
    ScreenEntry(key="9", id="validation", name="Validation", short="Valid",
                question="how far are predictions from runs that others published?"),
)  # fmt: skip
"""In the order of the keys."""

HOME = SCREENS[0].id


def screen_class(entry: ScreenEntry) -> type[WorkScreen]:
    """Import the class of a screen."""
    module, name = entry.target
    return cast("type[WorkScreen]", getattr(importlib.import_module(module), name))
