"""Predicted power and energy of servers in training against what their meters said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware_profiles.errors import TweelingError
from twin.predict import Predictor
from twin.validation.csv_rows import TableError
from twin.validation.node_power_table import NodePowerRow, read_node_power
from twin.validation.power_join import RunIndex
from twin.validation.run_machines import RunMachines
from twin.validation.runs_table import PublishedRun, read_runs
from twin.validation.server_power import (
    ServerPower,
    UnpredictedError,
    predicted_server_power,
)
from twin.validation.statistics import summarise
from twin.validation.supply_pairs import SupplyEfficiency, supply_efficiency

__all__ = ["PowerReport", "WorkloadErrors", "validate_power"]

OTHER_NETWORKS = {
    "bert": "an encoder, not a decoder",
    "dlrm_dcnv2": "recommendation",
    "gnn": "a graph network",
    "maskrcnn": "object detection",
    "resnet": "image classification",
    "retinanet": "object detection",
    "rgat": "a graph network",
    "rnnt": "speech recognition",
    "ssd": "object detection",
    "stable_diffusion": "image generation",
    "unet3d": "image segmentation",
}
"""Benchmarks that train something else than a decoder of language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadErrors:
    """Errors of the rows of one device and benchmark."""

    device: str
    workload: str
    n: int
    covered: int
    power_mape: float | None
    power_median_ape: float | None
    energy_mape: float | None
    """Both energies take the measured run time. [1]"""
    bias: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerReport:
    """Everything `twin validate power` says; field names are the keys of its JSON."""

    rows: int
    covered: int
    coverage: float
    mape: float | None
    median_ape: float | None
    p90_ape: float | None
    bias: float | None
    interval_coverage: float | None
    """Share of the measured powers inside p10 to p90. [1]"""
    by_device: list[WorkloadErrors]
    supply: SupplyEfficiency | None
    """Measured efficiency of power supplies; None without pairs of meters."""
    servers: list[ServerPower]
    unpredicted: list[dict[str, str]]
    profile_hashes: dict[str, str]


def validate_power(power_path: Path, runs_path: Path, *, predictor: Predictor) -> PowerReport:
    """Predict every row of a table of measured server power whose run is known.

    Parameters
    ----------
    power_path
        Mean power of servers over runs, at the inlet or behind the supplies.
    runs_path
        Published runs that those rows were measured on.
    predictor
        Supplies the catalogues, the user's folders included.

    Raises
    ------
    TweelingError
        A file cannot be read as such a table, or no row of the first belongs to a run of the
        second.
    """
    rows = read_node_power(power_path)
    published = read_runs(runs_path)
    machines = RunMachines(predictor.catalogues.profiles)
    index = RunIndex(published)
    if not any(index.find(row, rows) for row in rows):
        raise _no_join(rows[0], runs_path)
    servers: list[ServerPower] = []
    unpredicted: list[dict[str, str]] = []
    for row in rows:
        try:
            servers.append(_predicted(row, rows, index, machines=machines, published=published))
        except TweelingError as refusal:
            unpredicted.append(_named(row) | {"why": str(refusal)})
    summary = summarise([server.signed_error for server in servers])
    inside = [server.is_inside for server in servers]
    return PowerReport(
        rows=len(rows),
        covered=len(servers),
        coverage=len(servers) / len(rows),
        mape=summary.mape if summary else None,
        median_ape=summary.median_ape if summary else None,
        p90_ape=summary.p90_ape if summary else None,
        bias=summary.bias if summary else None,
        interval_coverage=sum(inside) / len(inside) if inside else None,
        by_device=_by_workload(rows, servers),
        supply=supply_efficiency(rows),
        servers=servers,
        unpredicted=unpredicted,
        profile_hashes=machines.profile_hashes(),
    )


def _predicted(
    row: NodePowerRow,
    rows: Sequence[NodePowerRow],
    index: RunIndex,
    *,
    machines: RunMachines,
    published: Sequence[PublishedRun],
) -> ServerPower:
    joined = index.find(row, rows)
    if joined is not None:
        return predicted_server_power(row, joined, machines=machines, published=published)
    if row.benchmark in OTHER_NETWORKS:
        what = OTHER_NETWORKS[row.benchmark]
        msg = f"{row.benchmark} ({what}): only decoders of language are modelled"
        raise UnpredictedError(msg)
    msg = f"{row.benchmark}: no published run of this round, submitter and system"
    raise UnpredictedError(msg)


def _no_join(row: NodePowerRow, runs_path: Path) -> TableError:
    key = f"{row.mlperf_version}, {row.submitter}, {row.system}, {row.benchmark}"
    wanted = f"training_results_{row.mlperf_version} {row.submitter}/results/{row.system}/…"
    return TableError(
        f"{row.where}: columns mlperf_version, submitter, system, benchmark: {key}, and no other "
        f'row either, is of a run in {runs_path}; expected a provenance such as "{wanted}"'
    )


def _named(row: NodePowerRow) -> dict[str, str]:
    return {
        "mlperf_version": row.mlperf_version,
        "submitter": row.submitter,
        "system": row.system,
        "benchmark": row.benchmark,
        "device": row.device,
    }


def _by_workload(
    rows: Sequence[NodePowerRow], servers: Sequence[ServerPower]
) -> list[WorkloadErrors]:
    """One entry for each device and benchmark, in the order of the table."""
    keys = dict.fromkeys((row.device, row.benchmark) for row in rows)
    return [_workload(device, name, rows, servers) for device, name in keys]


def _workload(
    device: str, workload: str, rows: Sequence[NodePowerRow], servers: Sequence[ServerPower]
) -> WorkloadErrors:
    def is_one(row: NodePowerRow | ServerPower) -> bool:
        return row.device == device and row.benchmark == workload

    known = [server for server in servers if is_one(server)]
    power = summarise([server.signed_error for server in known])
    energy = summarise([_energy_error(server) for server in known])
    return WorkloadErrors(
        device=device,
        workload=workload,
        n=sum(is_one(row) for row in rows),
        covered=len(known),
        power_mape=power.mape if power else None,
        power_median_ape=power.median_ape if power else None,
        energy_mape=energy.mape if energy else None,
        bias=power.bias if power else None,
    )


def _energy_error(server: ServerPower) -> float:
    return server.predicted_energy_j / server.measured_energy_j - 1.0
