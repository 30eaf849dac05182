"""Text, Parquet and verdict of ``twin validate kernels``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twin.cli.output import table
from twin.cli.validate_report import ReportError

if TYPE_CHECKING:
    from twin.validation.kernels import PredictedTable

__all__ = ["kernel_failures", "kernel_lines", "write_kernel_rows"]

ERRORS = ("median_ape", "mape", "p90_ape")
KEYS = ("device", "family", "dtype", "direction")
ROUNDING_SLACK = 1e-9
"""Differences below this are rounding. [1]"""

N_LIBRARIES = 8
"""Libraries of one device that the text lists. [1]"""


def kernel_lines(report: Mapping[str, Any], *, path: Path) -> list[str]:
    """Lines of the text report: every device, family and dtype, then the libraries behind it."""
    head = f"{path}: {report['rows']} measured kernels, {report['covered']} predicted"
    header = ["device", "family", "dtype", "direction", "rows", "covered", "median", "mean", "p90"]
    header += ["large: median", "mean"]
    rows = [_cells(entry) for entry in report["by_device"]]
    lines = [head, "", *table(rows, align="llllrrrrrrr", header=header), "", "by library"]
    cells = [
        [
            *(str(entry[key] or "") for key in KEYS[:3]),
            str(one["library"]),
            str(one["covered"]),
            *(_percent(one[name]) for name in ERRORS),
        ]
        for entry in report["by_device"]
        for one in sorted(entry["by_library"], key=lambda one: -one["n"])[:N_LIBRARIES]
    ]
    header = ["device", "family", "dtype", "library", "covered", "median", "mean", "p90"]
    lines += table(cells, align="llllrrrr", header=header)
    lines += _unpredicted_lines(report)
    unknown = report["unknown_devices"]
    return [*lines, *(["", f"devices without a profile: {', '.join(unknown)}"] if unknown else [])]


def _unpredicted_lines(report: Mapping[str, Any]) -> list[str]:
    """Why rows are not predicted, with how many of which family."""
    cells = [[f"{one['n']:,}", one["family"], one["why"]] for one in report["unpredicted"]]
    header = ["rows", "family", "why"]
    return ["", "not predicted", *table(cells, align="rll", header=header)] if cells else []


def _cells(entry: Mapping[str, Any]) -> list[str]:
    large = entry["large"]
    return [
        *(str(entry[key] or "") for key in KEYS),
        str(entry["n"]),
        str(entry["covered"]),
        *(_percent(entry[name]) for name in ERRORS),
        _percent(large["median_ape"]),
        _percent(large["mape"]),
    ]


def _percent(fraction: float | None) -> str:
    return "n/a" if fraction is None else f"{100.0 * fraction:.1f} %"


def write_kernel_rows(tables: Sequence[PredictedTable], *, path: Path) -> None:
    """Write each row with its prediction as Parquet, replacing the file in one step."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = []
    for one in tables:
        columns: dict[str, Any] = dict(one.table.rows.columns)
        columns["family"] = np.full(len(one.predicted), one.table.family.name)
        columns["file"] = np.full(len(one.predicted), one.table.path.name)
        columns[f"predicted_{one.table.family.measured}"] = one.predicted
        columns["relative_error"] = one.relative_error
        columns["why"] = one.why
        arrays = {name: pa.array(column, from_pandas=True) for name, column in columns.items()}
        parts.append(pa.table(arrays))
    partial = path.with_name(f".{path.name}.part")
    try:
        pq.write_table(pa.concat_tables(parts, promote_options="permissive"), partial)
        partial.replace(path)
    except OSError as refusal:
        partial.unlink(missing_ok=True)
        msg = f"--out {path}: cannot be written ({refusal.strerror or refusal})"
        raise ReportError(msg) from refusal


def kernel_failures(
    report: Mapping[str, Any], *, fail_above: float | None, old: Mapping[str, Any] | None
) -> list[str]:
    """Why the answer is no, in sentences; empty when it is yes.

    A limit and a baseline hold for each device, family, dtype and direction, so that a model that
    got worse on one is not hidden by the others.
    """
    complaints = []
    entries = {_key(entry): entry for entry in report["by_device"]}
    if fail_above is not None:
        for key, entry in entries.items():
            median = entry["median_ape"]
            if median is not None and median > fail_above:
                complaints.append(
                    f"{key}: median_ape {median:.4f} is above --fail-above {fail_above:g}"
                )
        if not report["covered"]:
            complaints.append("no row is covered")
    for before in (old or {}).get("by_device", []):
        complaints += _worse(before, entries.get(_key(before)))
    return complaints


def _key(entry: Mapping[str, Any]) -> str:
    return " ".join(str(entry[key]) for key in KEYS if entry.get(key))


def _worse(before: Mapping[str, Any], after: Mapping[str, Any] | None) -> list[str]:
    key = _key(before)
    if after is None:
        return [f"{key}: is in the baseline and not in this report"]
    found = [
        f"{key}: {name} was {before[name]:.4f} in the baseline and is {after[name]:.4f}"
        for name in ERRORS
        if None not in (before.get(name), after.get(name))
        and after[name] > before[name] + ROUNDING_SLACK
    ]
    share = before["covered"] / max(before["n"], 1)
    if after["covered"] / max(after["n"], 1) < share - ROUNDING_SLACK:
        found.append(f"{key}: {after['covered']} of {after['n']} rows covered, was {share:.1%}")
    return found
