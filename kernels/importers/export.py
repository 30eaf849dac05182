"""Tidy tables as CSV files, all of them whole or none."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from hardware_profiles.whole_files import write_text_whole
from kernels.importers.tidy_rows import columns_of
from kernels.measurement_tables import MeasurementError, Table

__all__ = ["tidy_csv", "write_tables"]


def tidy_csv(family: str, table: Table) -> str:
    """Text of a family's table; a number is written so that it is read back exactly."""
    columns = columns_of(family)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    cells = ([_cell(value) for value in table[name].tolist()] for name in columns)
    writer.writerows(zip(*cells, strict=True))
    return stream.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else repr(value)
    return str(value)


def write_tables(tables: Mapping[str, Table], out: Path, *, may_replace: bool) -> list[Path]:
    """Write one CSV file per family, named after it.

    Parameters
    ----------
    tables
        Rows by family.
    out
        Folder of the files; made where it is not there.
    may_replace
        Whether files of that name may go.

    Returns
    -------
    list
        The files.

    Raises
    ------
    MeasurementError
        A file is there already, or the folder takes none; then nothing has changed.
    """
    files = {out / f"{family}.csv": (family, table) for family, table in tables.items()}
    _require_room(out, tables, may_replace=may_replace)
    texts = {file: tidy_csv(family, table) for file, (family, table) in files.items()}
    try:
        out.mkdir(parents=True, exist_ok=True)
        # What can fail happens beside the files; what follows is a rename each.
        with tempfile.TemporaryDirectory(dir=out, prefix=".import.") as beside:
            for file, text in texts.items():
                write_text_whole(Path(beside) / file.name, text)
            for file in texts:
                (Path(beside) / file.name).replace(file)
    except OSError as error:
        message = f"--out {out}: cannot be written ({error.strerror or error})"
        raise MeasurementError(message) from error
    return list(texts)


def _require_room(out: Path, families: Iterable[str], *, may_replace: bool) -> None:
    """Refuse to write over tables, or beside one that readers would take first."""
    for family in families:
        file, other = out / f"{family}.csv", out / f"{family}.parquet"
        if other.exists():
            message = f"--out {out}: {other} is there, which is read first; name another folder"
            raise MeasurementError(message)
        if file.exists() and not may_replace:
            message = f"--out {out}: {file} is there already; name another folder or say --replace"
            raise MeasurementError(message)
