"""NeuSight's tables of operators: CSV with OPName, Latency, Device and the sizes of each operator.

Format: github.com/sitar-lab/NeuSight, ``scripts/asplos/data/dataset*/{train,test}``. Latency is in
milliseconds; linear and bmm carry B, M, N, K and mean (M x N) x (N x K), so that the project's k is
N there and its n is K; vector operators carry B rows of H elements. All of it is fp32 in PyTorch.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from kernels.importers.cells import Place, count, positive
from kernels.importers.request import Aside, ImportRequest, Rows
from kernels.importers.table_records import Record, records
from kernels.importers.tidy_rows import GemmRow, OperationRow, TidyRow
from kernels.measurement_tables import MeasurementError

__all__ = ["SOURCE", "import_neusight", "is_neusight"]

SOURCE = "NEUSIGHT"
NEEDED = ("OPName", "Latency", "Device")
PRODUCTS = ("linear", "bmm")
NAMES = {"ln": "layernorm"}
"""Operators that the project's tables call otherwise."""

VECTORS = (
    *("add", "addu", "mul", "mulu", "div", "divu", "pow", "powu"),
    *("relu", "gelu", "tanh", "softmax", "ln"),
)

US_PER_MS = 1e3


def is_neusight(columns: Collection[str]) -> bool:
    """Whether these are columns of such a table."""
    return set(NEEDED) <= set(columns)


def import_neusight(path: Path, request: ImportRequest) -> Rows:
    """Products and vector operators of a table; convolutions and others are left aside.

    Raises
    ------
    MeasurementError
        With file, line and column of what is wrong.
    """
    aside, devices, found = Aside(path), request.devices(), Rows()
    for place, record in records(path, NEEDED):
        name = str(record["OPName"]).strip().lower()
        if name not in (*PRODUCTS, *VECTORS):
            aside.count(f"rows of operator {name!r}")
            continue
        device = devices.profile(str(record["Device"] or ""), place)
        vendor_blas = "rocblas" if "AMD" in str(record["Device"]) else "cublas"
        if name in PRODUCTS:
            library = f"{vendor_blas}:torch.{name}"
            row: TidyRow = _product(record, place, device=device, library=library)
            found.setdefault("gemm", []).append(row)
        else:
            row = _vector(record, place, device=device, name=NAMES.get(name, name))
            found.setdefault("ops", []).append(row)
    aside.report()
    if not found:
        message = f"{path}: holds no operator that the project models"
        raise MeasurementError(message)
    return found


def _product(record: Record, place: Place, *, device: str, library: str) -> GemmRow:
    return GemmRow(
        device=device,
        dtype="fp32",
        m=_size(record, "M", place),
        n=_size(record, "K", place),
        k=_size(record, "N", place),
        batch=_size(record, "B", place),
        library=library,
        latency_us=US_PER_MS * positive(record["Latency"], "Latency", place),
        source_id=SOURCE,
    )


def _vector(record: Record, place: Place, *, device: str, name: str) -> OperationRow:
    return OperationRow(
        device=device,
        op=name,
        dtype="fp32",
        rows=_size(record, "B", place),
        cols=_size(record, "H", place),
        library="torch",
        latency_us=US_PER_MS * positive(record["Latency"], "Latency", place),
        source_id=SOURCE,
    )


def _size(record: Record, column: str, place: Place) -> int:
    if column not in record:
        complaint = f"column {column!r} is missing, which {record['OPName']} needs"
        raise place.error(complaint)
    return count(record[column], column, place)
