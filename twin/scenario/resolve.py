"""From the words of a scenario to a training job: profiles, model and framework looked up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware_profiles.catalogue import Catalogue
from hardware_profiles.cluster import Machine
from hardware_profiles.errors import TweelingError
from twin.scenario.scenario import Scenario
from twin.training.framework import framework
from twin.training.job import PRECISIONS, TrainingJob
from twin.workload.catalogue import ModelCatalogue

__all__ = ["Catalogues", "ScenarioError", "resolve_job"]

LONGEST_SEQUENCE = 2**27
LARGEST_BATCH = 2**31
MOST_TOKENS = 1e18
CAP_TOLERANCE = 1e-9


class ScenarioError(TweelingError):
    """A scenario asks for something impossible."""


@dataclass(frozen=True, slots=True)
class Catalogues:
    """Everything that names are looked up in."""

    profiles: Catalogue
    models: ModelCatalogue

    @classmethod
    def with_folders(cls, folders: Sequence[Path]) -> Catalogues:
        """Catalogues in which the user's folders come first."""
        return cls(Catalogue(folders), ModelCatalogue(folders))


def _check_range(option: str, value: float, *, low: float, high: float) -> None:
    if not math.isfinite(value) or not low <= value <= high:
        msg = f"--{option} {value}: expected a number from {low:g} to {high:g}"
        raise ScenarioError(msg)


def _check_devices(scenario: Scenario, machine: Machine) -> None:
    per_node = machine.node.n_devices
    n_devices = scenario.devices
    if n_devices < 1:
        msg = f"--devices {n_devices}: expected a whole number of at least 1"
        raise ScenarioError(msg)
    if n_devices > per_node and n_devices % per_node:
        lower = n_devices // per_node * per_node
        msg = (
            f"--devices {n_devices}: {machine.node.name} has {per_node} devices per node; "
            f"use whole nodes, {lower} or {lower + per_node}"
        )
        raise ScenarioError(msg)
    n_nodes = machine.partition.n_nodes
    if n_nodes is not None and n_devices > n_nodes * per_node:
        msg = (
            f"--devices {n_devices}: partition {machine.partition.name} of "
            f"{machine.cluster.name} has {n_nodes * per_node} devices ({n_nodes} nodes of "
            f"{per_node}); use at most that"
        )
        raise ScenarioError(msg)


def _power_cap_w(scenario: Scenario, machine: Machine) -> float:
    """The cap that applies. [W]"""
    power = machine.accelerator.power
    if scenario.power_cap_w is None:
        return power.tdp_w
    lowest = power.minimum_cap_w or 2.0 * power.idle_w
    highest = power.tdp_w * (1.0 + CAP_TOLERANCE)
    if not lowest <= scenario.power_cap_w <= highest:
        msg = (
            f"--power-cap {scenario.power_cap_w:g}: {machine.accelerator.name} takes caps from "
            f"{lowest:g} to {power.tdp_w:g} W"
        )
        raise ScenarioError(msg)
    return scenario.power_cap_w


def resolve_job(scenario: Scenario, catalogues: Catalogues) -> TrainingJob:
    """Look everything up and refuse what no machine could run.

    Raises
    ------
    TweelingError
        One line: option or file, key, value, what was expected, nearest valid choice.
    """
    if scenario.precision not in PRECISIONS:
        msg = f"--precision {scenario.precision}: expected one of {', '.join(PRECISIONS)}"
        raise ScenarioError(msg)
    _check_range("seq-len", scenario.seq_len, low=1, high=LONGEST_SEQUENCE)
    _check_range("global-batch", scenario.global_batch, low=1, high=LARGEST_BATCH)
    if scenario.tokens is not None:
        _check_range("tokens", scenario.tokens, low=1, high=MOST_TOKENS)
    machine = catalogues.profiles.machine(
        scenario.cluster, site=scenario.site, overrides=scenario.overrides
    )
    _check_devices(scenario, machine)
    return TrainingJob(
        model=catalogues.models.model(scenario.model),
        machine=machine,
        n_devices=scenario.devices,
        seq_len=scenario.seq_len,
        global_batch=scenario.global_batch,
        precision=scenario.precision,
        framework=framework(scenario.framework),
        power_cap_w=_power_cap_w(scenario, machine),
    )
