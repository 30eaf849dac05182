"""Tidy measurements: one row per case, CSV with a JSON sidecar, written atomically.

The columns are those of public collections of GPU measurements (device, dtype, m, n, k,
latency_us and so on), so that one reader serves both; this is why a few fields keep units that are
not the base ones. A row adds what a fit needs to judge it: repeats, spread, clock, power,
temperature, software. Only the standard library is imported.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from hardware_profiles.errors import TweelingError
from hardware_profiles.whole_files import write_text_whole

__all__ = [
    "TABLES",
    "AttentionMeasurement",
    "BandwidthMeasurement",
    "CollectiveMeasurement",
    "GemmMeasurement",
    "LaunchMeasurement",
    "Measurement",
    "MeasurementError",
    "OperationMeasurement",
    "PowerMeasurement",
    "PowerSample",
    "read_measurements",
    "write_json",
    "write_measurements",
]


class MeasurementError(TweelingError):
    """A file of measurements cannot be read as such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What every row carries, whatever was measured."""

    case: str
    """Name of the case, unique in its table; a resumed survey leaves out what is there."""
    device: str
    vendor: str
    library: str
    """What ran: framework, version and routine."""
    software: str = ""
    """Framework, toolkit and driver."""
    latency_us: float | None = None
    """Median time of one call. [µs]"""
    latency_min_us: float | None = None
    latency_p10_us: float | None = None
    latency_p90_us: float | None = None
    repeats: int = 0
    """Intervals behind the median. [1]"""
    spread: float | None = None
    """Median absolute deviation over the median. [1]"""
    clock_mhz: float | None = None
    """Mean clock of the compute units while it ran. [MHz]"""
    power_w: float | None = None
    temperature_c: float | None = None
    source_id: str = "TWEELING"
    flag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmMeasurement(Measurement):
    """C[m,n] = A[m,k] B[k,n]."""

    dtype: str
    m: int
    n: int
    k: int
    batch: int = 1
    layout: str = ""
    """BLAS letters."""
    direction: str = ""
    """fwd, dgrad or wgrad of a linear layer; empty for a plain shape."""
    role: str = ""
    """Model, tensor-parallel degree and layer that the shape comes from."""
    cache: str = "cold"
    """cold: operands rotate among more buffers than the cache holds; warm: one set of them."""
    data: str = "normal"
    """normal: random normal operands; zeros."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionMeasurement(Measurement):
    """Attention of query, key and value heads; a causal mask counts as half the work."""

    dtype: str
    batch: int
    heads_q: int
    heads_kv: int
    seq_q: int
    seq_kv: int
    head_dim: int
    causal: bool
    direction: str
    """fwd, or bwd alone (without the forward pass)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BandwidthMeasurement(Measurement):
    """A stream through memory."""

    op: str
    bytes: int
    """Bytes read plus bytes written by one call. [byte]"""
    GBps: float
    """`bytes` over the median time. [1e9 byte/s]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationMeasurement(Measurement):
    """A memory-bound operation of training."""

    op: str
    direction: str
    dtype: str
    rows: int
    cols: int
    bytes: int
    """Every operand read once and every result written once, as a fused kernel would. [byte]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectiveMeasurement(Measurement):
    """A collective inside one node or over several, by the slowest rank of each round."""

    op: str
    """all_reduce, all_gather, reduce_scatter, all_to_all or p2p."""
    dtype: str
    ranks: int
    nodes: int = 1
    link: str = ""
    """Wires of the node, in the words of ``kernels/all_reduce/links.toml``."""
    message_bytes: int
    """Message as nccl-tests counts it. [byte]"""
    algorithm: str = ""
    """ring, tree and so on, where the caller chose it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchMeasurement(Measurement):
    """The gap between kernels, or the host time that one operation takes to launch."""

    op: str
    mode: str
    """stream, graph (device time per kernel), or host (host time per call)."""
    n_calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerMeasurement(Measurement):
    """Power and clock under a load that lasts seconds; `power_w` is energy over time."""

    workload: str
    dtype: str = ""
    shape: str = ""
    tflops: float | None = None
    """Arithmetic done per time, idle gaps included. [1e12 flop/s]"""
    GBps: float | None = None
    """Least memory traffic of the work per time. [1e9 byte/s]"""
    power_limit_w: float | None = None
    sampled_power_w: float | None = None
    """Mean of the samples, where `power_w` comes from the energy counter. [W]"""
    energy_j: float | None = None
    duration_s: float
    energy_per_flop_j: float | None = None
    duty: float = 1.0
    """Share of the time that the device was given work. [1]"""
    clock_min_mhz: float | None = None
    throttle: str = ""
    """Reasons for lowered clocks that were seen, joined by +."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerSample(Measurement):
    """One reading during a sustained load."""

    time_s: float
    """Since the load's measured window began; negative while it warms up. [s]"""
    energy_j: float | None = None
    """Counter since the driver was loaded. [J]"""
    memory_clock_mhz: float | None = None
    throttle: str = ""


TABLES: dict[str, type[Measurement]] = {
    "gemm": GemmMeasurement,
    "attention": AttentionMeasurement,
    "bandwidth": BandwidthMeasurement,
    "memory_bound": OperationMeasurement,
    "collectives": CollectiveMeasurement,
    "launch": LaunchMeasurement,
    "power": PowerMeasurement,
    "power_samples": PowerSample,
}
"""Row type of each file, by the file's stem."""

Row = TypeVar("Row", bound=Measurement)


def write_measurements(path: Path, rows: Sequence[Measurement]) -> None:
    """Write rows of one type as tidy CSV, replacing the file in one step.

    Columns in which every row has its default are left out, except those without a default.
    """
    if not rows:
        return
    columns = _columns(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_to_text(getattr(row, column)) for column in columns] for row in rows)
    _write(path, text.getvalue())


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a JSON object, replacing the file in one step."""
    _write(path, json.dumps(content, indent=2, sort_keys=False) + "\n")


def read_measurements(path: Path, row_type: type[Row]) -> list[Row]:
    """Rows of a tidy CSV file.

    Parameters
    ----------
    path
        File written by `write_measurements`.
    row_type
        Class of its rows.

    Returns
    -------
    list
        One object per line.

    Raises
    ------
    MeasurementError
        With file, line, column and value of the first thing that is wrong.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.reader(stream)
        columns = next(reader, [])
        _require_columns(columns, path=path, row_type=row_type)
        kinds = get_type_hints(row_type)
        rows = []
        for texts in reader:
            where = f"{path}:{reader.line_num}"
            if len(texts) != len(columns):
                msg = f"{where}: {len(texts)} values; expected {len(columns)}"
                raise MeasurementError(msg)
            pairs = zip(columns, texts, strict=True)
            values: dict[str, Any] = {c: _parse(t, kinds[c], where, c) for c, t in pairs}
            rows.append(row_type(**values))
        return rows


def _columns(rows: Sequence[Measurement]) -> list[str]:
    """Identity first, then what was measured, without columns that say nothing."""
    fields = dataclasses.fields(rows[0])
    shared = {field.name for field in dataclasses.fields(Measurement)}
    first = ("case", "device", "vendor")
    own = [field.name for field in fields if field.name not in shared]
    rest = [field.name for field in fields if field.name in shared and field.name not in first]
    default = {field.name: field.default for field in fields}
    return [
        name
        for name in (*first, *own, *rest)
        if default[name] is dataclasses.MISSING
        or any(getattr(row, name) != default[name] for row in rows)
        or name in {"latency_us", "source_id", "cache", "data"}
    ]


def _require_columns(columns: Iterable[str], *, path: Path, row_type: type[Measurement]) -> None:
    fields = {field.name: field for field in dataclasses.fields(row_type)}
    given = list(columns)
    for column in given:
        if column not in fields:
            msg = f"{path}: column {column!r} is unknown; expected {', '.join(fields)}"
            raise MeasurementError(msg)
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and name not in given:
            msg = f"{path}: column {name!r} is missing"
            raise MeasurementError(msg)


def _to_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "True" if value else "False"
    # Seven digits: more than any clock here can resolve, and files stay small.
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _parse(text: str, kind: object, where: str, column: str) -> object:
    try:
        if kind is str:
            return text
        if kind is bool:
            return {"True": True, "False": False}[text]
        if kind is int:
            return int(text)
        return None if text == "" and kind == (float | None) else float(text)
    except (KeyError, ValueError):
        expected = "True or False" if kind is bool else getattr(kind, "__name__", str(kind))
        msg = f"{where}: column {column!r}: {text!r}; expected {expected}"
        raise MeasurementError(msg) from None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_whole(path, text)
