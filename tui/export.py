"""Exports: figures and rows as JSON or CSV, by the ending of the name, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hardware_profiles.errors import TweelingError
from hardware_profiles.whole_files import write_text_whole

if TYPE_CHECKING:
    from twin.catalogue_view import Details

__all__ = ["ExportError", "export_details", "export_rows"]

ENDINGS = (".json", ".csv")


class ExportError(TweelingError):
    """A file of that name cannot be written."""


def export_details(details: Details, path: Path) -> None:
    """Figures of one thing of the catalogue, in base units."""
    rows = [
        {
            "key": figure.key,
            "value": figure.value,
            "figure_class": figure.figure_class,
            "source": figure.source,
        }
        for figure in details.figures
    ]
    entry = details.entry
    export_rows(path, rows, head={"kind": entry.kind, "name": entry.name, "title": entry.title})


def export_rows(
    path: Path, rows: Sequence[Mapping[str, object]], *, head: Mapping[str, object]
) -> None:
    """Rows under their own keys; JSON carries the head beside them, CSV the rows alone.

    Raises
    ------
    ExportError
        An ending that is none of .json and .csv, or a file that cannot be written.
    """
    if path.suffix not in ENDINGS:
        msg = f"{path}: expected a name that ends in {' or '.join(ENDINGS)}"
        raise ExportError(msg)
    if path.suffix == ".json":
        text = json.dumps({**head, "rows": list(rows)}, indent=2, ensure_ascii=False) + "\n"
    else:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        text = stream.getvalue()
    try:
        write_text_whole(path, text)
    except OSError as error:
        msg = f"{path}: cannot be written: {error.strerror or error}"
        raise ExportError(msg) from error
