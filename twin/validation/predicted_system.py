"""One system with HPL figures beside its prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from twin.energy.node_power import node_parts, waiting_server_parts_w
from twin.hpl.constants import HplConstants
from twin.hpl.fit import HplCase, predicted
from twin.intervals import interval
from twin.prediction import Interval
from twin.validation.hpl_intervals import hpl_spreads
from twin.validation.systems_table import PublishedSystem

__all__ = ["PredictedSystem", "predicted_system"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedSystem:
    """One system beside its prediction; None where the lists are silent."""

    name: str
    cluster: str
    accelerator: str
    n_nodes: int
    n_devices: int
    power_cap_w: float
    measured_flop_per_s: float | None
    """Rmax. [flop/s]"""
    predicted_flop_per_s: float
    flop_per_s_error: float | None
    """Predicted over measured, minus one. [1]"""
    flop_per_s_interval: Interval
    measured_w: float | None
    """Power during HPL. [W]"""
    predicted_w: float
    ape: float | None
    """Of the power. [1]"""
    power_error: float | None
    power_interval: Interval
    measured_flop_per_j: float | None
    """Rmax over power. [flop/J]"""
    predicted_flop_per_j: float
    flop_per_j_error: float | None
    flop_per_j_interval: Interval
    left_out_flop_per_s: float | None
    """With constants fitted without systems of this accelerator. [flop/s]"""
    left_out_w: float | None
    predicted_idle_w: float
    """All devices idle without a context, processors idle, with the network. [W]"""
    n_rows: float
    """Rows of the matrix. [1]"""
    run_time_s: float
    exposed_fraction: float
    """Share of the run in which panels and exchanges show. [1]"""
    clock_fraction: float
    device_power_w: float
    node_power_w: float
    network_power_w: float
    recalled: tuple[str, ...]
    """Figures of the row that were left aside, since their source was not read."""


def predicted_system(
    published: PublishedSystem,
    case: HplCase,
    constants: HplConstants,
    left_out: Mapping[str, HplConstants],
) -> PredictedSystem:
    """Predict one system.

    Parameters
    ----------
    published
        The row of the table.
    case
        Its machine and figures.
    constants
        Constants of the prediction.
    left_out
        Constants fitted without the systems of an accelerator, by the accelerator's name.
    """
    machine = case.machine
    run, power = predicted(case, constants)
    spreads = hpl_spreads(case, constants)
    accelerator = machine.accelerator.name
    left_run, left_power = predicted(case, left_out.get(accelerator, constants))
    is_left_out = accelerator in left_out
    measured_flop_per_j = None
    if case.flop_per_s is not None and case.power_w is not None:
        measured_flop_per_j = case.flop_per_s / case.power_w
    flop_per_j = run.flop_per_s / power.system_w
    power_error = _error(power.system_w, case.power_w)
    return PredictedSystem(
        name=published.name,
        cluster=machine.cluster.name,
        accelerator=accelerator,
        n_nodes=case.n_nodes,
        n_devices=case.system.n_devices,
        power_cap_w=case.system.power_cap_w,
        measured_flop_per_s=case.flop_per_s,
        predicted_flop_per_s=run.flop_per_s,
        flop_per_s_error=_error(run.flop_per_s, case.flop_per_s),
        flop_per_s_interval=interval(run.flop_per_s, spreads.flop_per_s),
        measured_w=case.power_w,
        predicted_w=power.system_w,
        ape=None if power_error is None else abs(power_error),
        power_error=power_error,
        power_interval=interval(power.system_w, spreads.power),
        measured_flop_per_j=measured_flop_per_j,
        predicted_flop_per_j=flop_per_j,
        flop_per_j_error=_error(flop_per_j, measured_flop_per_j),
        flop_per_j_interval=interval(flop_per_j, spreads.flop_per_j),
        left_out_flop_per_s=left_run.flop_per_s if is_left_out else None,
        left_out_w=left_power.system_w if is_left_out else None,
        predicted_idle_w=_idle_w(case, power.network_w),
        n_rows=run.n_rows,
        run_time_s=run.time_s,
        exposed_fraction=run.exposed_s / run.time_s,
        clock_fraction=run.clock_fraction,
        device_power_w=power.device.total_w,
        node_power_w=power.node.inlet_w,
        network_power_w=power.network_w,
        recalled=published.recalled,
    )


def _idle_w(case: HplCase, network_w: float) -> float:
    """Power of all nodes with nothing to do, and the network. [W]"""
    node = case.machine.node
    devices_w = node.n_devices * case.machine.accelerator.power.idle_w
    parts = node_parts(node, devices_w, waiting_server_parts_w(node))
    return case.n_nodes * parts.inlet_w + network_w


def _error(value: float, told: float | None) -> float | None:
    return None if told is None else value / told - 1.0
