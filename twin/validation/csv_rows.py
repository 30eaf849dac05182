"""Rows of a CSV file with a fixed set of columns, and cells as numbers; faults in one line."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware_profiles.errors import TweelingError, nearest

__all__ = ["CsvRow", "TableError", "csv_rows"]


class TableError(TweelingError):
    """A table to validate against cannot be used."""


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One row: cells by column, and where it stands."""

    where: str
    """File and line."""
    cells: dict[str, str]

    def text(self, column: str) -> str:
        """A cell without surrounding blanks; the empty text for a column that is not there."""
        return self.cells.get(column, "").strip()

    def required(self, column: str) -> str:
        """A cell that must not be blank."""
        text = self.text(column)
        if not text:
            raise self.fault(column=column, expected="a name")
        return text

    def number(self, column: str, *, low: float = 0.0, high: float = math.inf) -> float | None:
        """A number above `low` and at most `high`; None for a blank cell.

        Raises
        ------
        TableError
            No such number: file, line, column, value and what was expected.
        """
        text = self.text(column)
        if not text:
            return None
        limit = "" if math.isinf(high) else f" and at most {high:g}"
        expected = f"a number above {low:g}{limit}"
        try:
            value = float(text)
        except ValueError:
            raise self.fault(column=column, expected=expected) from None
        if not (math.isfinite(value) and low < value <= high):
            raise self.fault(column=column, expected=expected)
        return value

    def required_number(self, column: str, *, low: float = 0.0, high: float = math.inf) -> float:
        """The same for a cell that must not be blank."""
        value = self.number(column, low=low, high=high)
        if value is None:
            raise self.fault(column=column, expected=f"a number above {low:g}")
        return value

    def count(self, column: str) -> int:
        """A whole number of at least 1."""
        value = self.required_number(column)
        if value != int(value):
            raise self.fault(column=column, expected="a whole number of at least 1")
        return int(value)

    def fault(self, *, column: str, expected: str) -> TableError:
        """The error for a cell that is not what was expected."""
        return TableError(
            f'{self.where}: column {column}: "{self.text(column)}"; expected {expected}'
        )


def csv_rows(
    path: Path, *, required: Sequence[str], optional: Sequence[str], holds: str
) -> Iterator[CsvRow]:
    """Rows of a CSV file that are not blank.

    Parameters
    ----------
    path
        The file.
    required, optional
        Columns that must and that may be there; any other is refused, since a misspelt column
        would otherwise count as missing figures.
    holds
        What the table holds, for the messages.

    Raises
    ------
    TableError
        The file cannot be read, is no CSV, lacks a column or has an unknown one, or a line has
        too few or too many cells.
    """
    state = "is a folder" if path.is_dir() else "does not exist"
    if not path.is_file():
        msg = f"{path} {state}; expected a CSV file of {holds}"
        raise TableError(msg)
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = _header(next(reader, []), required=required, optional=optional, path=path)
            line = reader.line_num + 1
            for cells in reader:
                if cells:
                    _require_whole(cells, header, where=f"{path}:{line}")
                    yield CsvRow(f"{path}:{line}", dict(zip(header, cells, strict=True)))
                line = reader.line_num + 1
    except OSError as error:
        msg = f"{path}: {error.strerror or error}"
        raise TableError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path}: byte {error.start} is not UTF-8 text; expected a CSV file of {holds}"
        raise TableError(msg) from error
    except csv.Error as error:
        msg = f"{path}:{line}: not CSV: {error}"
        raise TableError(msg) from error


def _header(
    header: list[str], *, required: Sequence[str], optional: Sequence[str], path: Path
) -> list[str]:
    known = (*required, *optional)
    for name in header:
        if name not in known:
            close = nearest(name, known, n=1)
            hint = f"; nearest is {close[0]}" if close else ""
            msg = f'{path}:1: unknown column "{name}"; expected {", ".join(known)}{hint}'
            raise TableError(msg)
        if header.count(name) > 1:
            msg = f"{path}:1: column {name} stands twice"
            raise TableError(msg)
    missing = [name for name in required if name not in header]
    if missing:
        msg = f"{path}:1: no column {missing[0]}; expected {', '.join(required)}"
        raise TableError(msg)
    return header


def _require_whole(cells: list[str], header: list[str], *, where: str) -> None:
    if len(cells) == len(header):
        return
    fault = "line ends early" if len(cells) < len(header) else "line is too long"
    last = header[min(len(cells), len(header)) - 1]
    msg = f"{where}: {fault}: {len(cells)} cells up to column {last}, expected {len(header)}"
    raise TableError(msg)
