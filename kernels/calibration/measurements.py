"""Readers of measured kernel tables (Parquet, CSV) into columns.

The columns are those of the public collection that the repository documents: one row per timing,
with device, dtype, sizes, library, latency and source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hardware_profiles.errors import TweelingError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Mask", "MeasurementError", "Table", "read_table"]

Array = npt.NDArray[Any]

Mask = npt.NDArray[Any]
"""Truth values per row, or row numbers."""


class MeasurementError(TweelingError):
    """A measurement table is missing, malformed or lacks a column."""


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


def read_table(path: Path, columns: Sequence[str]) -> Table:
    """Read some columns of a ``.parquet`` or ``.csv`` table.

    Parameters
    ----------
    path
        The table.
    columns
        Columns to keep.

    Returns
    -------
    Table
        Numbers as float64, text as Python strings (empty where missing).
    """
    # pyarrow takes long to import; nothing but calibration reads these tables.
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pa_parquet

    if not path.is_file():
        message = f"{path}: no such table"
        raise MeasurementError(message)
    try:
        if path.suffix == ".parquet":
            table = pa_parquet.read_table(path, columns=list(columns))
        else:
            options = pa_csv.ConvertOptions(
                include_columns=list(columns), strings_can_be_null=False
            )
            table = pa_csv.read_csv(path, convert_options=options)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        message = f"{path}: {error}"
        raise MeasurementError(message) from error
    return Table(columns={name: _column(table[name]) for name in columns})


def _column(column: pa.ChunkedArray) -> Array:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_boolean(kind):
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=bool)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    if pa.types.is_null(kind):
        return np.full(len(column), "", dtype=object)
    texts = [str(value) if value is not None else "" for value in column.to_pylist()]
    return np.array(texts, dtype=object)
