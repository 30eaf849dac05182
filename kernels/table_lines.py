"""Where a row of a table stands, as an editor counts lines, and what is wrong with torn files.

Arrow reads tables fast and says little about where: a file that turns out wrong is read once more,
line by line.
"""

from __future__ import annotations

import csv
from pathlib import Path

__all__ = ["has_torn_end", "row_spot", "torn_line"]


def row_spot(path: Path, row: int) -> str:
    """Words for the place of a row.

    Parameters
    ----------
    path
        The table; a ``.parquet`` file has rows and no lines.
    row
        Its number, from 0, empty lines not counted. [1]

    Returns
    -------
    str
        Such as ``line 12``, or ``row 11`` of a Parquet table.
    """
    if path.suffix != ".parquet":
        try:
            with path.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
                reader = csv.reader(stream)
                # The header is a record as well.
                left = row + 1
                for cells in reader:
                    if cells and left == 0:
                        return f"line {reader.line_num}"
                    left -= bool(cells)
        except (OSError, csv.Error):
            pass  # the row still has a number
    return f"row {row + 1}"


def torn_line(path: Path) -> str | None:
    """Complaint about the first line of a CSV file with too few or too many cells; None without.

    Returns
    -------
    str or None
        Line, what was found and what was expected.
    """
    reader = None
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            names = next(reader, [])
            for cells in reader:
                if cells and len(cells) != len(names):
                    last = "" if len(cells) > len(names) else f"; {names[len(cells)]!r} is missing"
                    return (
                        f"line {reader.line_num}: {len(cells)} values; expected {len(names)}{last}"
                    )
    except csv.Error as error:
        return f"line {reader.line_num if reader else 1}: not CSV text: {error}"
    except UnicodeDecodeError as error:
        where = path.read_bytes()
        # The decoder reads block by block, so that its own position says nothing about the file.
        for number, line in enumerate(where.split(b"\n"), start=1):
            try:
                line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                return f"line {number}: no UTF-8 text ({error.reason})"
    except OSError:
        return None
    return None


def has_torn_end(path: Path) -> bool:
    """Whether a text file ends without the end of a line, as one that was cut off does."""
    if path.suffix == ".parquet":
        return False
    with path.open("rb") as stream:
        stream.seek(0, 2)
        size_bytes = stream.tell()
        stream.seek(max(0, size_bytes - 1))
        return stream.read(1) not in (b"\n", b"\r")
