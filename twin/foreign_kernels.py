"""Files of other tools as the tables that screens and the roofline read.

The importers of `kernels.importers` read them: pytest-benchmark, nccl-tests, mamf-finder, NeuSight,
AIConfigurator, SimuMax, and tidy tables of bandwidths.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kernels.importers.files import import_file
from kernels.importers.formats import Format, recognise
from kernels.importers.request import ImportRequest
from kernels.importers.tidy_rows import family_of
from kernels.measurement_tables import MeasurementError, Table, column_names
from twin.table_kinds import TableKind, kind_named

__all__ = ["foreign_tables", "is_foreign"]

KINDS = {"gemm": "gemm", "attention": "attention", "collectives": "collective", "ops": "operation"}
"""Kind of table for each family of the importers that states times."""

BANDWIDTHS = "membw"
BYTES_OF_A_BANDWIDTH = 2.0**30
"""Traffic at which a table of bandwidths, which states no sizes, is shown: a long stream. [byte]"""
GIGA = 1e9
US_PER_S = 1e6


def is_foreign(path: Path) -> bool:
    """Whether a file of a folder is in a format of another tool, or a table of bandwidths."""
    try:
        return recognise(path) is not Format.TIDY or family_of(column_names(path)) == BANDWIDTHS
    except MeasurementError:
        return False


def foreign_tables(path: Path, request: ImportRequest) -> list[tuple[TableKind, Table]]:
    """Every table that a file of another tool holds, with all columns of its kind.

    Raises
    ------
    MeasurementError
        No known format, or something in the file is wrong: its line and column are named.
    """
    found = []
    for family, table in import_file(path, request).tables.items():
        if family == BANDWIDTHS:
            kind, columns = kind_named("stream"), _streams(table)
        else:
            kind, columns = kind_named(KINDS[family]), dict(table.columns)
        for name, default in kind.optional.items():
            if name not in columns:
                dtype = object if isinstance(default, str) else None
                columns[name] = np.full(len(table), default, dtype=dtype)
        found.append((kind, Table(columns=columns)))
    return found


def _streams(table: Table) -> dict[str, np.ndarray]:
    """Bandwidths as times of a stream of `BYTES_OF_A_BANDWIDTH`."""
    traffic = np.full(len(table), BYTES_OF_A_BANDWIDTH)
    latency_us = US_PER_S * traffic / (GIGA * table["GBps"])
    return {
        "device": table["device"],
        "op": table["op"],
        "library": table["library"],
        "bytes": traffic,
        "latency_us": latency_us,
    }
