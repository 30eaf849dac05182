"""Measured kernels on disk: which family a table belongs to, and its rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kernels.all_reduce.groups import PATTERNS
from kernels.importers.dtypes import known_dtype
from kernels.importers.files import foreign_files, import_file
from kernels.importers.formats import Format, recognise
from kernels.importers.request import Aside, ImportRequest
from kernels.importers.tidy import with_link, with_profile
from kernels.measurement_tables import (
    MeasurementError,
    Table,
    column_names,
    read_table,
    require_positive,
    require_texts,
    require_whole,
)
from kernels.prediction.entries import collective_operation
from kernels.prediction.gemm import LAYOUTS
from kernels.prediction.operations import operation_class, operation_names
from twin.validation.unpredicted import is_unknown_dtype, is_unknown_link

__all__ = [
    "FAMILIES",
    "Family",
    "KernelTable",
    "find_tables",
    "read_kernel_table",
    "read_kernel_tables",
]

logger = logging.getLogger(__name__)

TEXT_COLUMNS = ("device", "dtype", "direction", "op", "library", "link")
"""Columns of names."""

SUFFIXES = (".parquet", ".csv")

UNKNOWN = {
    ("gemm", "dtype"): "products of unknown dtype",
    ("gemm", "layout"): "products of unknown layout",
    ("attention", "dtype"): "calls of attention of unknown dtype",
    ("collectives", "op"): "collectives of unknown operation",
    ("collectives", "link"): "collectives over unknown wires",
    ("ops", "op"): "rows of unknown operation",
    ("ops", "dtype"): "operations of unknown dtype",
}
"""What a warning says of words that no model knows, by family and column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One kind of measurement table."""

    name: str
    columns: tuple[str, ...]
    defaults: Mapping[str, float | str]
    """What a column that is left out means."""
    positive: tuple[str, ...]
    """Columns that must hold numbers above 0."""
    measured: str
    """Column of the measured value."""
    to_base: float
    """Factor that turns it into seconds or bytes per second."""
    telling: frozenset[str]
    """Columns that tell this family from the others."""


def _family(
    name: str,
    sizes: tuple[str, ...],
    texts: tuple[str, ...],
    *,
    telling: tuple[str, ...],
    defaults: Mapping[str, float | str],
    measured: str = "latency_us",
    to_base: float = 1e-6,
) -> Family:
    return Family(
        name=name,
        columns=("device", *texts, *sizes, "library", measured),
        defaults={"library": "", **defaults},
        positive=(*sizes, measured),
        measured=measured,
        to_base=to_base,
        telling=frozenset(telling),
    )


FAMILIES = {
    family.name: family
    for family in (
        _family(
            "gemm",
            ("m", "n", "k", "batch"),
            ("dtype", "layout"),
            telling=("m", "n", "k"),
            defaults={"batch": 1.0, "layout": ""},
        ),
        _family(
            "attention",
            ("batch", "heads_q", "heads_kv", "seq_q", "seq_kv", "head_dim"),
            ("dtype", "causal", "direction"),
            telling=("heads_q", "seq_q"),
            defaults={},
        ),
        _family(
            "collectives",
            ("ranks", "nodes", "message_bytes"),
            ("op", "dtype", "link", "source_id", "flag"),
            telling=("ranks", "message_bytes"),
            defaults={"link": "", "source_id": "", "flag": "", "nodes": 1.0},
        ),
        _family(
            "ops",
            ("rows", "cols"),
            ("op", "dtype", "direction", "flag"),
            telling=("op", "rows", "cols"),
            defaults={"direction": "", "flag": ""},
        ),
        _family(
            "membw",
            (),
            ("op", "source_id"),
            telling=("op", "GBps"),
            defaults={"source_id": ""},
            measured="GBps",
            to_base=1e9,
        ),
    )
}
"""By the name that a file of the family begins with."""

SURVEY_NAMES = {"memory_bound": "ops"}
"""What the project's own surveys call their tables, where it is not the family's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTable:
    """Rows of one file."""

    path: Path
    family: Family
    rows: Table

    def unknown(self, column: str) -> dict[str, int]:
        """Words of a column that mean nothing to the models, and rows of each. [1]

        Dtypes, layouts of products, operations (with their direction where they have one) and
        wires of collectives.
        """
        family, rows = self.family.name, self.rows
        match family, column:
            case "ops", "op":
                return _counted(operation_class(rows), lambda word: word not in operation_names())
            case "gemm", "layout":
                return _counted(rows[column], lambda word: word not in LAYOUTS)
            case "collectives", "op":
                return _counted(
                    rows[column], lambda word: collective_operation(word) not in PATTERNS
                )
            case "collectives", "link":
                sizes = zip(rows["link"], rows["ranks"], rows["nodes"], strict=True)
                is_unknown = [is_unknown_link(t, ranks=r, nodes=n) for t, r, n in sizes]
                return _counted(rows[column][np.array(is_unknown, dtype=bool)], bool)
            case _, "dtype" if "dtype" in rows.columns:
                return _counted(rows[column], lambda word: is_unknown_dtype(family, word))
            case _:
                return {}


def _counted(words: np.ndarray, is_wanted: Callable[[str], bool]) -> dict[str, int]:
    """Wanted words of a column, sorted, and rows of each. [1]"""
    texts = {str(word): word for word in set(words.tolist())}
    return {t: int((words == word).sum()) for t, word in sorted(texts.items()) if is_wanted(t)}


def find_tables(path: Path) -> list[tuple[Path, Family | None]]:
    """Tables that a path stands for: a file by its content, a folder by the names of its files.

    A file of another tool, told by its content, has no family: it may hold rows of several. Files
    of a folder that are no measured kernels are left aside with a warning.

    Raises
    ------
    MeasurementError
        Nothing there, or no measured kernels.
    """
    if path.is_file():
        return [(path, _family_of_columns(path) if recognise(path) is Format.TIDY else None)]
    if not path.is_dir():
        message = f"{path}: no such file or folder; expected measured kernels"
        raise MeasurementError(message)
    found: list[tuple[Path, Family | None]] = [(file, None) for file in foreign_files(path)]
    foreign, aside = {file for file, _ in found}, []
    for file in sorted(path.iterdir()):
        if file in foreign:
            continue
        name = file.stem.removesuffix("_more")
        family = FAMILIES.get(SURVEY_NAMES.get(name, name))
        if family is not None and file.suffix in SUFFIXES:
            # A file of a family's name is one of it: a column that it lacks is named when read.
            found.append((file, family))
        elif file.is_file():
            aside.append(file.name)
    if aside:
        logger.warning("%s: left aside, no measured kernels: %s", path, ", ".join(aside))
    if not found:
        names = ", ".join(f"{name}.parquet or {name}.csv" for name in FAMILIES)
        message = (
            f"{path}: holds no measured kernels; expected files named {names}, or in a format of "
            "another tool"
        )
        raise MeasurementError(message)
    return found


def _tells(family: Family, names: tuple[str, ...]) -> bool:
    return family.telling <= set(names)


def _family_of_columns(path: Path) -> Family:
    if path.suffix not in SUFFIXES:
        message = f"{path}: expected a table, one of {', '.join(SUFFIXES)}"
        raise MeasurementError(message)
    names = column_names(path)
    for family in FAMILIES.values():
        if _tells(family, names):
            return family
    kinds = "; ".join(f"{f.name}: {', '.join(sorted(f.telling))}" for f in FAMILIES.values())
    message = f"{path}: columns {', '.join(names) or '(none)'} are of no known family ({kinds})"
    raise MeasurementError(message)


def read_kernel_tables(
    path: Path, family: Family | None, request: ImportRequest
) -> list[KernelTable]:
    """Rows of one file by family: of its own tidy table, or of whatever another tool wrote.

    Words that no model knows (number formats, layouts, operations, wires) are named in a warning:
    nothing predicts their rows. A collective's number format only says whether a switch adds it.

    Raises
    ------
    MeasurementError
        As `read_kernel_table` and the importers say.
    """
    tables = _tables_of(path, family, request)
    aside = Aside(path)
    for table in tables:
        for (name, column), what in UNKNOWN.items():
            if name == table.family.name:
                for word, n_rows in table.unknown(column).items():
                    aside.count(f"{what} {word!r}", n_rows)
        if table.family.name == "collectives":
            for word, n_rows in table.unknown("dtype").items():
                logger.warning(
                    "%s: %d collectives of unknown dtype %r: predicted as one that no switch adds",
                    *(path, n_rows, word),
                )
    aside.report()
    return tables


def _tables_of(path: Path, family: Family | None, request: ImportRequest) -> list[KernelTable]:
    if family is not None:
        table = read_kernel_table(path, family)
        return [replace(table, rows=_as_said(table.rows, request, path=path))]
    return [
        KernelTable(
            path=path,
            family=FAMILIES[name],
            rows=Table(columns={column: table[column] for column in FAMILIES[name].columns}),
        )
        for name, table in import_file(path, request).tables.items()
    ]


def _as_said(rows: Table, request: ImportRequest, *, path: Path) -> Table:
    """Rows of a tidy table with the device and the wires that the user says for them."""
    if request.device is not None:
        rows = with_profile(rows, request.devices(), path=path)
    return with_link(rows, request.link)


def read_kernel_table(path: Path, family: Family) -> KernelTable:
    """Rows of one file, checked.

    Raises
    ------
    MeasurementError
        Not a table, a column missing, a size or time that is no number above 0, or a size that is
        not whole.
    """
    rows = read_table(path, family.columns, defaults=family.defaults)
    if not len(rows):
        message = f"{path}: holds no rows"
        raise MeasurementError(message)
    texts = [name for name in TEXT_COLUMNS if name in family.columns]
    require_texts(rows, texts, path=path)
    require_positive(rows, family.positive, path=path)
    counts = [name for name in family.positive if name != family.measured]
    require_whole(rows, counts, path=path)
    return KernelTable(path=path, family=family, rows=_with_tidy_dtypes(rows))


def _with_tidy_dtypes(rows: Table) -> Table:
    """Number formats under the names of the project's tables; unknown ones as they are."""
    if "dtype" not in rows.columns:
        return rows
    dtypes = rows["dtype"]
    names = {text: known_dtype(text) or text for text in set(dtypes.tolist())}
    for text, name in names.items():
        if text != name:
            dtypes = np.where(dtypes == text, name, dtypes)
    return Table(columns=rows.columns | {"dtype": dtypes})
