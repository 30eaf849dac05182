"""Errors of the HPL predictions of several systems, one entry for each published quantity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twin.prediction import Interval
from twin.validation.predicted_system import PredictedSystem
from twin.validation.statistics import summarise

__all__ = ["QuantityErrors", "quantity_errors"]


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


def quantity_errors(systems: Sequence[PredictedSystem]) -> list[QuantityErrors]:
    """Errors of rate, power and rate over power, each over the systems that state it."""
    return [_errors(systems, quantity) for quantity in QUANTITIES]


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
        if without is not None:
            left_out.append(without / told - 1.0)
    summary = summarise(signed)
    outside = summarise(left_out)
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
