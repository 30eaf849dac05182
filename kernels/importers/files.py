"""Files of any known format as tidy tables: one file, several, or those of a folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kernels.importers.aiconfigurator import import_aiconfigurator
from kernels.importers.formats import Format, recognise
from kernels.importers.mamf_finder import import_mamf
from kernels.importers.nccl_tests import import_nccl_tests
from kernels.importers.neusight import import_neusight
from kernels.importers.pytest_benchmark import import_pytest_benchmark
from kernels.importers.request import ImportRequest, Rows
from kernels.importers.simumax import import_simumax
from kernels.importers.tidy import read_tidy
from kernels.importers.tidy_rows import column_table
from kernels.measurement_tables import MeasurementError, Table

__all__ = ["ImportedFile", "foreign_files", "import_file", "joined_tables"]

logger = logging.getLogger(__name__)

_IMPORTERS: dict[Format, Callable[[Path, ImportRequest], Rows]] = {
    Format.PYTEST_BENCHMARK: import_pytest_benchmark,
    Format.NCCL_TESTS: import_nccl_tests,
    Format.MAMF_FINDER: import_mamf,
    Format.NEUSIGHT: import_neusight,
    Format.AICONFIGURATOR: import_aiconfigurator,
    Format.SIMUMAX: import_simumax,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedFile:
    """What one file holds, in the project's tables."""

    path: Path
    format: Format
    tables: dict[str, Table]
    """By family."""

    @property
    def n_rows(self) -> dict[str, int]:
        """Rows by family. [1]"""
        return {family: len(table) for family, table in self.tables.items()}


def import_file(path: Path, request: ImportRequest) -> ImportedFile:
    """Tidy tables of one file, all of it or nothing.

    Raises
    ------
    MeasurementError
        No known format, or something in the file is wrong: its line and column are named.
    """
    kind = recognise(path)
    if kind is Format.TIDY:
        family, table = read_tidy(path, request)
        tables = {family: table}
    else:
        rows = _IMPORTERS[kind](path, request)
        tables = {family: column_table(family, own) for family, own in rows.items()}
    if "collectives" in tables:
        _warn_without_wires(tables["collectives"], path)
    return ImportedFile(path=path, format=kind, tables=tables)


def _warn_without_wires(collectives: Table, path: Path) -> None:
    """One rank per node needs no wires in it."""
    is_inside = collectives["ranks"] > collectives["nodes"]
    n_rows = int(((collectives["link"] == "") & is_inside).sum())
    if n_rows:
        which = "its" if n_rows == len(collectives) else f"{n_rows:,} of its"
        logger.warning(
            "%s: nothing tells the wires of %s collectives, which are not predicted without; "
            "say them with --link, such as 'NVLink4+NVSwitch'",
            *(path, which),
        )


def foreign_files(folder: Path) -> list[Path]:
    """Files of a folder, not of those below it, that hold measurements in a foreign format."""
    return [path for path in sorted(folder.iterdir()) if path.is_file() and _is_foreign(path)]


def _is_foreign(path: Path) -> bool:
    try:
        return recognise(path) is not Format.TIDY
    except MeasurementError:
        return False


def joined_tables(files: Iterable[ImportedFile]) -> dict[str, Table]:
    """Rows of all files by family, in the order of the files."""
    found: dict[str, list[Table]] = {}
    for file in files:
        for family, table in file.tables.items():
            found.setdefault(family, []).append(table)
    return {family: _joined(tables) for family, tables in found.items()}


def _joined(tables: Sequence[Table]) -> Table:
    names = tables[0].columns
    return Table(columns={name: np.concatenate([one[name] for one in tables]) for name in names})
