"""Tidy tables, which are the project's own: CSV or Parquet, read as calibration reads them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hardware_profiles.errors import nearest
from kernels.importers.cells import Place
from kernels.importers.devices import Devices
from kernels.importers.dtypes import is_of_collections, tidy_dtype
from kernels.importers.request import ImportRequest
from kernels.importers.tidy_rows import (
    FAMILIES,
    TELLING,
    column_defaults,
    columns_of,
    count_columns,
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
    require_whole,
)
from kernels.prediction.gemm import LAYOUTS
from kernels.table_lines import has_torn_end, row_spot

__all__ = ["read_tidy", "with_link", "with_profile"]

logger = logging.getLogger(__name__)

NAMES = ("device", "dtype", "direction", "op", "link")
"""Columns of names, which a table of numbers would make columns of numbers of."""


def read_tidy(path: Path, request: ImportRequest) -> tuple[str, Table]:
    """Family and rows of one tidy table, checked.

    Parameters
    ----------
    path
        The table.
    request
        Whose device stands for the one device name of the table that no profile carries, and whose
        wires for those that rows do not tell.

    Raises
    ------
    MeasurementError
        No known family, a column missing, no rows, a name missing, an unknown number format or
        layout, or a size or time that is no number above 0; file, line and column are named.
    """
    family = family_of(column_names(path))
    if family is None:
        kinds = "; ".join(f"{name}: {', '.join(sorted(TELLING[name]))}" for name in FAMILIES)
        message = f"{path}: its columns are of no known family ({kinds})"
        raise MeasurementError(message)
    columns, defaults = columns_of(family), column_defaults(family)
    table = read_table(path, columns, defaults=defaults)
    if not len(table):
        message = f"{path}: holds no rows"
        raise MeasurementError(message)
    if has_torn_end(path):
        # The last cell may have lost digits, which nothing in it could tell.
        logger.warning("%s: its last line has no end; the file may have been cut off", path)
    require_texts(table, [name for name in NAMES if name in columns], path=path)
    require_positive(table, size_columns(family), path=path)
    require_whole(table, count_columns(family), path=path)
    needed = [name for name in NAMES if name in columns and name not in defaults]
    _require_given(table, [name for name in needed if name != "device"], path=path)
    table = _with_dtypes(table, path)
    _require_layouts(table, path)
    table = with_profile(table, request.devices(), path=path)
    return family, with_link(table, request.link)


def _require_given(table: Table, names: Sequence[str], *, path: Path) -> None:
    for name in names:
        missing = np.flatnonzero(table[name] == "")
        if len(missing):
            message = f"{path}: {row_spot(path, int(missing[0]))}: {name} is missing"
            raise MeasurementError(message)


def _require_layouts(table: Table, path: Path) -> None:
    if "layout" not in table.columns:
        return
    for text in sorted({str(layout) for layout in table["layout"].tolist()} - LAYOUTS.keys()):
        row = int(np.flatnonzero(table["layout"].astype(str) == text)[0])
        complaint = f"layout = {text!r}; expected one of {', '.join(filter(None, LAYOUTS))}"
        raise Place(path, row_spot(path, row)).error(complaint)


def _with_dtypes(table: Table, path: Path) -> Table:
    """The number formats under the names of the project's tables."""
    if "dtype" not in table.columns:
        return table
    names = {}
    for text in sorted(set(table["dtype"].tolist())):
        if is_of_collections(text):
            names[text] = text
            continue
        row = int(np.flatnonzero(table["dtype"] == text)[0])
        names[text] = tidy_dtype(text, "dtype", Place(path, row_spot(path, row)))
    return _renamed(table, "dtype", names)


def with_profile(table: Table, devices: Devices, *, path: Path) -> Table:
    """The rows of the device that no profile carries under the profile that the user names.

    Names that a profile carries stay as they are. Where the user names none, rows of an unknown
    device stay too, and one line says that nothing will be fitted or predicted of them.

    Raises
    ------
    MeasurementError
        Rows without a device, or of two unknown ones, for which one profile cannot stand.
    """
    unknown = [text for text in sorted(set(table["device"].tolist())) if not devices.knows(text)]
    names = {}
    for text in unknown:
        if devices.named is None and text:
            continue
        row = int(np.flatnonzero(table["device"] == text)[0])
        names[text] = devices.profile(text, Place(path, row_spot(path, row)))
    if unknown and not names:
        _warn_unknown(unknown, devices, path)
    return _renamed(table, "device", names) if names else table


def with_link(table: Table, link: str) -> Table:
    """The rows of collectives that tell no wires over those that the user names."""
    if not link or "link" not in table.columns:
        return table
    return _renamed(table, "link", {"": link})


def _warn_unknown(unknown: Sequence[str], devices: Devices, path: Path) -> None:
    known = {*devices.catalogue.names("accelerator"), *devices.catalogue.aliases("accelerator")}
    close = nearest(unknown[0], known, n=1) if len(unknown) == 1 else ()
    hint = f", perhaps {close[0]}" if close else ""
    logger.warning(
        "%s: no profile carries %s: nothing is fitted on such rows; --device PROFILE says which "
        "one a device is%s",
        *(path, ", ".join(repr(name) for name in unknown), hint),
    )


def _renamed(table: Table, column: str, names: dict[str, str]) -> Table:
    new = np.array([names.get(text, text) for text in table[column].tolist()], dtype=object)
    return Table(columns={**table.columns, column: new})
