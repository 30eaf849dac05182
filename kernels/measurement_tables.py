"""Readers of measured kernel tables (Parquet, CSV) into columns.

The columns are those of the public collection that the repository documents: one row per timing,
with device, dtype, sizes, library, latency and source.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_profiles.errors import TweelingError
from kernels.table_lines import row_spot, torn_line

__all__ = [
    "Mask",
    "MeasurementError",
    "Table",
    "column_names",
    "read_table",
    "require_positive",
    "require_texts",
    "require_whole",
]

Array = npt.NDArray[Any]

Mask = npt.NDArray[Any]
"""Truth values per row, or row numbers."""


class MeasurementError(TweelingError):
    """A measurement table is missing, malformed or lacks a column."""


LARGEST_WHOLE = 2.0**53
"""Beyond it not every whole number is one of float64. [1]"""

LEAST_VALUES = {"ranks": 2.0}
"""Columns that cannot be as small as any number above 0: one rank exchanges nothing. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns of one measurement table, all of one length."""

    columns: dict[str, Array]

    def __post_init__(self) -> None:
        lengths = {len(column) for column in self.columns.values()}
        if len(lengths) > 1:
            message = f"columns of unequal length: {sorted(lengths)}"
            raise MeasurementError(message)

    def __getitem__(self, name: str) -> Array:
        if name not in self.columns:
            message = f"column {name!r} is missing; there are {', '.join(self.columns)}"
            raise MeasurementError(message)
        return self.columns[name]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def where(self, mask: Mask) -> Table:
        """The rows at which the mask holds, or those of an index array."""
        return Table(columns={name: column[mask] for name, column in self.columns.items()})


def column_names(path: Path) -> tuple[str, ...]:
    """Names of the columns of a ``.parquet`` or ``.csv`` table, without reading its rows."""
    if not path.is_file():
        message = f"{path}: no such table"
        raise MeasurementError(message)
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pa_parquet

        try:
            return tuple(pa_parquet.read_schema(path).names)
        except (pa.ArrowInvalid, OSError) as error:
            message = f"{path}: not a Parquet table: {_one_line(error)}"
            raise MeasurementError(message) from error
    try:
        # A spreadsheet puts a byte order mark first; Arrow skips it too.
        with path.open(newline="", encoding="utf-8-sig") as stream:
            return tuple(next(csv.reader(stream), ()))
    except (UnicodeDecodeError, csv.Error) as error:
        message = f"{path}: line 1: not CSV text: {_one_line(error)}"
        raise MeasurementError(message) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def read_table(
    path: Path, columns: Sequence[str], *, defaults: Mapping[str, float | str] | None = None
) -> Table:
    """Read some columns of a ``.parquet`` or ``.csv`` table.

    Parameters
    ----------
    path
        The table.
    columns
        Columns to keep.
    defaults
        Values of those of them that the table may leave out.

    Returns
    -------
    Table
        Numbers as float64, text as Python strings (empty where missing).

    Raises
    ------
    MeasurementError
        No such file, not a table, or a column that is missing.
    """
    # pyarrow takes long to import; nothing but measurement tables needs it.
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pa_parquet

    present = column_names(path)
    twice = next((name for name in columns if present.count(name) > 1), None)
    if twice is not None:
        message = f"{path}: column {twice!r} stands there twice; expected it once"
        raise MeasurementError(message)
    given = [name for name in columns if name in present]
    absent = [name for name in columns if name not in present]
    for name in absent:
        if name not in (defaults or {}):
            there = ", ".join(present) or "no columns"
            message = f"{path}: column {name!r} is missing; there are {there}"
            raise MeasurementError(message)
    try:
        if path.suffix == ".parquet":
            table = pa_parquet.read_table(path, columns=given)
        else:
            options = pa_csv.ConvertOptions(include_columns=given, strings_can_be_null=False)
            table = pa_csv.read_csv(path, convert_options=options)
    except (pa.ArrowException, OSError) as error:
        torn = None if path.suffix == ".parquet" else torn_line(path)
        message = f"{path}: {torn or _one_line(error)}"
        raise MeasurementError(message) from error
    found = {name: _column(table[name], f"{path}: column {name!r}") for name in given}
    for name in absent:
        value = (defaults or {})[name]
        kind = object if isinstance(value, str) else np.float64
        found[name] = np.full(table.num_rows, value, dtype=kind)
    return Table(columns={name: found[name] for name in columns})


def require_positive(table: Table, names: Sequence[str], *, path: Path) -> None:
    """Refuse a table whose sizes or times are not numbers above 0.

    Raises
    ------
    MeasurementError
        With file, line, column and value of the first one.
    """
    for name in names:
        column = table[name]
        is_text = column.dtype == object
        if is_text:
            wrong = np.array([not _is_positive(value) for value in column], dtype=bool)
        else:
            least = LEAST_VALUES.get(name, 0.0)
            wrong = ~(np.isfinite(column) & (column > 0.0) & (column >= least))
        if is_text and len(column) and not wrong.any():
            message = f"{path}: column {name!r} holds text; expected numbers"
            raise MeasurementError(message)
        if wrong.any():
            row = int(np.argmax(wrong))
            expected = "a finite number above 0"
            if name in LEAST_VALUES:
                expected = f"a finite number of at least {LEAST_VALUES[name]:g}"
            found = f"{name} = {column[row]}"
            message = f"{path}: {row_spot(path, row)}: {found}; expected {expected}"
            raise MeasurementError(message)


def require_whole(table: Table, names: Sequence[str], *, path: Path) -> None:
    """Refuse a table whose counts, which are numbers, are not whole.

    Raises
    ------
    MeasurementError
        With file, line, column and value of the first one.
    """
    for name in names:
        column = table[name]
        wrong = np.flatnonzero((column != np.floor(column)) | (column > LARGEST_WHOLE))
        if len(wrong):
            row = int(wrong[0])
            found = f"{name} = {column[row]:g}"
            message = f"{path}: {row_spot(path, row)}: {found}; expected a whole number up to 2^53"
            raise MeasurementError(message)


def _is_positive(text: object) -> bool:
    """Whether a cell of a column that is no column of numbers would be one by itself."""
    # Underscores are Python's, no table's.
    try:
        return "_" not in str(text) and 0.0 < float(str(text)) < math.inf
    except ValueError:
        return False


def require_texts(table: Table, names: Sequence[str], *, path: Path) -> None:
    """Refuse a table whose names are numbers.

    Raises
    ------
    MeasurementError
        With file and column of the first one.
    """
    for name in names:
        if table[name].dtype != object:
            message = f"{path}: column {name!r} holds numbers; expected text"
            raise MeasurementError(message)


def _column(column: Any, where: str) -> Array:  # noqa: ANN401 - pyarrow has no types
    import pyarrow as pa

    kind = column.type
    if pa.types.is_boolean(kind):
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=bool)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    if pa.types.is_null(kind):
        return np.full(len(column), "", dtype=object)
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        message = f"{where} holds {kind}; expected numbers or text"
        raise MeasurementError(message)
    # Tables have few distinct texts: each becomes one Python string, however many rows hold it.
    coded = column.combine_chunks().dictionary_encode()
    texts = [str(value) for value in coded.dictionary.to_pylist()]
    codes = coded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
    return np.asarray(np.array([*texts, ""], dtype=object)[codes])
