"""Why no model predicts a measured kernel: one reason in words for each row left over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import Calibration
from kernels.all_reduce.groups import PATTERNS
from kernels.all_reduce.networks import known_networks, measured_network
from kernels.all_reduce.wires import measured_wires
from kernels.gemm.precision import PRECISIONS, nearest_dtype
from kernels.importers.dtypes import is_known_dtype
from kernels.measurement_tables import Table
from kernels.prediction.attention import PASSES, attention_names, peak_of
from kernels.prediction.entries import UNFUSED, collective_operation
from kernels.prediction.gemm import LAYOUTS
from kernels.prediction.operations import ELEMENT_BYTES, operation_class, operation_names

__all__ = ["is_unknown_dtype", "is_unknown_link", "unpredicted_reasons"]

Row = Mapping[str, Any]
"""Cells of one row by column."""

Reason = Callable[[Row, Accelerator, Calibration], str]

OTHER = "the model gives no finite figure"

LOOKED_AT = {
    "gemm": ("dtype", "layout"),
    "attention": ("dtype", "direction", "library", "implementation"),
    "collectives": ("device", "op", "link", "library", "ranks", "nodes"),
    "ops": ("operation", "dtype"),
    "membw": ("op",),
}
"""Columns on which the reason of a row hangs, by family."""


def unpredicted_reasons(
    family: str, rows: Table, accelerator: Accelerator, calibration: Calibration
) -> npt.NDArray[np.object_]:
    """Why each of these rows of one device is not predicted.

    Parameters
    ----------
    family
        gemm, attention, collectives, ops or membw.
    rows
        The rows that are not predicted.
    accelerator
        Their device.
    calibration
        Its constants, those of its relatives included.
    """
    columns = dict(rows.columns)
    if family == "attention":
        columns["implementation"] = attention_names(rows)
    if family == "ops":
        columns["operation"] = operation_class(rows)
    names = LOOKED_AT[family]
    known: dict[tuple[object, ...], str] = {}
    found = np.empty(len(rows), dtype=object)
    for number, cells in enumerate(zip(*(columns[name].tolist() for name in names), strict=True)):
        if cells not in known:
            row = dict(zip(names, cells, strict=True))
            known[cells] = REASONS[family](row, accelerator, calibration)
        found[number] = known[cells]
    return found


def is_unknown_dtype(family: str, dtype: str) -> bool:
    """Whether a number format means nothing to a family of kernels."""
    if family == "gemm":
        return dtype not in PRECISIONS
    if family == "attention" and dtype.startswith(("bf16", "fp16")):
        return False
    return not is_known_dtype(dtype)


def is_unknown_link(link: str, *, ranks: float, nodes: float) -> bool:
    """Whether wires are told that mean nothing; one rank per node needs none in it."""
    if not link:
        return False
    if nodes > 1:
        return all(link != network.link for network in known_networks())
    return ranks > 1 and measured_wires(link) is None


def _gemm(row: Row, accelerator: Accelerator, calibration: Calibration) -> str:
    dtype = row["dtype"]
    if dtype not in PRECISIONS:
        return f"unknown dtype {dtype!r}"
    if row["layout"] not in LAYOUTS:
        return f"unknown layout {row['layout']!r}"
    if PRECISIONS[dtype].peak not in accelerator.compute.peak_flop_per_s:
        return f"{accelerator.name} has no peak for {dtype}"
    if nearest_dtype(dtype, calibration.gemm) is None:
        return f"neither {accelerator.name} nor its relatives have constants for {dtype}"
    return OTHER


def _attention(row: Row, accelerator: Accelerator, calibration: Calibration) -> str:
    dtype, direction = row["dtype"], row["direction"]
    if row["implementation"] == UNFUSED:
        return f"library {row['library']!r} keeps the scores in memory, which no model describes"
    if peak_of(accelerator, dtype) is None:
        is_unknown = is_unknown_dtype("attention", dtype)
        return (
            f"unknown dtype {dtype!r}"
            if is_unknown
            else f"{accelerator.name} has no peak for {dtype}"
        )
    if direction not in {*PASSES, "fwd_decode"}:
        return f"unknown direction {direction!r}"
    if direction == "fwd_decode" and all(
        one.decode is None for one in calibration.attention.values()
    ):
        return f"neither {accelerator.name} nor its relatives have constants for decoding"
    return OTHER


def _collective(row: Row, accelerator: Accelerator, calibration: Calibration) -> str:
    operation, name = collective_operation(row["op"]), accelerator.name
    if operation not in PATTERNS:
        return f"unknown operation {row['op']!r}"
    if is_unknown_link(row["link"], ranks=row["ranks"], nodes=row["nodes"]):
        return f"unknown wires {row['link']!r}"
    if operation not in calibration.collective:
        return f"neither {name} nor its relatives have constants for {operation}"
    return _network(row) or _wires(row, accelerator)


def _network(row: Row) -> str | None:
    device, link, library = row["device"], row["link"], row["library"]
    if row["ranks"] % row["nodes"]:
        return "ranks that do not spread evenly over the nodes"
    if row["nodes"] > 1 and measured_network(device, link, library) is None:
        return f"no network was fitted between nodes of {device} over {link!r} by {library!r}"
    return None


def _wires(row: Row, accelerator: Accelerator) -> str:
    if not row["link"]:
        return "nothing tells the wires"
    if accelerator.link is None:
        return f"the profile of {accelerator.name} has no link"
    n_ranks = row["ranks"] / row["nodes"]
    return f"wires {row['link']!r} do not tell the bandwidth of {n_ranks:.0f} ranks"


def _operation(row: Row, accelerator: Accelerator, calibration: Calibration) -> str:
    if row["operation"] not in operation_names():
        return f"unknown operation {row['operation']!r}"
    if row["dtype"] not in ELEMENT_BYTES:
        is_unknown = is_unknown_dtype("ops", row["dtype"])
        return f"{'unknown dtype' if is_unknown else 'no operations are known in'} {row['dtype']!r}"
    return _without_streams(accelerator, calibration) or OTHER


def _bandwidth(row: Row, accelerator: Accelerator, calibration: Calibration) -> str:
    missing = _without_streams(accelerator, calibration)
    return (
        missing or f"kernel {row['op']!r} was fitted neither on {accelerator.name} nor on relatives"
    )


def _without_streams(accelerator: Accelerator, calibration: Calibration) -> str | None:
    if calibration.memory_bound is not None:
        return None
    return f"neither {accelerator.name} nor its relatives have constants of memory-bound kernels"


REASONS: dict[str, Reason] = {
    "gemm": _gemm,
    "attention": _attention,
    "collectives": _collective,
    "ops": _operation,
    "membw": _bandwidth,
}
