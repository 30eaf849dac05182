"""Measured power of servers over whole training runs, as MLPerf power submissions state it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from twin.validation.csv_rows import CsvRow, TableError, csv_rows

__all__ = ["Meter", "NodePowerRow", "read_node_power"]

Meter = Literal["ac", "dc"]
"""ac: at the inlet of the server; dc: behind its power supplies."""

MINUTE_S = 60.0
REQUIRED = (
    *("mlperf_version", "submitter", "system", "benchmark", "device", "nodes"),
    *("devices_per_node", "mean_run_min", "mean_node_w", "measured_at"),
)
OPTIONAL = ("runs_averaged", "min_node_w", "max_node_w", "conversion_eff_in_log", "source")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePowerRow:
    """One benchmark of one submission."""

    where: str
    """File and line."""
    mlperf_version: str
    submitter: str
    system: str
    benchmark: str
    device: str
    n_nodes: int
    n_devices_per_node: int
    run_time_s: float
    """Mean over the runs. [s]"""
    node_power_w: float
    """Mean over nodes, runs and the time from start to stop of a run. [W]"""
    meter: Meter
    stated_supply_efficiency: float | None
    """As the power log converts; None where it does not. [1]"""

    @property
    def energy_j(self) -> float:
        """Energy of all servers over one run. [J]"""
        return self.node_power_w * self.n_nodes * self.run_time_s


def read_node_power(path: Path) -> tuple[NodePowerRow, ...]:
    """Read a table of measured server power.

    Raises
    ------
    TableError
        For a file that is no such table, an unknown or missing column, a line with too few or too
        many cells, a cell that is no number above 0 where one is expected, a mean outside its own
        range, a place of measurement that is not known, and a table without rows.
    """
    rows = tuple(
        _row(row)
        for row in csv_rows(path, required=REQUIRED, optional=OPTIONAL, holds="server power")
    )
    if not rows:
        msg = f"{path}: holds no rows; expected measured server power"
        raise TableError(msg)
    return rows


def _row(row: CsvRow) -> NodePowerRow:
    mean_w = row.required_number("mean_node_w")
    least_w, most_w = row.number("min_node_w"), row.number("max_node_w")
    if least_w is not None and least_w > mean_w:
        raise row.fault(column="min_node_w", expected=f"at most the mean of {mean_w:g} W")
    if most_w is not None and most_w < mean_w:
        raise row.fault(column="max_node_w", expected=f"at least the mean of {mean_w:g} W")
    return NodePowerRow(
        where=row.where,
        mlperf_version=row.required("mlperf_version"),
        submitter=row.required("submitter"),
        system=row.required("system"),
        benchmark=row.required("benchmark"),
        device=row.required("device"),
        n_nodes=row.count("nodes"),
        n_devices_per_node=row.count("devices_per_node"),
        run_time_s=row.required_number("mean_run_min") * MINUTE_S,
        node_power_w=mean_w,
        meter=_meter(row),
        stated_supply_efficiency=row.number("conversion_eff_in_log", high=1.0),
    )


def _meter(row: CsvRow) -> Meter:
    """Where the meter sat: the efficiency of the supplies counts only at the inlet."""
    words = row.required("measured_at").replace("(", " ").replace(")", " ").upper().split()
    is_ac, is_dc = "AC" in words, "DC" in words
    if is_ac == is_dc:
        raise row.fault(
            column="measured_at",
            expected="a place with AC (server inlet) or DC (behind the supplies)",
        )
    return "ac" if is_ac else "dc"
