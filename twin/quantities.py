"""Every quantity that leaves the twin: its unit, its meaning and how it is shown.

JSON carries base units under these names; texts and screens show the display unit. A number under
a name that is missing here may not leave the twin, which the tests check.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from hardware_profiles.errors import TweelingError

__all__ = [
    "QUANTITIES",
    "Better",
    "Display",
    "Quantity",
    "QuantityError",
    "quantity",
    "shown",
    "significant",
]

Better = Literal["higher", "lower", "neither"]

N_DIGITS = 4
"""Significant digits of a number on screen. [1]"""
ROUNDING_SLACK = 1e-9
"""How far a value may miss its range through rounding, relative to its size. [1]"""
PREFIXES = (
    (1e18, "E"),
    (1e15, "P"),
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "µ"),
    (1e-9, "n"),
)


class QuantityError(TweelingError):
    """A name is not that of a quantity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """How values of one base unit become text."""

    base: str
    """Base unit."""
    unit: str
    """What stands behind the number."""
    scale: float = 1.0
    """Base units in one display unit. [1]"""
    prefix: Literal["none", "joined", "apart"] = "none"
    """Whether the number takes an SI prefix, and whether that touches the unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One entry of the registry."""

    name: str
    """Key in JSON and name in code."""
    meaning: str
    display: Display
    better: Better
    minimum: float = 0.0
    """Least plausible value, in base units."""
    maximum: float = math.inf
    """Greatest plausible value, in base units."""

    @property
    def unit(self) -> str:
        """Base unit."""
        return self.display.base

    def holds(self, value: float) -> bool:
        """Whether a value is finite and within the plausible range, rounding apart."""
        slack = ROUNDING_SLACK * max(1.0, abs(value))
        return math.isfinite(value) and self.minimum - slack <= value <= self.maximum + slack

    def parts(self, value: float | None, *, n_digits: int = N_DIGITS) -> tuple[str, str]:
        """Number and display unit apart, for aligned columns; ``n/a`` for None."""
        if value is None:
            return "n/a", ""
        scaled = _rounded(value / self.display.scale, n_digits=n_digits)
        if self.display.prefix == "none":
            return significant(scaled, n_digits=n_digits), self.display.unit
        factor, prefix = _prefix(scaled)
        gap = " " if prefix and self.display.prefix == "apart" else ""
        return significant(scaled / factor, n_digits=n_digits), prefix + gap + self.display.unit

    def text(self, value: float | None, *, n_digits: int = N_DIGITS) -> str:
        """The value with its display unit; ``n/a`` for None."""
        return " ".join(part for part in self.parts(value, n_digits=n_digits) if part)


def significant(value: float, *, n_digits: int = N_DIGITS) -> str:
    """A number with so many significant digits; powers of ten only for the very large and small."""
    rounded = _rounded(value, n_digits=n_digits)
    if rounded == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(rounded)))
    if not -4 <= magnitude < 6:
        return f"{rounded:.{n_digits - 1}e}"
    return f"{rounded:.{max(0, n_digits - 1 - magnitude)}f}"


def quantity(name: str) -> Quantity:
    """Look a quantity up by its name."""
    try:
        return QUANTITIES[name]
    except KeyError:
        from difflib import get_close_matches

        nearest = get_close_matches(name, QUANTITIES, n=1, cutoff=0.0)
        msg = f"no quantity {name!r}; nearest is {', '.join(nearest)}"
        raise QuantityError(msg) from None


def shown(name: str, value: float | None) -> str:
    """The value of a named quantity as text with its display unit."""
    return quantity(name).text(value)


def _rounded(value: float, *, n_digits: int) -> float:
    """Round before the prefix is chosen, so that 999.99 k becomes 1.000 M."""
    return float(f"{value:.{n_digits - 1}e}")


def _prefix(value: float) -> tuple[float, str]:
    for factor, prefix in PREFIXES:
        if abs(value) >= factor:
            return factor, prefix
    return (1.0, "") if value == 0 else PREFIXES[-1]


_SECONDS = Display(base="s", unit="s", prefix="joined")
_DAYS = Display(base="s", unit="days", scale=86_400.0)
_GIGABYTES = Display(base="byte", unit="GB", scale=1e9)
_DEVICE_WATTS = Display(base="W", unit="W")
_WATTS = Display(base="W", unit="W", prefix="joined")
_JOULES = Display(base="J", unit="J", prefix="joined")
_WATT_HOURS = Display(base="J", unit="Wh", scale=3_600.0, prefix="joined")
_TOKEN_RATE = Display(base="token/s", unit="tokens/s", prefix="apart")
_FLOP_RATE = Display(base="flop/s", unit="flop/s", prefix="joined")
_PERCENT = Display(base="1", unit="%", scale=0.01)
_RATIO = Display(base="1", unit="")
_EUROS = Display(base="EUR", unit="EUR")


def _higher(name: str, meaning: str, *, display: Display, maximum: float = math.inf) -> Quantity:
    return Quantity(name=name, meaning=meaning, display=display, better="higher", maximum=maximum)


def _lower(name: str, meaning: str, *, display: Display) -> Quantity:
    return Quantity(name=name, meaning=meaning, display=display, better="lower")


def _neither(name: str, meaning: str, *, display: Display, maximum: float = math.inf) -> Quantity:
    return Quantity(name=name, meaning=meaning, display=display, better="neither", maximum=maximum)


_SPEED = (
    _lower("step_time_s", "Time of one optimizer step", display=_SECONDS),
    _higher("tokens_per_s", "Tokens trained per second", display=_TOKEN_RATE),
    _higher("tokens_per_s_per_device", "The same for one device", display=_TOKEN_RATE),
    _higher(
        "model_flop_per_s_per_device",
        "Matrix work of the model, counted once, per second and device",
        display=_FLOP_RATE,
    ),
    _higher(
        "mfu", "Model FLOP rate over the dense peak of the precision", display=_PERCENT, maximum=1.0
    ),
    _neither("hfu", "The same with recomputed work counted", display=_PERCENT, maximum=1.0),
)
_MEMORY = (
    _lower("memory_bytes_per_device", "Memory of the fullest device", display=_GIGABYTES),
    _higher("memory_capacity_bytes", "Memory that one device has", display=_GIGABYTES),
    _lower("weights_bytes", "Parameters", display=_GIGABYTES),
    _lower("gradients_bytes", "Gradients", display=_GIGABYTES),
    _lower("optimizer_bytes", "Optimizer states and master weights", display=_GIGABYTES),
    _lower("activations_bytes", "Activations kept for the backward pass", display=_GIGABYTES),
    _lower("buffers_bytes", "Logits, gathered parameters, one layer at work", display=_GIGABYTES),
    _lower("fragmentation_bytes", "Held by the allocator, used by no tensor", display=_GIGABYTES),
    _lower("overhead_bytes", "Driver context, libraries, communication", display=_GIGABYTES),
)
_ENERGY = (
    _lower("device_power_w", "Power of one device, mean of a step", display=_DEVICE_WATTS),
    _lower("node_power_w", "Power of one node at its inlet", display=_WATTS),
    _lower("it_power_w", "Power of all nodes and the network of the job", display=_WATTS),
    _lower("facility_power_w", "IT power with cooling and losses of the site", display=_WATTS),
    Quantity(
        name="pue",
        meaning="Facility power over IT power",
        display=_RATIO,
        better="lower",
        minimum=1.0,
        maximum=3.0,
    ),
    _lower("energy_per_step_j", "IT power times the time of one step", display=_JOULES),
    _lower("energy_per_token_j", "IT energy per trained token", display=_JOULES),
)
_RUN = (
    _lower("run_time_s", "Time of the whole training run", display=_DAYS),
    _lower("run_energy_j", "IT energy of the whole training run", display=_WATT_HOURS),
    _lower("run_cost_eur", "Cost of the whole training run", display=_EUROS),
)
_VALIDATION = (
    _neither("measured_step_time_s", "Step time that a publication reports", display=_SECONDS),
    _neither("predicted_step_time_s", "Step time predicted for that run", display=_SECONDS),
    _neither(
        "left_out_step_time_s", "The same with this source left out of all fits", display=_SECONDS
    ),
    _neither("p10_s", "Tenth percentile of the predicted step time", display=_SECONDS),
    _neither("p90_s", "Ninetieth percentile of the predicted step time", display=_SECONDS),
    _neither("measured_memory_bytes", "Memory that a publication reports", display=_GIGABYTES),
    _neither("predicted_memory_bytes", "Memory predicted for that run", display=_GIGABYTES),
    _lower("ape", "Absolute error over the measured value", display=_PERCENT),
    _lower("mape", "Mean of the absolute relative errors", display=_PERCENT),
    _lower("median_ape", "Median of the absolute relative errors", display=_PERCENT),
    _lower("p90_ape", "Ninetieth percentile of those errors", display=_PERCENT),
    Quantity(
        name="bias",
        meaning="Mean signed relative error; positive is predicted too slow or too much",
        display=_PERCENT,
        better="neither",
        minimum=-1.0,
    ),
    Quantity(
        name="signed_error",
        meaning="Predicted over measured, minus one",
        display=_PERCENT,
        better="neither",
        minimum=-1.0,
    ),
    _neither("measured_power_w", "Mean power that a meter or a list states", display=_WATTS),
    _neither("predicted_power_w", "The same as predicted", display=_WATTS),
    _neither("p10_w", "Tenth percentile of the predicted power", display=_WATTS),
    _neither("p90_w", "Ninetieth percentile of the predicted power", display=_WATTS),
    _neither("measured_energy_j", "Energy that a meter states", display=_JOULES),
    _neither("predicted_energy_j", "The same as predicted", display=_JOULES),
    _lower("power_mape", "Mean of the absolute relative errors of power", display=_PERCENT),
    _lower("power_median_ape", "Median of those errors", display=_PERCENT),
    _lower("energy_mape", "Mean of the absolute relative errors of energy", display=_PERCENT),
    _lower("left_out_ape", "The same with the source left out", display=_PERCENT),
    _lower("left_out_mape", "Mean error with sources left out", display=_PERCENT),
    _lower("left_out_median_ape", "Median error with sources left out", display=_PERCENT),
    _lower("left_out_p90_ape", "Ninetieth percentile of those errors", display=_PERCENT),
    Quantity(
        name="left_out_bias",
        meaning="Mean signed error with sources left out",
        display=_PERCENT,
        better="neither",
        minimum=-1.0,
    ),
    Quantity(
        name="left_out_signed_error",
        meaning="Signed error with the source left out",
        display=_PERCENT,
        better="neither",
        minimum=-1.0,
    ),
    _higher(
        "ordered_share", "Pairs of like runs in the right order", display=_PERCENT, maximum=1.0
    ),
    _higher(
        "left_out_ordered_share",
        "The same with the source left out",
        display=_PERCENT,
        maximum=1.0,
    ),
    _lower("elapsed_s", "Time that the report took", display=_SECONDS),
    _higher("coverage", "Share of the rows that were predicted", display=_PERCENT, maximum=1.0),
    _higher(
        "interval_coverage",
        "Share of the measurements between p10 and p90",
        display=_PERCENT,
        maximum=1.0,
    ),
)

QUANTITIES: Mapping[str, Quantity] = MappingProxyType(
    {entry.name: entry for entry in (*_SPEED, *_MEMORY, *_ENERGY, *_RUN, *_VALIDATION)}
)
"""Every quantity by its name."""
