"""Fitted constants put into the files that hold them, without touching anything else there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from hardware_profiles.errors import TweelingError
from hardware_profiles.whole_files import write_text_whole

__all__ = ["HomeError", "rounded", "text_with", "write_constants"]

DIGITS = 3
"""Significant digits of a fitted constant: more would claim what the runs do not know."""

TABLE = re.compile(r"^\s*\[(?P<name>[^\]]+)\]")


class HomeError(TweelingError):
    """A file does not hold the constant that is to be written."""


def rounded(value: float) -> float:
    """The value to as many digits as a fit knows."""
    return float(f"{value:.{DIGITS}g}")


def text_with(text: str, key: str, value: float) -> str:
    """A TOML text with one number replaced; comments and order stay.

    Parameters
    ----------
    text
        The file.
    key
        Dotted: table and name; a name alone stands before the first table.
    value
        The new number.

    Raises
    ------
    HomeError
        The key does not stand in the text.
    """
    table, _, name = key.rpartition(".")
    at = ""
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        found = TABLE.match(line)
        if found:
            at = found["name"].strip()
        if at == table and re.match(rf"\s*{re.escape(name)}\s*=", line):
            lines[number] = re.sub(r"=\s*[^\s#]+", lambda _: f"= {value!r}", line, count=1)
            return "".join(lines)
    msg = f"{key} does not stand in the file"
    raise HomeError(msg)


def write_constants(path: Path, values: Mapping[str, float]) -> None:
    """Write constants into a TOML file that holds them already, as a whole or not at all.

    Raises
    ------
    HomeError
        A key does not stand in the file; it is named with the file.
    """
    text = path.read_text(encoding="utf-8")
    for key, value in values.items():
        try:
            text = text_with(text, key, rounded(value))
        except HomeError as error:
            msg = f"{path}: {error}"
            raise HomeError(msg) from None
    write_text_whole(path, text)
