"""Predicted HPL rate and power of public systems against what the lists say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware_profiles.accelerator import DevicePower
from hardware_profiles.catalogue import Catalogue
from hardware_profiles.cluster import Machine
from hardware_profiles.errors import ProfileError
from twin.energy.node_power import node_parts, waiting_server_parts_w
from twin.hpl.constants import HplConstants, hpl_constants
from twin.hpl.fit import HplCase, fitted_constants, predicted
from twin.hpl.machine import HplError, hpl_system, power_provenance
from twin.intervals import interval
from twin.prediction import Interval
from twin.validation.csv_rows import TableError
from twin.validation.hpl_intervals import hpl_spreads
from twin.validation.statistics import summarise
from twin.validation.systems_table import PUBLIC_SYSTEMS, PublishedSystem, read_systems

__all__ = ["PredictedSystem", "QuantityErrors", "SystemsReport", "validate_systems"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantityErrors:
    """Errors of one quantity over the systems that state it."""

    name: str
    n: int
    mape: float | None
    median_ape: float | None
    bias: float | None
    interval_coverage: float | None
    left_out_mape: float | None
    """With constants fitted without systems of the judged accelerator. [1]"""
    left_out_median_ape: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemsReport:
    """Everything `twin validate systems` says; field names are the keys of its JSON."""

    rows: int
    covered: int
    """Rows that are predicted, with or without a published figure."""
    by_quantity: list[QuantityErrors]
    constants: dict[str, float]
    """Those that come with the twin and made the predictions."""
    refitted: dict[str, float] | None
    """Fitted on the rows of this table; None where their figures do not suffice."""
    systems: list[PredictedSystem]
    unpredicted: list[dict[str, str]]
    profile_hashes: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A published system with the machine that the catalogue has of it."""

    published: PublishedSystem
    case: HplCase


def validate_systems(path: Path | None, *, catalogue: Catalogue) -> SystemsReport:
    """Predict HPL on every system of a table that the catalogue describes.

    Parameters
    ----------
    path
        Table of systems; None for the one that comes with the twin.
    catalogue
        Profiles; a system is looked up by its cluster column, else by its name.

    Raises
    ------
    TweelingError
        The file is no such table, a cluster that it names has no profile, or a cap is impossible.
    """
    published = read_systems(path or PUBLIC_SYSTEMS)
    known: list[_Known] = []
    unpredicted: list[dict[str, str]] = []
    for system in published:
        try:
            known.append(_known(system, catalogue))
        except (HplError, ProfileError) as refusal:
            unpredicted.append({"name": system.name, "why": str(refusal)})
    constants = hpl_constants()
    fitting = [one.case for one in known if _is_fitting(one.case)]
    without = _left_out(known, fitting, constants)
    refitted = fitted_constants(fitting, constants) if fitting else None
    systems = [_predicted(one, constants, without) for one in known]
    hashes: dict[str, str] = {}
    for one in known:
        hashes |= one.case.machine.profile_hashes
    return SystemsReport(
        rows=len(published),
        covered=len(systems),
        by_quantity=[_errors(systems, quantity) for quantity in QUANTITIES],
        constants=constants._asdict(),
        refitted=None if refitted is None else refitted._asdict(),
        systems=systems,
        unpredicted=unpredicted,
        profile_hashes=hashes,
    )


def _known(system: PublishedSystem, catalogue: Catalogue) -> _Known:
    machine = _machine(system, catalogue)
    _require_possible_cap(system, machine.accelerator.power)
    n_nodes = system.n_nodes or machine.partition.n_nodes
    if n_nodes is None:
        msg = f"neither the table nor the profile {system.cluster} states the number of nodes"
        raise HplError(msg)
    provenance = power_provenance(machine)
    case = HplCase(
        machine=machine,
        system=hpl_system(machine, n_nodes=n_nodes, power_cap_w=system.power_cap_w),
        n_nodes=n_nodes,
        flop_per_s=system.hpl_flop_per_s,
        power_w=system.hpl_power_w,
        power_spread_fraction=provenance.relative_spread_fraction,
        is_power_assumed=provenance.figure_class == "assumed",
    )
    return _Known(published=system, case=case)


def _machine(system: PublishedSystem, catalogue: Catalogue) -> Machine:
    """Machine of a system: a cluster that the table names must be there, its own name need not."""
    if system.has_stated_cluster:
        try:
            return catalogue.machine(system.cluster)
        except ProfileError as refusal:
            msg = f"{system.where}: column cluster: {refusal}"
            raise TableError(msg) from refusal
    if catalogue.find("cluster", system.cluster) is None:
        msg = f"not in the catalogue: no cluster profile {system.cluster}"
        raise HplError(msg)
    return catalogue.machine(system.cluster)


def _require_possible_cap(system: PublishedSystem, power: DevicePower) -> None:
    cap_w = system.power_cap_w
    least_w = power.minimum_cap_w or power.idle_w
    if cap_w is not None and not least_w <= cap_w <= power.tdp_w:
        cell = f'{system.where}: column power_cap_w: "{cap_w:g}"'
        msg = f"{cell}; expected {least_w:g} to {power.tdp_w:g} W a device"
        raise TableError(msg)


def _is_fitting(case: HplCase) -> bool:
    """Whether a system may bear on the constants.

    It has a published figure, and the energy of its device's operations was measured: where that
    is assumed, the constants would make up for the assumption.
    """
    is_published = case.flop_per_s is not None or case.power_w is not None
    return is_published and not case.is_power_assumed


def _left_out(
    known: Sequence[_Known], fitting: Sequence[HplCase], constants: HplConstants
) -> dict[str, HplConstants]:
    """Constants fitted without the systems of each accelerator, by the accelerator's name."""
    found = {}
    for name in sorted({one.case.machine.accelerator.name for one in known}):
        others = [case for case in fitting if case.machine.accelerator.name != name]
        if others:
            found[name] = fitted_constants(others, constants)
    return found


def _predicted(
    one: _Known, constants: HplConstants, without: dict[str, HplConstants]
) -> PredictedSystem:
    case, machine = one.case, one.case.machine
    run, power = predicted(case, constants)
    spreads = hpl_spreads(case, constants)
    accelerator = machine.accelerator.name
    left_run, left_power = predicted(case, without.get(accelerator, constants))
    is_left_out = accelerator in without
    measured_flop_per_j = None
    if case.flop_per_s is not None and case.power_w is not None:
        measured_flop_per_j = case.flop_per_s / case.power_w
    flop_per_j = run.flop_per_s / power.system_w
    power_error = _error(power.system_w, case.power_w)
    return PredictedSystem(
        name=one.published.name,
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
        recalled=one.published.recalled,
    )


def _idle_w(case: HplCase, network_w: float) -> float:
    """Power of all nodes with nothing to do, and the network. [W]"""
    node = case.machine.node
    devices_w = node.n_devices * case.machine.accelerator.power.idle_w
    parts = node_parts(node, devices_w, waiting_server_parts_w(node))
    return case.n_nodes * parts.inlet_w + network_w


def _error(value: float, told: float | None) -> float | None:
    return None if told is None else value / told - 1.0


@dataclass(frozen=True, slots=True)
class _Quantity:
    """One of the three figures that a list states or implies."""

    name: str
    measured: Callable[[PredictedSystem], float | None]
    predicted: Callable[[PredictedSystem], float]
    left_out: Callable[[PredictedSystem], float | None]
    interval: Callable[[PredictedSystem], Interval]


def _left_out_flop_per_j(system: PredictedSystem) -> float | None:
    if system.left_out_flop_per_s is None or system.left_out_w is None:
        return None
    return system.left_out_flop_per_s / system.left_out_w


QUANTITIES = (
    _Quantity(
        "flop_per_s",
        lambda one: one.measured_flop_per_s,
        lambda one: one.predicted_flop_per_s,
        lambda one: one.left_out_flop_per_s,
        lambda one: one.flop_per_s_interval,
    ),
    _Quantity(
        "power_w",
        lambda one: one.measured_w,
        lambda one: one.predicted_w,
        lambda one: one.left_out_w,
        lambda one: one.power_interval,
    ),
    _Quantity(
        "flop_per_j",
        lambda one: one.measured_flop_per_j,
        lambda one: one.predicted_flop_per_j,
        _left_out_flop_per_j,
        lambda one: one.flop_per_j_interval,
    ),
)


def _errors(systems: Sequence[PredictedSystem], quantity: _Quantity) -> QuantityErrors:
    signed, left_out, inside = [], [], []
    for system in systems:
        told = quantity.measured(system)
        if told is None:
            continue
        signed.append(quantity.predicted(system) / told - 1.0)
        band = quantity.interval(system)
        inside.append(band.p10 <= told <= band.p90)
        without = quantity.left_out(system)
        left_out.append(math.nan if without is None else without / told - 1.0)
    summary = summarise(signed)
    outside = summarise([error for error in left_out if not math.isnan(error)])
    return QuantityErrors(
        name=quantity.name,
        n=len(signed),
        mape=summary.mape if summary else None,
        median_ape=summary.median_ape if summary else None,
        bias=summary.bias if summary else None,
        interval_coverage=sum(inside) / len(inside) if inside else None,
        left_out_mape=outside.mape if outside else None,
        left_out_median_ape=outside.median_ape if outside else None,
    )
