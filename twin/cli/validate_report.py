"""What ``twin validate`` makes of a report: text, a Parquet file, a verdict."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hardware_profiles.errors import TweelingError
from twin.cli.output import table
from twin.quantities import QUANTITIES, shown

__all__ = [
    "ReportError",
    "check_rows_file",
    "failures",
    "group_failures",
    "read_baseline",
    "reason_lines",
    "report_lines",
    "write_rows",
]

ERRORS = ("median_ape", "mape", "p90_ape")
GROUPS = (
    "by_vendor",
    "by_device",
    "by_source",
    "by_sharding",
    "by_framework",
    "by_precision",
    "by_scale",
)
COLUMNS = ("median_ape", "mape", "p90_ape", "bias")
LEFT_OUT_COLUMNS = ("left_out_median_ape", "left_out_mape", "left_out_p90_ape", "left_out_bias")
HEADINGS = {
    "median_ape": "median",
    "mape": "mean",
    "p90_ape": "p90",
    "left_out_median_ape": "left out: median",
    "left_out_mape": "mean",
    "left_out_p90_ape": "p90",
    "left_out_bias": "bias",
}
LONGEST_NAME = 24
"""Characters of a group's name that the text shows. [1]"""
N_MISSED = 15
"""Missed runs that the text lists. [1]"""
N_REASONS = 12
"""Reasons for unsupported rows that the text lists. [1]"""
ROUNDING_SLACK = 1e-9
"""Differences below this are rounding. [1]"""


class ReportError(TweelingError):
    """A report or its target file cannot be used."""


def report_lines(report: Mapping[str, Any], *, path: Path) -> list[str]:
    """Lines of the text report: errors, groups, and what was left out and why."""
    unsupported: Sequence[Mapping[str, Any]] = report["unsupported"]
    head = f"{path}: {report['predicted']} runs predicted, {len(unsupported)} unsupported"
    core: Mapping[str, Any] = report.get("dense_core") or {}
    dense: Mapping[str, Any] = report.get("dense") or {}
    left_out: Mapping[str, Any] = report.get("left_out") or {}
    groups = [line for name in GROUPS for line in _group_lines(name, report.get(name))]
    return [
        head,
        *_error_lines(report),
        *_block("with each row's source and its sisters left out of the fit", left_out),
        *_block("dense rows that state tp, pp and layers", dense),
        *_block("dense rows that state their layout, 16-bit", core),
        *groups,
        *_ordering_lines(report.get("ordering")),
        *_memory_lines(report.get("memory")),
        *_server_lines(report.get("runs") or ()),
        *_missed_lines(report.get("missed")),
        *reason_lines(unsupported),
    ]


def _block(heading: str, errors: Mapping[str, Any]) -> list[str]:
    return ["", heading, *_error_lines(errors)] if errors else []


def _ordering_lines(ordering: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """Pairs of comparable runs that are predicted in the right order."""
    if not ordering or not ordering[0]["pairs"]:
        return []
    keys = ("ordered_share", "left_out_ordered_share")
    rows = [
        [str(one["name"]), str(one["pairs"]), *(shown(key, one[key]) for key in keys)]
        for one in ordering
    ]
    header = ["pairs of like runs in order", "n", "right", "left out: right"]
    return ["", *table(rows, align="lrrr", header=header)]


def _missed_lines(missed: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """Runs that miss by more than 15 %, in-sample or left out, with the reason believed."""
    if not missed:
        return []
    lines = [
        f"missed by more than 15 %: {len(missed)} runs (in-sample, left out), "
        "and why it is believed"
    ]
    for row in missed[:N_MISSED]:
        head = (
            f"  {row['run_id']}  {row['signed_error']:+.0%} {row['left_out_signed_error']:+.0%}  "
        )
        indent = " " * 6
        lines += textwrap.wrap(head + str(row["why"]), width=98, subsequent_indent=indent)
    if len(missed) > N_MISSED:
        lines.append(f"  {len(missed) - N_MISSED} more; --json lists every one")
    return ["", *lines]


def _error_lines(errors: Mapping[str, Any]) -> list[str]:
    """Counts as they are, errors and shares as percent; what is unknown is left out."""
    rows = [
        [name, shown(name, value) if name in QUANTITIES else str(value)]
        for name, value in errors.items()
        if isinstance(value, float) or (isinstance(value, int) and name != "predicted")
    ]
    return table(rows, align="lr")


def _group_lines(name: str, groups: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """One table per grouping, the errors in columns."""
    if not groups:
        return []
    errors = [key for key in (*COLUMNS, *LEFT_OUT_COLUMNS) if key in groups[0]]
    rows = [
        [
            str(group["name"])[:LONGEST_NAME],
            str(group["n"]),
            *(f"{group[key]:.1%}" for key in errors),
        ]
        for group in groups
    ]
    align = "l" + "r" * (len(errors) + 1)
    header = [name.replace("_", " "), "n", *(HEADINGS.get(key, key) for key in errors)]
    return ["", *table(rows, align=align, header=header)]


def _memory_lines(memory: Mapping[str, Any] | None) -> list[str]:
    """Errors of memory by source, and how many runs that ran are predicted not to fit."""
    if not memory or not memory["rows"]:
        return []
    unfit: Sequence[str] = memory["predicted_not_to_fit"]
    all_unfit: Sequence[str] = memory["all_runs_predicted_not_to_fit"]
    total = {"name": "all", "n": memory["rows"], **{key: memory[key] for key in COLUMNS}}
    groups = _group_lines("memory_by_source", [*memory["by_source"], total])
    names = ", ".join(unfit[:N_REASONS]) + (", …" if len(unfit) > N_REASONS else "")
    return [
        *groups,
        f"  predicted not to fit: {len(unfit)} of these{': ' + names if unfit else ''}; "
        f"{len(all_unfit)} of all predicted runs",
    ]


def _server_lines(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Runs that are not predicted with the profile of the catalogue's device."""
    from twin.validation.measured_servers import measured_servers

    lines = []
    for server in measured_servers():
        key = (server.source_id, server.device)
        n_runs = sum((run.get("source_id"), run.get("device")) == key for run in runs)
        if n_runs:
            lines.append(
                f"  {n_runs} runs of {server.source_id} on {server.device}: {server.accelerator}"
            )
    heading = "predicted with a profile that was fitted to the kernels of their own server"
    return ["", heading, *lines] if lines else []


def reason_lines(
    unsupported: Sequence[Mapping[str, Any]], *, heading: str = "unsupported"
) -> list[str]:
    """How many rows were left out for which reason, the most frequent first."""
    counts: dict[str, int] = {}
    for row in unsupported:
        counts[str(row["why"])] = counts.get(str(row["why"]), 0) + 1
    if not counts:
        return []
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    lines = table([[str(n), why] for why, n in ordered[:N_REASONS]], align="rl")
    n_more = len(ordered) - N_REASONS
    rest = [f"  {n_more} more reasons; --json lists every row"] if n_more > 0 else []
    return ["", heading, *lines, *rest]


def check_rows_file(path: Path) -> None:
    """Refuse a file that rows cannot be written to, before anything is predicted.

    Raises
    ------
    ReportError
        Another suffix, a folder that does not exist, or one in the file's place.
    """
    if path.suffix != ".parquet":
        msg = f"--out {path}: expected a file that ends in .parquet"
        raise ReportError(msg)
    if not path.parent.is_dir() or path.is_dir():
        msg = f"--out {path}: expected a file in a folder that exists"
        raise ReportError(msg)


def write_rows(rows: Sequence[Mapping[str, Any]], *, path: Path) -> None:
    """Write each row with its prediction as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), partial)
        partial.replace(path)
    except OSError as refusal:
        partial.unlink(missing_ok=True)
        msg = f"--out {path}: cannot be written ({refusal.strerror or refusal})"
        raise ReportError(msg) from refusal


def read_baseline(
    path: Path, *, verb: str, key: str = "median_ape", names: Sequence[str] = ()
) -> dict[str, Any]:
    """Read the JSON of an earlier report of the same verb, which carries this key.

    Parameters
    ----------
    path
        The report.
    verb
        What made it, after ``twin validate``: reports of different verbs share some keys, whose
        errors mean other things.
    key
        A list of groups if it begins with ``by_``.
    names
        What names each of these groups: without it none of them would be compared with anything.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as refusal:
        msg = f"--baseline {path}: not a JSON report ({refusal})"
        raise ReportError(msg) from refusal
    name = key if key.startswith("by_") else "by_device"
    entries = document.get(name, []) if isinstance(document, dict) else []
    is_list = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    if not isinstance(document, dict) or not is_list or key not in document:
        msg = f"--baseline {path}: expected the JSON of twin validate, which has a key {key}"
        raise ReportError(msg)
    _require_verb(document, verb, path)
    left_out = document.get("left_out") or {}
    if not isinstance(left_out, dict):
        msg = f'--baseline {path}: left_out: "{left_out}"; expected an object'
        raise ReportError(msg)
    for number, entry in enumerate(entries):
        _require_names(entry, names, f"--baseline {path}: {name}[{number}]")
    for errors in [document, left_out, *entries]:
        _require_numbers(errors, path)
    return document


def _require_verb(document: Mapping[str, Any], verb: str, path: Path) -> None:
    words = str(document.get("command", "")).split()
    made_by = words[words.index("validate") + 1 :][:1] if "validate" in words else []
    if made_by and made_by != [verb]:
        msg = (
            f"--baseline {path}: a report of twin validate {made_by[0]}; "
            f"expected one of twin validate {verb}"
        )
        raise ReportError(msg)


def _require_names(entry: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    for name in names:
        if not isinstance(entry.get(name), str) or not entry[name]:
            msg = f"{where}.{name}: {json.dumps(entry.get(name))}; expected the name of a group"
            raise ReportError(msg)


def _require_numbers(errors: Mapping[str, Any], path: Path) -> None:
    """Refuse a baseline whose errors are no numbers; null is not known."""
    for name, value in errors.items():
        is_error = name.endswith(("ape", "coverage"))
        if is_error and not isinstance(value, int | float | None):
            msg = f'--baseline {path}: {name}: "{value}"; expected a number or null'
            raise ReportError(msg)


def failures(
    report: Mapping[str, Any], *, fail_above: float | None, old: Mapping[str, Any] | None
) -> list[str]:
    """Why the answer is no, in sentences; empty when it is yes."""
    complaints = []
    median = report["median_ape"]
    left_out = (report.get("left_out") or {}).get("median_ape")
    if fail_above is not None and (median is None or median > fail_above):
        complaints.append(f"median_ape {median} is above --fail-above {fail_above:g}")
    if fail_above is not None and left_out is not None and left_out > fail_above:
        complaints.append(f"left_out.median_ape {left_out} is above --fail-above {fail_above:g}")
    if old is None:
        return complaints
    old_left_out = (old.get("left_out") or {}).get("median_ape")
    if _rose(old_left_out, left_out):
        complaints.append(
            f"left_out.median_ape was {old_left_out:.4f} in the baseline and is {left_out:.4f}"
        )
    worse = [
        *(name for name in ERRORS if _rose(old.get(name), report.get(name))),
        *(name for name in ("coverage",) if _rose(report.get(name), old.get(name))),
    ]
    return complaints + [
        f"{name} was {old[name]:.4f} in the baseline and is {report[name]:.4f}" for name in worse
    ]


def group_failures(
    groups: Mapping[str, Mapping[str, float | None]],
    *,
    before: Mapping[str, Mapping[str, float | None]],
    fail_above: float | None,
    judged: str,
) -> list[str]:
    """The same for errors of groups, so that a group that got worse is not hidden by the others.

    Parameters
    ----------
    groups
        Errors by name, for each group by its name; None is not known.
    before
        The same in the baseline; empty without one.
    fail_above
        Limit of the judged error in each group. [1]
    judged
        Name of the error that the limit is for.
    """
    complaints = []
    known = {name: errors for name, errors in groups.items() if errors.get(judged) is not None}
    if fail_above is not None:
        if not known:
            complaints.append("no row is predicted")
        for name, errors in known.items():
            error = errors[judged]
            if error is not None and error > fail_above:
                complaints.append(
                    f"{name}: {judged} {error:.4f} is above --fail-above {fail_above:g}"
                )
    for name, errors in before.items():
        if all(value is None for value in errors.values()):
            continue
        if name not in known:
            complaints.append(f"{name}: is predicted in the baseline and not in this report")
            continue
        complaints += [
            f"{name}: {key} was {value:.4f} in the baseline and is {groups[name][key]:.4f}"
            for key, value in errors.items()
            if value is not None and _rose(value, groups[name].get(key))
        ]
    return complaints


def _rose(before: float | None, after: float | None) -> bool:
    if before is None or after is None:
        return False
    return after > before + ROUNDING_SLACK
