"""The first line of every screen: program, screens on the number keys, what is going on."""

from __future__ import annotations

from tui.format import short
from tui.screens.registry import SCREENS
from tui.widgets.lines import Line

__all__ = ["tab_line"]

PROGRAM = " Tweeling "


def tab_line(current: str, *, width: int, right: str, name: str = "") -> Line:
    """Tabs on the left, words on the right; tabs are shortened before words are cut.

    Parameters
    ----------
    current
        Id of the screen that is shown.
    width
        Cells of the line.
    right
        What is going on.
    name
        Name of the scenario, with a star when it is not saved.
    """
    spare = len(right) + len(name) + 2
    for uses_short in (False, True):
        tabs = [f" {e.key} {e.short if uses_short else e.name} " for e in SCREENS]
        n_tabs = len(PROGRAM) + sum(map(len, tabs))
        if n_tabs + spare <= width:
            break
    room = max(0, width - n_tabs)
    words = short(f"{name}  {right}" if name else right, room)
    line: list[tuple[str, str]] = [(PROGRAM, "bold")]
    for entry, tab in zip(SCREENS, tabs, strict=True):
        line.append((tab, "bold reverse" if entry.id == current else ""))
    return [*line, (words.rjust(room), "")]
