"""Axes: what a direction of a chart shows, its scale, its ticks at 1-2-5 steps, their labels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from twin.quantities import Better

STEPS = (1, 2, 5)
"""A tick step is one of these times a power of ten."""

LEAST_TICKS = 2
"""Ticks by which values can be read off an axis. [1]"""

FARTHEST = 1e60
"""Beyond anything that is measured; no range of smaller values overflows."""

_PREFIXES = {
    -15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "",
    3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E", 21: "Z",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What one direction of a chart shows."""

    name: str
    """Name of the quantity."""
    unit: str = ""
    """Unit of the values; empty for a pure number."""
    better: Better = "neither"
    """Which direction is better."""
    is_log: bool = False
    """Whether equal distances are equal ratios."""
    has_si_prefix: bool = True
    """Whether tick labels take SI prefixes; not for percent, money or temperature."""

    @property
    def title(self) -> str:
        """Quantity, unit and which direction is better, as in "time (s, lower is better)"."""
        better = "" if self.better == "neither" else f"{self.better} is better"
        said = ", ".join(part for part in (self.unit, better, "log" * self.is_log) if part)
        return f"{self.name} ({said})" if said else self.name


@dataclass(frozen=True, slots=True)
class Scale:
    """A range of values and where each stands in it."""

    low: float
    """Value at fraction 0."""
    high: float
    """Value at fraction 1; greater than low."""
    is_log: bool = False
    """Whether equal distances are equal ratios."""

    def fraction(self, value: float) -> float:
        """Where a value stands: 0 at the low end, 1 at the high end, beyond these outside. [1]"""
        if not self.is_log:
            return (value - self.low) / (self.high - self.low)
        if value <= 0:
            return -math.inf
        return math.log(value / self.low) / math.log(self.high / self.low)

    def value(self, fraction: float) -> float:
        """What stands at a fraction of the range, in the unit of the axis."""
        if not self.is_log:
            return self.low + fraction * (self.high - self.low)
        return float(self.low * (self.high / self.low) ** fraction)

    def position(self, value: float, n_places: int) -> int:
        """The place that holds a value, of places 0 .. n - 1; outside values leave the range."""
        fraction = min(max(self.fraction(value), -1.0), 2.0)
        return math.floor(fraction * (n_places - 1) + 0.5)

    def holds(self, value: float) -> bool:
        """Whether a value lies within the range."""
        return self.low <= value <= self.high


def is_drawable(value: float, axis: Axis) -> bool:
    """Whether a value has a place on an axis: finite, and positive where it is logarithmic."""
    return abs(value) <= FARTHEST and (value >= 1 / FARTHEST or not axis.is_log)


def scale_for(values: Iterable[float], axis: Axis, *, from_zero: bool = False) -> Scale:
    """The least range that holds all drawable values, widened where they are all equal."""
    drawable = [value for value in values if is_drawable(value, axis)]
    low, high = min(drawable, default=1.0), max(drawable, default=1.0)
    if axis.is_log:
        return Scale(low, high, True) if high > low * (1 + 1e-9) else Scale(low / 2, high * 2, True)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    # A range that floats cannot divide into steps is as good as none.
    if high - low <= max(1e-9 * max(abs(low), abs(high)), 1 / FARTHEST):
        margin = abs(low) / 10 or 1.0
        return Scale(low - margin, high + margin)
    return Scale(low, high)


def ticks(scale: Scale, *, n_most: int) -> tuple[float, ...]:
    """At most n ticks within a range: at 1-2-5 steps, or at powers of ten where logarithmic."""
    if n_most < 1:
        return ()
    return _log_ticks(scale, n_most=n_most) if scale.is_log else _linear(scale, n_most=n_most)


def tick_labels(values: tuple[float, ...], axis: Axis) -> tuple[str, ...]:
    """Labels for ticks: one SI prefix for a linear axis, each its own where logarithmic."""
    if not values:
        return ()
    if axis.is_log:
        return tuple(_log_label(value, axis) for value in values)
    exponent = _prefix_exponent(max(abs(value) for value in values)) if axis.has_si_prefix else 0
    step = (values[1] - values[0] if len(values) > 1 else values[0]) / 10.0**exponent
    return tuple(
        "0" if value == 0 else _fixed(value / 10.0**exponent, step=step) + _PREFIXES[exponent]
        for value in values
    )


def short(value: float, axis: Axis) -> str:
    """One value in at most four significant digits with prefix and unit, for legends and text."""
    if not abs(value) <= FARTHEST:
        return "n/a"
    exponent = _prefix_exponent(abs(value)) if axis.has_si_prefix and value else 0
    number = f"{value / 10.0**exponent:.4g}"
    return f"{number} {_PREFIXES[exponent]}{axis.unit}".rstrip()


def _prefix_exponent(magnitude: float) -> int:
    """The power of ten, a multiple of three, that brings a magnitude to 1 .. 1000."""
    if magnitude <= 0 or not math.isfinite(magnitude):
        return 0
    exponent = 3 * math.floor(math.log10(magnitude * (1 + 1e-12)) / 3)
    return min(max(exponent, min(_PREFIXES)), max(_PREFIXES))


def _linear(scale: Scale, *, n_most: int) -> tuple[float, ...]:
    raw = (scale.high - scale.low) / n_most
    exponent = math.floor(math.log10(raw))
    for candidate in (
        step * 10.0**power for power in range(exponent, exponent + 3) for step in STEPS
    ):
        first = math.ceil(scale.low / candidate - 1e-9)
        last = math.floor(scale.high / candidate + 1e-9)
        if last - first < n_most:
            return tuple(i_step * candidate for i_step in range(first, last + 1))
    return ()


def _log_ticks(scale: Scale, *, n_most: int) -> tuple[float, ...]:
    """1-2-5 within each decade when there is room, else decades, else each so many decades."""
    first, last = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
    fine = [step * 10.0**power for power in range(first, last + 1) for step in STEPS]
    fitting = [
        value for value in fine if scale.low * (1 - 1e-9) <= value <= scale.high * (1 + 1e-9)
    ]
    if len(fitting) < LEAST_TICKS <= n_most:
        # So short a range that 1-2-5 leaves nothing to read a value by.
        return _linear(scale, n_most=n_most)
    if len(fitting) <= n_most:
        return tuple(fitting)
    decades = [power for power in range(first, last + 1) if 10.0**power in fitting]
    if not decades:
        return tuple(fitting[:: math.ceil(len(fitting) / n_most)])
    return tuple(10.0**power for power in decades[:: math.ceil(len(decades) / n_most)])


def _fixed(value: float, *, step: float) -> str:
    """A number with the decimals that its step needs, so that all labels line up."""
    if abs(value) >= 1e6 or abs(step) < 1e-6:
        return f"{value:.3g}"
    n_decimals = max(0, -math.floor(math.log10(abs(step)) + 1e-9)) if step else 0
    return f"{value:.{n_decimals}f}"


def _log_label(value: float, axis: Axis) -> str:
    exponent = _prefix_exponent(value) if axis.has_si_prefix else 0
    return f"{value / 10.0**exponent:.3g}{_PREFIXES[exponent]}"
