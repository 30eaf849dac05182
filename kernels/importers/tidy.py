"""Tidy tables, which are the project's own: CSV or Parquet, read as calibration reads them."""

from __future__ import annotations

from pathlib import Path

from kernels.importers.tidy_rows import (
    FAMILIES,
    TELLING,
    column_defaults,
    columns_of,
    family_of,
    size_columns,
)
from kernels.measurement_tables import (
    MeasurementError,
    Table,
    column_names,
    read_table,
    require_positive,
    require_texts,
)

__all__ = ["read_tidy"]

NAMES = ("device", "dtype", "direction", "op")
"""Columns of names, which a table of numbers would make columns of numbers of."""


def read_tidy(path: Path) -> tuple[str, Table]:
    """Family and rows of one tidy table, checked.

    Raises
    ------
    MeasurementError
        No known family, a column missing, no rows, or a size or time that is no number above 0.
    """
    family = family_of(column_names(path))
    if family is None:
        kinds = "; ".join(f"{name}: {', '.join(sorted(TELLING[name]))}" for name in FAMILIES)
        message = f"{path}: its columns are of no known family ({kinds})"
        raise MeasurementError(message)
    table = read_table(path, columns_of(family), defaults=column_defaults(family))
    if not len(table):
        message = f"{path}: holds no rows"
        raise MeasurementError(message)
    require_texts(table, [name for name in NAMES if name in columns_of(family)], path=path)
    require_positive(table, size_columns(family), path=path)
    return family, table
