"""What a table of measured kernels holds, told by its columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kernels.measurement_tables import MeasurementError, column_names
from twin.kernel_columns import ATTENTION, COLLECTIVE, GEMM, STREAM

__all__ = ["KINDS", "TableKind", "kind_named", "kind_or_none", "table_kind"]

NAMES = ("device", "library", "direction", "dtype", "op", "link")
"""Columns of texts."""

CHOICES = ("causal",)
"""Columns of truth values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableKind:
    """What a table of measurements holds."""

    name: str
    family: int
    needed: tuple[str, ...]
    """Columns by which it is known."""
    optional: Mapping[str, object]
    """Columns that a table may leave out, and what then holds."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read."""
        return (*self.needed, *self.optional)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Columns that hold numbers."""
        return tuple(name for name in self.columns if name not in (*NAMES, *CHOICES))

    @property
    def choices(self) -> tuple[str, ...]:
        """Columns that hold truth values."""
        return tuple(name for name in self.columns if name in CHOICES)


_ALWAYS: dict[str, object] = {"device": "", "library": "", "direction": "", "dtype": ""}
KINDS = (
    TableKind(
        name="gemm",
        family=GEMM,
        needed=("m", "n", "k", "latency_us"),
        optional=_ALWAYS | {"batch": 1.0},
    ),
    TableKind(
        name="attention",
        family=ATTENTION,
        needed=("batch", "heads_q", "heads_kv", "seq_q", "seq_kv", "head_dim", "latency_us"),
        optional=_ALWAYS | {"causal": True},
    ),
    TableKind(
        name="collective",
        family=COLLECTIVE,
        needed=("op", "ranks", "message_bytes", "latency_us"),
        optional=_ALWAYS | {"nodes": 1.0, "link": ""},
    ),
    TableKind(
        name="operation",
        family=STREAM,
        needed=("op", "rows", "cols", "latency_us"),
        optional=_ALWAYS | {"bytes": 0.0},
    ),
    TableKind(name="stream", family=STREAM, needed=("op", "bytes", "latency_us"), optional=_ALWAYS),
)


def kind_named(name: str) -> TableKind:
    """The kind of that name."""
    return next(kind for kind in KINDS if kind.name == name)


def kind_or_none(path: Path) -> TableKind | None:
    """What a CSV or Parquet table holds; None for a file of anything else."""
    if path.suffix not in (".csv", ".parquet"):
        return None
    names = set(column_names(path))
    return next((kind for kind in KINDS if names.issuperset(kind.needed)), None)


def table_kind(path: Path) -> TableKind:
    """What a table holds, told by its columns.

    Raises
    ------
    MeasurementError
        They are of no kernel table; the kinds and their columns are named.
    """
    kind = kind_or_none(path)
    if kind is None:
        wanted = "; ".join(f"{one.name}: {', '.join(one.needed)}" for one in KINDS)
        msg = f"{path}: these columns are of no kernel table; expected {wanted}"
        raise MeasurementError(msg)
    return kind
