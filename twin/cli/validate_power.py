"""Text and verdict of ``twin validate power``."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twin.cli.output import table
from twin.cli.validate_report import group_failures, reason_lines
from twin.quantities import shown

__all__ = ["power_failures", "power_lines"]

ERRORS = ("power_median_ape", "power_mape", "energy_mape")
NAME = ["system", "benchmark", "meter"]
POWER = [*NAME, "measured", "predicted", "p10 to p90", "error", "inside"]
ENERGY = [*NAME, "run time", "measured", "predicted", "error"]
PARTS = [*NAME, "devices", "host", "fans", "supply", "in step", "kernels", "steps"]
WIDTH = 98


def power_lines(report: Mapping[str, Any], *, path: Path, runs_path: Path) -> list[str]:
    """Lines of the text report: each server, its parts, errors by benchmark, what is left out."""
    servers: Sequence[Mapping[str, Any]] = report["servers"]
    head = f"{path}: {report['rows']} rows of server power, {report['covered']} predicted"
    return [
        head,
        f"joined to {runs_path} by round, submitter, system and benchmark",
        "",
        *table(
            [
                ["median error", shown("median_ape", report["median_ape"])],
                ["mean error", shown("mape", report["mape"])],
                ["inside p10 to p90", shown("interval_coverage", report["interval_coverage"])],
            ],
            align="lr",
        ),
        "",
        "mean power of a server over the run, in W",
        *table([_power(server) for server in servers], align="lllrrrrl", header=POWER),
        "",
        "energy of all servers over the run, both with the measured run time",
        *table([_energy(server) for server in servers], align="lllrrrr", header=ENERGY),
        "",
        "parts of the power, in W; a device in a step, and when its kernels and the steps run",
        *table([_parts(server) for server in servers], align="lllrrrrrrr", header=PARTS),
        *_assumption_lines(servers),
        *_workload_lines(report["by_device"]),
        *_supply_lines(report["supply"]),
        *reason_lines(report["unpredicted"], heading="not predicted"),
    ]


def _name(server: Mapping[str, Any]) -> list[str]:
    return [server["system"], server["benchmark"], server["meter"].upper()]


def _power(server: Mapping[str, Any]) -> list[str]:
    return [
        *_name(server),
        *(f"{server[key]:.0f}" for key in ("measured_power_w", "predicted_power_w")),
        f"{server['p10_w']:.0f} to {server['p90_w']:.0f}",
        _signed(server),
        "yes" if server["is_inside"] else "no",
    ]


def _energy(server: Mapping[str, Any]) -> list[str]:
    return [
        *_name(server),
        f"{server['run_time_s'] / 60.0:.2f} min",
        *(shown(key, server[key]) for key in ("measured_energy_j", "predicted_energy_j")),
        _signed(server),
    ]


def _signed(server: Mapping[str, Any]) -> str:
    return f"{100.0 * server['signed_error']:+.1f} %"


def _parts(server: Mapping[str, Any]) -> list[str]:
    parts = server["parts"]
    keys = ("devices_w", "host_w", "fans_w", "supply_loss_w")
    return [
        *_name(server),
        *(f"{parts[key]:.0f}" for key in keys),
        f"{server['step_device']['total_w']:.0f}",
        f"{100.0 * server['occupied_fraction']:.0f} %",
        f"{100.0 * server['steps_fraction']:.0f} %",
    ]


def _assumption_lines(servers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every assumption once, with the benchmarks that rest on it."""
    rest: dict[str, list[str]] = {}
    for server in servers:
        for text in server["assumptions"]:
            named = rest.setdefault(text, [])
            who = f"{server['system']} {server['benchmark']}"
            if who not in named:
                named.append(who)
    if not rest:
        return []
    lines = [
        line
        for text, who in rest.items()
        for line in (*_wrapped(text, indent=2), *_wrapped(", ".join(who), indent=4))
    ]
    return ["", "assumed", *lines]


def _wrapped(text: str, *, indent: int) -> list[str]:
    margin = " " * indent
    return textwrap.wrap(text, WIDTH, initial_indent=margin, subsequent_indent=margin)


def _workload_lines(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        [
            entry["device"],
            entry["workload"],
            f"{entry['covered']} of {entry['n']}",
            *(shown(key, entry[key]) for key in ERRORS),
            shown("bias", entry["bias"]),
        ]
        for entry in entries
        if entry["covered"]
    ]
    header = ["device", "benchmark", "rows", "median", "mean", "energy mean", "bias"]
    return ["", "errors of power", *table(rows, align="llrrrrr", header=header)]


def _supply_lines(supply: Mapping[str, Any] | None) -> list[str]:
    if supply is None:
        return []
    low, mean, high = (100.0 * supply[key] for key in ("minimum", "mean", "maximum"))
    text = f"{mean:.1f} % on {len(supply['pairs'])} pairs of meters, {low:.1f} to {high:.1f} %"
    return ["", f"measured efficiency of the power supplies: {text}"]


def power_failures(
    report: Mapping[str, Any], *, fail_above: float | None, old: Mapping[str, Any] | None
) -> list[str]:
    """Why the answer is no, in sentences; empty when it is yes.

    A limit and a baseline hold for each device and benchmark.
    """
    return group_failures(
        _groups(report),
        before={} if old is None else _groups(old),
        fail_above=fail_above,
        judged="power_median_ape",
    )


def _groups(report: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    return {
        f"{entry.get('device')} {entry.get('workload')}": {key: entry.get(key) for key in ERRORS}
        for entry in report["by_device"]
    }
