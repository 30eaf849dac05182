"""AIConfigurator's performance tables: products, attention, collectives by inference framework.

Format: github.com/ai-dynamo/aiconfigurator, ``systems/data/*/*_perf.{txt,parquet}`` (CSV under the
name .txt in older versions). Every file begins with framework, version, device, op_name,
kernel_source, but for old nccl_perf files, which begin with nccl_dtype. Latency is in milliseconds.
``message_size`` counts elements, and those of the whole buffer for all_gather, reduce_scatter and
alltoall, as nccl-tests count. Context attention is causal; generation is one token against
``isl + step`` keys.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from kernels.importers.cells import Place, count, positive
from kernels.importers.dtypes import tidy_dtype
from kernels.importers.request import OPERATIONS, Aside, ImportRequest, Rows
from kernels.importers.table_records import Record, records
from kernels.importers.tidy_rows import AttentionRow, CollectiveRow, GemmRow, TidyRow
from kernels.measurement_tables import MeasurementError

__all__ = ["SOURCE", "import_aiconfigurator", "is_aiconfigurator"]

SOURCE = "AIC"
US_PER_MS = 1e3

WEIGHT_ONLY = ("int8_wo", "int4_wo", "sq")
"""Formats of products that widen one operand on the way: no peak of a device describes them."""

ELEMENT_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "int8": 1}
"""Of the dtypes that the tables of collectives have. [byte]"""

COLLECTIVES = {name: name for name in OPERATIONS} | {
    "allreduce": "all_reduce",
    "allgather": "all_gather",
    "reducescatter": "reduce_scatter",
    "alltoall": "all_to_all",
}


class _Common(NamedTuple):
    """What the rows of all tables have."""

    device: str
    library: str
    latency_us: float
    source_id: str = SOURCE


class _Kind(NamedTuple):
    """One kind of table."""

    family: str
    needed: tuple[str, ...]
    row: Callable[[Record, Place, _Common], TidyRow]


def is_aiconfigurator(columns: Collection[str]) -> bool:
    """Whether these are columns of such a table."""
    return _kind(columns) is not None


def import_aiconfigurator(path: Path, request: ImportRequest) -> Rows:
    """Rows of one table; formats and calls that the project does not model are left aside.

    Raises
    ------
    MeasurementError
        With file, line and column of what is wrong.
    """
    aside, devices, rows = Aside(path), request.devices(), list[TidyRow]()
    kind: _Kind | None = None
    for place, record in records(path, ("latency",)):
        kind = kind or _kind(record)
        if kind is None:
            complaint = "columns of no table that the project knows"
            raise place.error(complaint)
        reason = _not_modelled(record)
        if reason:
            aside.count(reason)
            continue
        common = _Common(
            device=devices.profile(str(record.get("device") or ""), place),
            library=_library(record),
            latency_us=US_PER_MS * positive(record["latency"], "latency", place),
        )
        row = kind.row(record, place, common)
        if isinstance(row, CollectiveRow) and request.link:
            row = replace(row, link=request.link)
        rows.append(row)
    aside.report()
    if kind is None or not rows:
        message = f"{path}: holds no row that the project models"
        raise MeasurementError(message)
    return {kind.family: rows}


def _library(record: Record) -> str:
    """Library column of the public collection: framework, version and kernel."""
    kernel, version = str(record.get("kernel_source") or ""), str(record.get("version") or "")
    # The framework column of nccl_perf names whoever ran it; the version is NCCL's own.
    if "nccl_dtype" in record:
        return f"{kernel.lower() or 'nccl'}-{version}" if version else kernel.lower() or "nccl"
    return f"{str(record.get('framework') or '').lower()}-{version}:{kernel}"


def _not_modelled(record: Record) -> str | None:
    """Why a row is left aside; None for one that the project's tables can hold."""
    dtype = record.get("gemm_dtype")
    if dtype in WEIGHT_ONLY:
        return f"rows of {dtype}"
    if "attn_dtype" not in record:
        return None
    continues = record["op_name"] == "context_attention" and str(record.get("step") or "0") != "0"
    reasons = {
        "rows with a sliding window": str(record.get("window_size") or "0") != "0",
        "rows with a beam": str(record.get("beam_width") or "1") != "1",
        "rows whose cache has another format": (
            record.get("kv_cache_dtype") not in {None, record["attn_dtype"]}
        ),
        "rows that continue a sequence": continues,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _product(record: Record, place: Place, common: _Common) -> GemmRow:
    return GemmRow(
        **common._asdict(),
        dtype=tidy_dtype(str(record["gemm_dtype"]), "gemm_dtype", place),
        m=count(record["m"], "m", place),
        n=count(record["n"], "n", place),
        k=count(record["k"], "k", place),
    )


def _attention(record: Record, place: Place, common: _Common) -> AttentionRow:
    operation = str(record["op_name"])
    heads, length = (count(record[name], name, place) for name in ("num_heads", "isl"))
    # Encoders, and old tables under 0, have as many key-value heads as heads.
    kv_heads = str(record.get("num_key_value_heads") or "0")
    is_decode = operation == "generation_attention"
    if operation not in {"context_attention", "generation_attention", "encoder_attention"}:
        complaint = f"op_name = {operation!r}; expected context, generation or encoder_attention"
        raise place.error(complaint)
    return AttentionRow(
        **common._asdict(),
        dtype=tidy_dtype(str(record["attn_dtype"]), "attn_dtype", place),
        batch=count(record["batch_size"], "batch_size", place),
        heads_q=heads,
        heads_kv=heads if kv_heads == "0" else count(kv_heads, "num_key_value_heads", place),
        seq_q=length,
        seq_kv=length + count(record.get("step"), "step", place) if is_decode else length,
        head_dim=count(record["head_dim"], "head_dim", place),
        causal=operation != "encoder_attention",
        direction="fwd_decode" if is_decode else "fwd",
    )


def _collective(record: Record, place: Place, common: _Common) -> CollectiveRow:
    column = "nccl_dtype" if "nccl_dtype" in record else "allreduce_dtype"
    dtype = tidy_dtype(str(record[column]), column, place)
    if dtype not in ELEMENT_BYTES:
        complaint = f"{column} = {record[column]!r}: no collective of it is known"
        raise place.error(complaint)
    operation = COLLECTIVES.get(str(record["op_name"]))
    if operation is None:
        complaint = f"op_name = {record['op_name']!r}; expected one of {', '.join(COLLECTIVES)}"
        raise place.error(complaint)
    n_elements = count(record["message_size"], "message_size", place)
    n_devices = count(record["num_gpus"], "num_gpus", place)
    if n_devices == 1:
        complaint = "num_gpus = 1: one device exchanges nothing; expected at least 2"
        raise place.error(complaint)
    return CollectiveRow(
        **common._asdict(),
        op=operation,
        dtype=dtype,
        ranks=n_devices,
        message_bytes=ELEMENT_BYTES[dtype] * n_elements,
    )


_ATTENTION = ("op_name", "attn_dtype", "batch_size", "isl", "num_heads", "head_dim", "latency")

_KINDS = (
    _Kind("gemm", ("gemm_dtype", "m", "n", "k", "latency"), _product),
    _Kind("attention", _ATTENTION, _attention),
    *(
        _Kind("collectives", (dtype, "op_name", "num_gpus", "message_size", "latency"), _collective)
        for dtype in ("nccl_dtype", "allreduce_dtype")
    ),
)


def _kind(columns: Collection[str]) -> _Kind | None:
    return next((kind for kind in _KINDS if set(kind.needed) <= set(columns)), None)
