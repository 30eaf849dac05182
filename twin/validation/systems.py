"""Predicted HPL rate and power of public systems against what the lists say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware_profiles.accelerator import DevicePower
from hardware_profiles.catalogue import Catalogue
from hardware_profiles.cluster import Machine
from hardware_profiles.errors import ProfileError
from twin.hpl.constants import HplConstants, hpl_constants
from twin.hpl.fit import HplCase, fitted_constants
from twin.hpl.machine import HplError, constant_hashes, hpl_system, power_provenance
from twin.validation.csv_rows import TableError
from twin.validation.predicted_system import PredictedSystem, predicted_system
from twin.validation.systems_errors import QuantityErrors, quantity_errors
from twin.validation.systems_table import PUBLIC_SYSTEMS, PublishedSystem, read_systems

__all__ = ["SystemsReport", "validate_systems"]


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
    systems = [predicted_system(one.published, one.case, constants, without) for one in known]
    hashes: dict[str, str] = {}
    for one in known:
        machine = one.case.machine
        hashes = {**constant_hashes(machine), **hashes, **machine.profile_hashes}
    return SystemsReport(
        rows=len(published),
        covered=len(systems),
        by_quantity=quantity_errors(systems),
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
