"""Cells of foreign files as numbers: parsed, checked and, where wrong, named by their place."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from kernels.measurement_tables import MeasurementError

__all__ = ["Place", "count", "positive", "text_of"]

_WHOLE = re.compile(r"\+?[0-9]{1,18}")
# Python's float takes underscores and other alphabets' digits, which no benchmark prints.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file something stands."""

    path: Path
    spot: str
    """Such as ``line 12`` or ``benchmarks[3].stats``."""

    def error(self, complaint: str) -> MeasurementError:
        """What to raise about something that stands here."""
        return MeasurementError(f"{self.path}: {self.spot}: {complaint}")


def count(text: object, column: str, place: Place) -> int:
    """A whole number of at least 1.

    Parameters
    ----------
    text
        The cell.
    column
        Its column or key, for the message.
    place
        Where it stands.

    Raises
    ------
    MeasurementError
        With file, place, column and value.
    """
    found = str(text).strip()
    if isinstance(text, bool) or not _WHOLE.fullmatch(found) or int(found) < 1:
        complaint = f"{column} = {found!r}; expected a whole number of at least 1"
        raise place.error(complaint)
    return int(found)


def positive(text: object, column: str, place: Place) -> float:
    """A finite number above 0, in the unit of its column; errors as of `count`."""
    found = str(text).strip()
    number = float(found) if _NUMBER.fullmatch(found) and not isinstance(text, bool) else math.nan
    if not 0.0 < number < math.inf:
        complaint = f"{column} = {found!r}; expected a finite number above 0"
        raise place.error(complaint)
    return number


def text_of(path: Path) -> str:
    """Text of a file.

    Raises
    ------
    MeasurementError
        It cannot be read, is empty, or is no UTF-8; the line of the first wrong byte is named.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror or error})"
        raise MeasurementError(message) from error
    if not content.strip():
        message = f"{path}: is empty; expected measurements"
        raise MeasurementError(message)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        message = f"{path}: line {line}: byte 0x{content[error.start]:02x} is no UTF-8 text"
        raise MeasurementError(message) from error
