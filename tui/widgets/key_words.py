"""Keys as help and footers write them."""

from __future__ import annotations

from tui.keymap import actions_of
from tui.screens.registry import SCREENS

__all__ = ["key_rows", "key_words"]

KEY_WORDS = {
    "plus": "+",
    "equals_sign": "=",
    "minus": "-",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "exclamation_mark": "!",
    "question_mark": "?",
    "slash": "/",
}
"""What is printed on the keys that have names."""

COLUMN = 22


def key_words(keys: str) -> str:
    """Keys of a binding as they are printed."""
    return " ".join(KEY_WORDS.get(key, key) for key in keys.split(","))


def key_rows(screen: str) -> list[str]:
    """One line per key of a screen, with the id that a keymap names."""
    rows = [f"{key_words(a.keys):<{COLUMN}} {a.words}   ({a.id})" for a in actions_of(screen)]
    numbers = "  ".join(f"{entry.key} {entry.name}" for entry in SCREENS)
    return [
        *rows,
        f"{'h j k l, arrows':<{COLUMN}} move",
        f"{'tab, shift+tab':<{COLUMN}} next and previous pane",
        f"{'number keys':<{COLUMN}} {numbers}",
    ]
