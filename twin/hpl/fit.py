"""Fits the two free constants of the HPL model on published systems."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hardware_profiles.cluster import Machine
from twin.hpl.constants import HplConstants
from twin.hpl.model import HplRun, HplSystem, hpl_run
from twin.hpl.power import HplPower, hpl_power

__all__ = ["HplCase", "fitted_constants", "log_errors", "predicted"]

ENERGY_RATIO_RANGE = (4.0, 40.0)
EXPOSED_RANGE = (0.0, 1.0)
FIRST_MOVE = 0.25
"""First step of the search, over the range of each constant. [1]"""
LAST_MOVE = 0.002

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class HplCase:
    """A system of which figures are published."""

    machine: Machine
    system: HplSystem
    n_nodes: int
    flop_per_s: float | None
    """Published rate. [flop/s]"""
    power_w: float | None
    """Published power. [W]"""
    power_spread_fraction: float
    """Relative spread of the device's power calibration. [1]"""
    is_power_assumed: bool
    """Whether that calibration rests on no measurement of the device or its silicon."""


def predicted(case: HplCase, constants: HplConstants) -> tuple[HplRun, HplPower]:
    """Run and power of a system."""
    run = hpl_run(case.system, constants)
    power = hpl_power(case.machine, case.system, run, constants, n_nodes=case.n_nodes)
    return run, power


def log_errors(case: HplCase, constants: HplConstants) -> list[float]:
    """Logarithm of predicted over published, for each published figure. [1]"""
    run, power = predicted(case, constants)
    pairs = ((run.flop_per_s, case.flop_per_s), (power.system_w, case.power_w))
    return [math.log(found / told) for found, told in pairs if told is not None]


def fitted_constants(cases: Sequence[HplCase], start: HplConstants) -> HplConstants:
    """Energy of fp64 and exposed share that meet the cases best; the rest as they are.

    The mean absolute logarithmic error decides, so that one system of which not all nodes ran does
    not bend the others. A compass search: four neighbours, half the step when none is better.
    """

    def loss(point: Point) -> float:
        constants = _with(start, point)
        errors = [abs(error) for case in cases for error in log_errors(case, constants)]
        return sum(errors) / len(errors)

    return _with(start, _lowest(loss, _point(start)))


def _lowest(loss: Callable[[Point], float], start: Point) -> Point:
    """Point of the unit square at which the loss is lowest, near a first one."""
    best, least, move = start, loss(start), FIRST_MOVE
    while move > LAST_MOVE:
        x, y = best
        around = [(x + move, y), (x - move, y), (x, y + move), (x, y - move)]
        inside = [(_clipped(a), _clipped(b)) for a, b in around]
        values = [loss(point) for point in inside]
        if min(values) < least:
            least = min(values)
            best = inside[values.index(least)]
        else:
            move *= 0.5
    return best


def _clipped(share: float) -> float:
    return min(1.0, max(0.0, share))


def _point(constants: HplConstants) -> Point:
    low, high = (math.log(limit) for limit in ENERGY_RATIO_RANGE)
    ratio = (math.log(constants.fp64_energy_ratio) - low) / (high - low)
    first, last = EXPOSED_RANGE
    return ratio, (constants.exposed_fraction - first) / (last - first)


def _with(start: HplConstants, point: Point) -> HplConstants:
    low, high = (math.log(limit) for limit in ENERGY_RATIO_RANGE)
    first, last = EXPOSED_RANGE
    return start._replace(
        fp64_energy_ratio=math.exp(low + point[0] * (high - low)),
        exposed_fraction=first + point[1] * (last - first),
    )
