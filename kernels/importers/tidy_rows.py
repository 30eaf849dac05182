"""The project's tidy rows: what every importer makes of a foreign file, one class per table."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.measurement_tables import Table

__all__ = [
    "FAMILIES",
    "TELLING",
    "AttentionRow",
    "BandwidthRow",
    "CollectiveRow",
    "GemmRow",
    "OperationRow",
    "TidyRow",
    "column_defaults",
    "column_table",
    "columns_of",
    "count_columns",
    "family_of",
    "size_columns",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmRow:
    """One timing of C[m,n] = A[m,k] B[k,n]."""

    device: str
    dtype: str
    m: int
    n: int
    k: int
    batch: int = 1
    layout: str = ""
    """NN, TN or NT: how a column-major BLAS names what is stored transposed; empty for any."""
    library: str = ""
    latency_us: float
    source_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionRow:
    """One timing of attention; a causal mask counts as half the work."""

    device: str
    dtype: str
    batch: int
    heads_q: int
    heads_kv: int
    seq_q: int
    seq_kv: int
    head_dim: int
    causal: bool
    direction: str
    """fwd, bwd, fwd_bwd, or fwd_decode for one new token against a cache."""
    library: str = ""
    latency_us: float
    source_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectiveRow:
    """One timing of a collective; the message is counted as nccl-tests counts it."""

    device: str
    op: str
    dtype: str
    ranks: int
    nodes: int = 1
    link: str = ""
    """Wires of the node, in the words of ``kernels/all_reduce/links.toml``."""
    message_bytes: int
    latency_us: float
    library: str = ""
    source_id: str = ""
    flag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRow:
    """One timing of a memory-bound operation on a matrix."""

    device: str
    op: str
    direction: str = ""
    dtype: str
    rows: int
    cols: int
    library: str = ""
    latency_us: float
    source_id: str = ""
    flag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BandwidthRow:
    """One bandwidth of a stream through memory."""

    device: str
    op: str
    GBps: float
    library: str = ""
    source_id: str = ""


TidyRow = GemmRow | AttentionRow | CollectiveRow | OperationRow | BandwidthRow

FAMILIES: dict[str, type[TidyRow]] = {
    "gemm": GemmRow,
    "attention": AttentionRow,
    "collectives": CollectiveRow,
    "ops": OperationRow,
    "membw": BandwidthRow,
}
"""Row type of each table, by the name that its file begins with."""

TELLING: dict[str, frozenset[str]] = {
    "gemm": frozenset({"m", "n", "k"}),
    "attention": frozenset({"heads_q", "seq_q"}),
    "collectives": frozenset({"ranks", "message_bytes"}),
    "ops": frozenset({"op", "rows", "cols"}),
    "membw": frozenset({"op", "GBps"}),
}
"""Columns that tell each family from the others."""


def family_of(columns: Collection[str]) -> str | None:
    """Family that a table or a case with these columns belongs to; None for any other."""
    return next((family for family, telling in TELLING.items() if telling <= set(columns)), None)


def columns_of(family: str) -> tuple[str, ...]:
    """Columns of a family's table, in the order in which they are written."""
    return tuple(field.name for field in dataclasses.fields(FAMILIES[family]))


def column_defaults(family: str) -> dict[str, float | str]:
    """What a column means that a table of the family leaves out."""
    fields = dataclasses.fields(FAMILIES[family])
    return {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}


def size_columns(family: str) -> tuple[str, ...]:
    """Columns of a family that hold numbers above 0."""
    fields = dataclasses.fields(FAMILIES[family])
    return tuple(field.name for field in fields if field.type in {"int", "float"})


def count_columns(family: str) -> tuple[str, ...]:
    """Columns of a family that hold whole numbers of at least 1."""
    fields = dataclasses.fields(FAMILIES[family])
    return tuple(field.name for field in fields if field.type == "int")


def column_table(family: str, rows: Sequence[TidyRow]) -> Table:
    """Rows of one family as columns: numbers as float64, as they are read from files."""
    kinds = {field.name: field.type for field in dataclasses.fields(FAMILIES[family])}
    dtypes: dict[str, Any] = {"str": object, "bool": np.bool_}
    return Table(
        columns={
            name: np.array(
                [getattr(row, name) for row in rows], dtype=dtypes.get(str(kind), np.float64)
            )
            for name, kind in kinds.items()
        }
    )
