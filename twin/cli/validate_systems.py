"""Text and verdict of ``twin validate systems``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twin.cli.output import table
from twin.cli.validate_report import group_failures
from twin.quantities import shown

__all__ = ["systems_failures", "systems_lines"]

ERRORS = ("median_ape", "mape", "left_out_median_ape", "left_out_mape")
TITLES = {"flop_per_s": "HPL rate", "power_w": "power", "flop_per_j": "HPL rate over power"}
COMPARED = ["system", "nodes", "measured", "predicted", "p10 to p90", "error", "left out"]
HOW = [
    "system",
    "device",
    "cap W",
    "HPL W",
    "node W",
    "net kW",
    "idle kW",
    "clock",
    "exposed",
]

PFLOP = 1e15
KILOWATT_W = 1e3
GFLOP = 1e9

Figures = tuple[float | None, float, Mapping[str, float], float | None, float | None]
"""Measured, predicted, interval, error, predicted by constants that never saw the accelerator."""


def systems_lines(report: Mapping[str, Any], *, source: str) -> list[str]:
    """Lines of the text report: rate, power and both over another, how they come about, errors."""
    systems: Sequence[Mapping[str, Any]] = report["systems"]
    head = f"{source}: {report['rows']} systems, {report['covered']} predicted"
    if not systems:
        return [head, *_unpredicted_lines(report["unpredicted"])]
    return [
        head,
        *_compared(systems, "HPL rate in PFLOP/s", PFLOP, _rate),
        *_compared(systems, "power during HPL in kW", KILOWATT_W, _power),
        *_compared(systems, "GFLOP/s per W", GFLOP, _efficiency),
        "",
        "how it comes about",
        *table([_how(one) for one in systems], align="llrrrrrrr", header=HOW),
        *_error_lines(report["by_quantity"]),
        *_constant_lines(report),
        *_recalled_lines(systems),
        *_unpredicted_lines(report["unpredicted"]),
    ]


def _rate(one: Mapping[str, Any]) -> Figures:
    return (
        one["measured_flop_per_s"],
        one["predicted_flop_per_s"],
        one["flop_per_s_interval"],
        one["flop_per_s_error"],
        one["left_out_flop_per_s"],
    )


def _power(one: Mapping[str, Any]) -> Figures:
    return (
        one["measured_w"],
        one["predicted_w"],
        one["power_interval"],
        one["power_error"],
        one["left_out_w"],
    )


def _efficiency(one: Mapping[str, Any]) -> Figures:
    rate, watts = one["left_out_flop_per_s"], one["left_out_w"]
    return (
        one["measured_flop_per_j"],
        one["predicted_flop_per_j"],
        one["flop_per_j_interval"],
        one["flop_per_j_error"],
        None if rate is None or watts is None else rate / watts,
    )


def _compared(
    systems: Sequence[Mapping[str, Any]],
    title: str,
    unit: float,
    figures: Callable[[Mapping[str, Any]], Figures],
) -> list[str]:
    rows = []
    for one in systems:
        measured, predicted, band, error, left_out = figures(one)
        left_out_error = _error(left_out, measured)
        rows.append(
            [
                one["name"],
                str(one["n_nodes"]),
                "not known" if measured is None else _number(measured / unit),
                _number(predicted / unit),
                f"{_number(band['p10'] / unit)} to {_number(band['p90'] / unit)}",
                _percent(error),
                _percent(left_out_error),
            ]
        )
    return ["", title, *table(rows, align="lrrrrrr", header=COMPARED)]


def _how(one: Mapping[str, Any]) -> list[str]:
    return [
        one["name"],
        one["accelerator"],
        f"{one['power_cap_w']:.0f}",
        f"{one['device_power_w']:.0f}",
        f"{one['node_power_w']:.0f}",
        f"{one['network_power_w'] / KILOWATT_W:.0f}",
        f"{one['predicted_idle_w'] / KILOWATT_W:.0f}",
        f"{one['clock_fraction']:.2f}",
        f"{100.0 * one['exposed_fraction']:.0f} %",
    ]


def _number(value: float) -> str:
    """Whole above a thousand, four digits below."""
    return f"{value:.0f}" if value >= 1000.0 else f"{value:.4g}"


def _error(value: float | None, told: float | None) -> float | None:
    return None if value is None or told is None else value / told - 1.0


def _percent(error: float | None) -> str:
    return "" if error is None else f"{100.0 * error:+.1f} %"


def _error_lines(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        [
            TITLES[entry["name"]],
            str(entry["n"]),
            *(shown(key.removeprefix("left_out_"), entry[key]) for key in ERRORS),
            shown("bias", entry["bias"]),
            shown("interval_coverage", entry["interval_coverage"]),
        ]
        for entry in entries
    ]
    header = ["errors", "n", "median", "mean", "left out: median", "mean", "bias", "inside"]
    return ["", *table(rows, align="lrrrrrrr", header=header)]


def _constant_lines(report: Mapping[str, Any]) -> list[str]:
    """The two fitted constants as shipped and as this table would have them."""
    names = ("fp64_energy_ratio", "exposed_fraction")
    refitted = report["refitted"]
    rows = [
        [name, f"{report['constants'][name]:.3g}", f"{refitted[name]:.3g}" if refitted else ""]
        for name in names
    ]
    return ["", *table(rows, align="lrr", header=["fitted constant", "shipped", "this table"])]


def _recalled_lines(systems: Sequence[Mapping[str, Any]]) -> list[str]:
    found = [f"  {one['name']}: {', '.join(one['recalled'])}" for one in systems if one["recalled"]]
    return ["", "left aside, since no source was read", *found] if found else []


def _unpredicted_lines(rows: Sequence[Mapping[str, str]]) -> list[str]:
    if not rows:
        return []
    return ["", "not predicted", *table([[row["name"], row["why"]] for row in rows])]


def systems_failures(
    report: Mapping[str, Any], *, fail_above: float | None, old: Mapping[str, Any] | None
) -> list[str]:
    """Why the answer is no, in sentences; empty when it is yes.

    A limit holds for the median error of rate, power and both over another.
    """
    return group_failures(
        _groups(report),
        before={} if old is None else _groups(old),
        fail_above=fail_above,
        judged="median_ape",
    )


def _groups(report: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    return {
        TITLES.get(entry.get("name"), "unknown"): {key: entry.get(key) for key in ERRORS}
        for entry in report["by_quantity"]
    }
