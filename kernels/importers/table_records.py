"""Lines of a foreign CSV or Parquet table, each with its place."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kernels.importers.cells import Place, text_of
from kernels.measurement_tables import MeasurementError, column_names

__all__ = ["Record", "records"]

logger = logging.getLogger(__name__)

Record = dict[str, Any]
"""Cells of one line by column."""


def records(path: Path, needed: Sequence[str]) -> Iterator[tuple[Place, Record]]:
    """Every line of a table.

    Parameters
    ----------
    path
        CSV text, whatever its name, or a ``.parquet`` file.
    needed
        Columns without which the lines mean nothing.

    Raises
    ------
    MeasurementError
        A column is missing, a line has too few or too many cells, or there is no line.
    """
    found = _parquet(path, needed) if path.suffix == ".parquet" else _csv(path, needed)
    is_empty = True
    for one in found:
        is_empty = False
        yield one
    if is_empty:
        message = f"{path}: holds no rows"
        raise MeasurementError(message)


def _csv(path: Path, needed: Sequence[str]) -> Iterator[tuple[Place, Record]]:
    text = text_of(path)
    if not text.endswith(("\n", "\r")):
        # The last cell may have lost digits, which nothing in it could tell.
        logger.warning("%s: its last line has no end; the file may have been cut off", path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
        _require(path, columns, needed)
        for cells in reader:
            if not cells:
                continue
            place = Place(path, f"line {reader.line_num}")
            if len(cells) != len(columns):
                complaint = f"{len(cells)} values; expected {len(columns)} ({columns[-1]} is last)"
                raise place.error(complaint)
            yield place, dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        message = f"{path}: line {reader.line_num}: not CSV text: {error}"
        raise MeasurementError(message) from error


def _parquet(path: Path, needed: Sequence[str]) -> Iterator[tuple[Place, Record]]:
    # pyarrow takes long to import; only tables of its own format need it.
    import pyarrow as pa
    import pyarrow.parquet as pa_parquet

    columns = column_names(path)
    _require(path, columns, needed)
    try:
        number = 0
        for batch in pa_parquet.ParquetFile(path).iter_batches():
            for cells in batch.to_pylist():
                number += 1
                yield Place(path, f"row {number}"), cells
    except (pa.ArrowException, OSError) as error:
        message = f"{path}: {' '.join(str(error).split())}"
        raise MeasurementError(message) from error


def _require(path: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    for name in needed:
        if columns.count(name) != 1:
            state = "is missing" if name not in columns else "stands there twice"
            message = f"{path}: column {name!r} {state}; there are {', '.join(columns)}"
            raise MeasurementError(message)
