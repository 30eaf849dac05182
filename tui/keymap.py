"""Actions, their ids and default keys; the user's keymap replaces keys, never actions."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ACTIONS", "Action", "actions_of", "load_keymap", "settings_path"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that a key does, the same on every screen that has it."""

    id: str
    keys: str
    action: str
    words: str
    in_footer: bool = False
    screens: tuple[str, ...] = ()
    """Screens that have it; empty for all."""


_COMPOSE = ("compose",)
_LOOKING = ("catalogue", "kernels", "validation")
_CHARTS = ("kernels", "validation")

ACTIONS: tuple[Action, ...] = (
    Action(id="edit", keys="e", action="edit", words="edit", in_footer=True,
           screens=("compose", "catalogue")),
    Action(id="enter", keys="enter", action="enter", words="open, use",
           screens=("compose", "catalogue", "validation")),
    Action(id="step_up", keys="plus", action="step(1)", words="next value, zoom in",
           screens=(*_COMPOSE, *_CHARTS)),
    Action(id="step_down", keys="minus", action="step(-1)",
           words="previous value, zoom out", screens=(*_COMPOSE, *_CHARTS)),
    Action(id="whole", keys="0", action="whole", words="the whole chart", screens=_CHARTS),
    Action(id="alternative_next", keys="right_square_bracket", action="alternative(1)",
           words="next alternative", screens=(*_COMPOSE, *_CHARTS)),
    Action(id="alternative_previous", keys="left_square_bracket", action="alternative(-1)",
           words="previous alternative", screens=(*_COMPOSE, *_CHARTS)),
    Action(id="auto", keys="a", action="auto_plan", words="auto plan", in_footer=True,
           screens=_COMPOSE),
    Action(id="why", keys="w", action="why", words="why", in_footer=True),
    Action(id="undo", keys="u", action="undo", words="undo", in_footer=True,
           screens=("compose", "catalogue")),
    Action(id="redo", keys="U", action="redo", words="redo", screens=("compose", "catalogue")),
    Action(id="pin", keys="p", action="pin", words="pin for comparison", screens=_COMPOSE),
    Action(id="unpin", keys="P", action="unpin", words="unpin", screens=_COMPOSE),
    Action(id="intervals", keys="i", action="toggle_intervals", words="intervals on or off",
           screens=_COMPOSE),
    Action(id="table", keys="t", action="toggle_table", words="chart as a table and back",
           screens=(*_COMPOSE, *_CHARTS)),
    Action(id="copy", keys="y", action="copy_value", words="copy the value under the cursor"),
    Action(id="copy_all", keys="Y", action="copy_table", words="copy all as a table"),
    Action(id="command", keys="exclamation_mark", action="show_command",
           words="the command that asks the same", in_footer=True),
    Action(id="save", keys="s", action="save", words="save", in_footer=True, screens=_COMPOSE),
    Action(id="save_as", keys="S", action="save_as", words="save as", screens=_COMPOSE),
    Action(id="open", keys="O", action="open", words="open a file",
           screens=(*_COMPOSE, *_CHARTS)),
    Action(id="export", keys="E", action="export", words="export", screens=_LOOKING),
    Action(id="find", keys="slash", action="find", words="find, filter"),
    Action(id="find_next", keys="n", action="find_next(1)", words="next match"),
    Action(id="find_previous", keys="N", action="find_next(-1)", words="previous match"),
    Action(id="recompute", keys="r", action="recompute", words="reload profiles and predict again"),
    Action(id="maximise", keys="m", action="maximise", words="maximise the pane"),
    Action(id="jump", keys="ctrl+o", action="jump", words="jump to a pane"),
    Action(id="help", keys="question_mark,f1", action="help", words="help", in_footer=True),
    Action(id="quit", keys="q,ctrl+q", action="quit_asking", words="quit"),
    Action(id="mark", keys="space", action="mark", words="mark for side by side",
           screens=("catalogue",)),
    Action(id="side_by_side", keys="equals_sign", action="side_by_side",
           words="marked things side by side", screens=("catalogue",)),
    Action(id="kernels_of", keys="K", action="kernels_of", words="kernels of this device",
           screens=("catalogue",)),
    Action(id="basis", keys="b", action="basis", words="basis: calibration, errors by group",
           screens=_CHARTS),
    Action(id="group", keys="C", action="group", words="colour and group by something else",
           screens=("validation",)),
    Action(id="side", keys="L", action="side", words="left out or in-sample",
           screens=("validation",)),
    Action(id="axes", keys="A", action="axes", words="what the axes show",
           screens=("validation",)),
)  # fmt: skip
"""Every action in the order of the help: a key means one thing wherever it means something."""


def actions_of(screen: str) -> tuple[Action, ...]:
    """Actions that a screen has."""
    return tuple(one for one in ACTIONS if not one.screens or screen in one.screens)


def settings_path() -> Path:
    """The user's settings file."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "tweeling" / "settings.toml"


def load_keymap(path: Path) -> tuple[dict[str, str], list[str]]:
    """Keys by action id from the ``[keymap]`` table, and what was wrong with it.

    A mistake is reported and left out; it never keeps the program from starting.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return {}, [f"{path}: {error}"]
    table = document.get("keymap", {})
    if not isinstance(table, dict):
        return {}, [f"{path}: keymap: expected a table of action ids and keys"]
    known = {action.id for action in ACTIONS}
    wished: dict[str, str] = {}
    problems = []
    for name, keys in table.items():
        if name not in known:
            problems.append(f"{path}: keymap.{name}: unknown action; see the help for ids")
        elif not isinstance(keys, str):
            problems.append(f'{path}: keymap.{name}: expected a text such as "ctrl+e"')
        else:
            wished[name] = keys
    taken: dict[str, str] = {}
    for action in ACTIONS:
        for key in wished.get(action.id, action.keys).split(","):
            if key in taken:
                problems.append(f"{path}: key {key} stands for {taken[key]} and {action.id}")
            taken[key] = action.id
    return wished, problems
