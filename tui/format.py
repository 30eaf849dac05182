"""Text of values on screen: fixed widths, class marks, intervals. No Textual here."""

from __future__ import annotations

from collections.abc import Iterable

from twin.prediction import Interval
from twin.quantities import quantity

__all__ = [
    "ASCII_MARKS",
    "MARKS",
    "class_marks",
    "fixed",
    "interval_text",
    "number_text",
    "short",
    "short_inside",
]

MARKS = {"measured": "■", "fitted": "◆", "datasheet": "□", "assumed": "?", "user": "†"}
"""Glyph of each class of figure."""

ASCII_MARKS = {"measured": "M", "fitted": "F", "datasheet": "D", "assumed": "A", "user": "U"}

WEAKEST_LAST = ("measured", "fitted", "datasheet", "assumed", "user")
N_MARKS = 2
"""The weakest classes that are shown. [1]"""

NOT_APPLICABLE = "n/a"
INTERVAL_DIGITS = 3


def class_marks(classes: Iterable[str], *, is_ascii: bool = False) -> str:
    """Marks of the weakest classes behind a result, strongest of them first."""
    table = ASCII_MARKS if is_ascii else MARKS
    present = [name for name in WEAKEST_LAST if name in set(classes)]
    return "".join(table[name] for name in present[-N_MARKS:])


def number_text(name: str, value: float | None) -> tuple[str, str]:
    """Number and unit of a quantity for the screen; n/a where there is no value."""
    if value is None:
        return NOT_APPLICABLE, ""
    return quantity(name).parts(value)


def interval_text(name: str, interval: Interval | None) -> str:
    """``[p10 .. p90]`` with three digits; empty where there is none."""
    if interval is None:
        return ""
    low, unit = quantity(name).parts(interval.p10, n_digits=INTERVAL_DIGITS)
    high, high_unit = quantity(name).parts(interval.p90, n_digits=INTERVAL_DIGITS)
    if unit == high_unit:
        return f"{low} .. {high}"
    short_units = [text.replace("tokens/s", "").strip() for text in (unit, high_unit)]
    return f"{low} {short_units[0]} .. {high} {short_units[1]}".replace("  ", " ")


def short(text: str, width: int) -> str:
    """Cut to a width, an ellipsis where something was cut."""
    if len(text) <= width:
        return text
    return text[: max(0, width - 1)] + "…"


def short_inside(text: str, width: int) -> str:
    """Cut to a width in the middle, where names that begin and end alike tell themselves apart."""
    if len(text) <= width:
        return text
    kept = max(0, width - 1)
    tail = kept // 2
    return f"{text[: kept - tail]}…{text[len(text) - tail :]}"


def fixed(text: str, width: int, *, align: str = "left") -> str:
    """Exactly `width` characters."""
    cut = short(text, width)
    return cut.rjust(width) if align == "right" else cut.ljust(width)
