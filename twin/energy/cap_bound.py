"""What the power cap says of a layer's time before its kernels are known.

`sustained_clock` leaves a clock at which the mean power of a layer is within the cap, with the time
of its kernels read off a line through two samples. So at each clock that line is at least the time
over which the layer's energy may be spent, and the kernels themselves take at least a known share
of what the line says.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

from kernels.power_prior import WAITING_FRACTION
from twin.energy.clock import (
    PROBE_CLOCK_FRACTION,
    ComputeWork,
    PowerMachine,
    busy_power_w,
    energy_per_sent_byte_j,
    voltage_fraction,
)

__all__ = ["ClockInterval", "clock_intervals", "gap_ratio", "times_within_cap_s"]

N_INTERVALS_BELOW_PROBE = 2
N_INTERVALS_ABOVE_PROBE = 16
"""Where clocks under load lie; twice as many lift a bound by a per cent. [1]"""

LARGEST_GAP_CLOCK_FRACTION = math.sqrt(PROBE_CLOCK_FRACTION)
"""Clock between both samples at which the line may be furthest above the kernels. [1]"""


class ClockInterval(NamedTuple):
    """Clocks that are bounded together."""

    low_clock_fraction: float
    """Over the boost clock. [1]"""
    least_slowing_ratio: float
    """The boost clock over the highest of them. [1]"""
    gap_ratio: float
    """The line through both samples over the kernels' own time, at most. [1]"""
    arithmetic_energy_ratio: float
    """Energy of arithmetic at the low end over that at the boost clock. [1]"""
    busy_w: float
    """Power of occupied units at the low end. [W]"""
    is_below_probe: bool
    is_lowest: bool
    """Holds the device's minimum, which is kept even where the cap asks for less."""


def gap_ratio(clock_fraction: float) -> float:
    """The line through the samples at the boost clock and at the probe over the time itself. [1]

    A slower clock makes no kernel faster, and no kernel slower by more than the clock falls. So of
    kernels that take 1 at the boost clock and r at the probe, the line says at x = 1 / clock
    1 + (r - 1) (x - 1) / (p - 1), p = 1 / probe, and they take at least 1 and r x / p: furthest
    apart for r = p / x. Below the probe they take at least r; furthest apart for r = p.
    """
    slowing, probed = 1.0 / clock_fraction, 1.0 / PROBE_CLOCK_FRACTION
    if slowing >= probed:
        return slowing / probed
    return 1.0 + (probed / slowing - 1.0) * (slowing - 1.0) / (probed - 1.0)


def _interval(low: float, high: float, machine: PowerMachine) -> ClockInterval:
    furthest = low
    if low >= PROBE_CLOCK_FRACTION:
        furthest = min(max(LARGEST_GAP_CLOCK_FRACTION, low), high)
    return ClockInterval(
        low_clock_fraction=low,
        least_slowing_ratio=1.0 / high,
        gap_ratio=gap_ratio(furthest),
        arithmetic_energy_ratio=voltage_fraction(low, machine) ** 2,
        busy_w=busy_power_w(low, machine),
        is_below_probe=low < PROBE_CLOCK_FRACTION,
        is_lowest=low == machine.minimum_clock_fraction,
    )


def clock_intervals(machine: PowerMachine) -> tuple[ClockInterval, ...]:
    """Intervals that cover every clock of a device; the probe is a border, not inside of one."""
    minimum = machine.minimum_clock_fraction
    middle = max(minimum, PROBE_CLOCK_FRACTION)
    borders = [minimum]
    for start, end, n in (
        (minimum, middle, N_INTERVALS_BELOW_PROBE),
        (middle, 1.0, N_INTERVALS_ABOVE_PROBE),
    ):
        if start < end:
            borders += [start + (end - start) * i / n for i in range(1, n)] + [end]
    if len(borders) == 1:
        borders.append(minimum)  # A clock that never changes.
    return tuple(_interval(low, high, machine) for low, high in itertools.pairwise(borders))


def times_within_cap_s(
    work: ComputeWork,
    intervals: tuple[ClockInterval, ...],
    *,
    power_cap_w: float,
    machine: PowerMachine,
) -> list[float]:
    """Kernel time of a layer below which its mean power is above the cap, by interval of clocks.

    Parameters
    ----------
    work
        At least what the layer computes and moves, and at most how long it waits and communicates.
    intervals
        Of `clock_intervals`; power grows with the clock, so the low end of each counts.
    power_cap_w
        Power that is kept to. [W]
    machine
        Power figures of the device.

    Returns
    -------
    list of float
        `compute_power_w` solved for the time; below 0 where the cap asks for nothing, infinite
        where no time is enough. [s]
    """
    room_w = power_cap_w - machine.idle_w
    arithmetic_j = machine.energy_per_flop_j * work.weighted_flop
    # A pause may be shorter than stated, so it only counts where it saves.
    pause_w = min(0.0, WAITING_FRACTION * machine.busy_w - room_w)
    other_j = (
        machine.energy_per_hbm_byte_j * work.hbm_bytes
        + energy_per_sent_byte_j(machine) * work.link_bytes
        + pause_w * work.waiting_s
    )
    found = []
    for interval in intervals:
        excess_j = interval.arithmetic_energy_ratio * arithmetic_j + other_j
        spare_w = room_w - interval.busy_w
        if spare_w > 0.0 and not interval.is_lowest:
            found.append(excess_j / spare_w - work.communicating_s)
        else:
            found.append(-math.inf if interval.is_lowest or excess_j <= 0.0 else math.inf)
    return found
