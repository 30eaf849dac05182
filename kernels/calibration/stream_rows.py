"""Rows of memory-bound measurements as the fits take them: by accelerator and operation."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hardware_profiles.accelerator import Accelerator
from kernels.calibration.session import Session
from kernels.calibration.simplex import FloatArray
from kernels.calibration.split import is_heldout
from kernels.measurement_tables import Mask, Table
from kernels.prediction.operations import matrix_sizes, operation_class, operation_names

__all__ = [
    "BANDWIDTH_COLUMNS",
    "OPERATION_COLUMNS",
    "OperationRows",
    "bandwidth_tables",
    "operation_rows",
]

logger = logging.getLogger(__name__)

OPERATION_COLUMNS = (
    *("device", "op", "direction", "dtype", "rows", "cols", "library", "latency_us", "flag"),
    "source_id",
)

BANDWIDTH_COLUMNS = ("device", "op", "GBps", "library", "source_id")

OWN_COLUMNS = (
    *("device", "case", "op", "direction", "dtype", "rows", "cols", "library", "latency_us"),
    "source_id",
)

EAGER = ":eager"
"""End of the library of rows that an eager framework's own kernels took."""

OWN_KERNELS = "own/"
"""Beginning of the cases of a survey that time this repository's kernels, and what ran beside them:
the models know one implementation of an operation, the framework's."""

SURVEY_FLOOR_BYTES = float(2**29)
"""Smaller streams of a survey tell of launches and caches, not of the memory. [byte]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRows:
    """Rows of one class of operations on one accelerator."""

    accelerator: Accelerator
    name: str
    sizes: FloatArray
    """Rows, columns, element size, passes, alignment."""
    measured_s: FloatArray
    heldout: Mask
    keys: npt.NDArray[np.int64]
    """Number of each (rows, columns) pair, within the set."""
    source_ids: frozenset[str] = frozenset()
    is_eager: bool = False
    """Whether all of them are an eager framework's own kernels on Nvidia, whose source is read."""

    def where(self, mask: Mask) -> OperationRows:
        """The rows at which the mask holds."""
        return OperationRows(
            accelerator=self.accelerator,
            name=self.name,
            sizes=self.sizes[mask],
            measured_s=self.measured_s[mask],
            heldout=self.heldout[mask],
            keys=self.keys[mask],
            source_ids=self.source_ids,
            is_eager=self.is_eager,
        )


def _split(session: Session, table: Table) -> Iterator[OperationRows]:
    names = operation_class(table)
    sizes = matrix_sizes(table)
    known = np.isfinite(sizes).all(axis=1) & (table["latency_us"] > 0)
    _name_unknown(names)
    is_eager = np.array([str(one).endswith(EAGER) for one in table["library"]], dtype=bool)
    pairs = [(int(n_rows), int(n_columns)) for n_rows, n_columns in sizes[:, :2]]
    heldout = np.array([is_heldout("operations", pair) for pair in pairs], dtype=bool)
    for device in sorted(set(table["device"])):
        accelerator = session.accelerator(str(device))
        if accelerator is None:
            continue
        for name in sorted(set(names[table["device"] == device])):
            mask = known & (table["device"] == device) & (names == name)
            if mask.any():
                yield OperationRows(
                    accelerator=accelerator,
                    name=str(name),
                    sizes=sizes[mask],
                    measured_s=table["latency_us"][mask] * 1e-6,
                    heldout=heldout[mask],
                    keys=_keys(sizes[mask]),
                    source_ids=frozenset(map(str, table["source_id"][mask])),
                    is_eager=accelerator.vendor == "nvidia" and bool(is_eager[mask].all()),
                )


def _keys(sizes: FloatArray) -> npt.NDArray[np.int64]:
    _, keys = np.unique(sizes[:, :2], axis=0, return_inverse=True)
    return np.asarray(keys, dtype=np.int64).ravel()


def _pooled(sets: Sequence[OperationRows]) -> OperationRows:
    """Rows of several tables as one set."""
    sizes = np.concatenate([rows.sizes for rows in sets])
    return OperationRows(
        accelerator=sets[0].accelerator,
        name=sets[0].name,
        sizes=sizes,
        measured_s=np.concatenate([rows.measured_s for rows in sets]),
        heldout=np.concatenate([rows.heldout for rows in sets]),
        keys=_keys(sizes),
        source_ids=frozenset().union(*(rows.source_ids for rows in sets)),
        is_eager=sets[0].is_eager,
    )


def _name_unknown(names: npt.NDArray[np.object_]) -> None:
    unknown = sorted(set(names.tolist()) - operation_names())
    if unknown:
        logger.warning(
            "operations that no model knows are left out: %s (%d rows)",
            ", ".join(unknown),
            np.isin(names, unknown).sum(),
        )


def operation_rows(session: Session) -> list[OperationRows]:
    """All rows of operations that ``operations.toml`` lists, this repository's surveys included.

    What several tables hold of one operation on one device is one set; an eager framework's rows,
    whose kernels are known, make one of their own.
    """
    tables = [session.table(name, OPERATION_COLUMNS) for name in _present(session, "ops.csv")]
    tables += [_of_others(one) for one in session.survey_tables("memory_bound.csv", OWN_COLUMNS)]
    sets: dict[tuple[str, str, bool], list[OperationRows]] = {}
    for rows in (rows for table in tables for rows in _split(session, table)):
        sets.setdefault((rows.accelerator.name, rows.name, rows.is_eager), []).append(rows)
    return [_pooled(one) for one in sets.values()]


def bandwidth_tables(session: Session) -> list[Table]:
    """All rows of streaming kernels with their occupancy, this repository's surveys included."""
    tables = [session.table(name, BANDWIDTH_COLUMNS) for name in _present(session, "membw.csv")]
    surveys = session.survey_tables("bandwidth.csv", (*BANDWIDTH_COLUMNS, "case", "bytes"))
    others = [_of_others(table) for table in surveys]
    return tables + [table.where(table["bytes"] >= SURVEY_FLOOR_BYTES) for table in others]


def _of_others(table: Table) -> Table:
    """Rows of a survey without those of this repository's kernels."""
    is_own = [str(case).startswith(OWN_KERNELS) for case in table["case"]]
    return table.where(~np.array(is_own, dtype=bool))


def _present(session: Session, name: str) -> list[str]:
    return [name] if session.has_table(name) else []
