"""What the power cap says of a layer's time before its kernels are known.

`sustained_clock` leaves a clock at which the mean power of a layer is within the cap, with the time
of its kernels read off a line through two samples. So at each clock that line is at least the time
over which the layer's energy may be spent, and the kernels themselves take at least a known share
of what the line says.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from kernels.power_prior import WAITING_FRACTION
from twin.energy.clock import (
    PROBE_CLOCK_FRACTION,
    ComputeWork,
    PowerMachine,
    busy_power_w,
    dynamic_energy_j,
)

__all__ = ["ClockInterval", "clock_intervals", "time_within_cap_s"]

N_INTERVALS_BELOW_PROBE = 4
N_INTERVALS_ABOVE_PROBE = 16

LARGEST_GAP_CLOCK_FRACTION = math.sqrt(PROBE_CLOCK_FRACTION)
"""Clock between both samples at which the line may be furthest above the kernels. [1]"""


class ClockInterval(NamedTuple):
    """Clocks that are bounded together."""

    low: float
    """Over the boost clock. [1]"""
    high: float
    gap_ratio: float
    """The line through both samples over the kernels' own time, at most. [1]"""
    is_lowest: bool
    """Holds the device's minimum, which is kept even where the cap asks for less."""


def _gap_ratio(clock_fraction: float) -> float:
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


def _interval(low: float, high: float, *, is_lowest: bool) -> ClockInterval:
    furthest = low
    if low >= PROBE_CLOCK_FRACTION:
        furthest = min(max(LARGEST_GAP_CLOCK_FRACTION, low), high)
    return ClockInterval(low, high, _gap_ratio(furthest), is_lowest)


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
    return tuple(
        _interval(low, high, is_lowest=low == minimum)
        for low, high in zip(borders, borders[1:], strict=False)
    )


def time_within_cap_s(
    work: ComputeWork, clock_fraction: float, *, power_cap_w: float, machine: PowerMachine
) -> float:
    """Kernel time of a layer below which its mean power is above the cap.

    Parameters
    ----------
    work
        At least what the layer computes and moves, and at most how long it waits and communicates.
    clock_fraction
        Clock over the boost clock; a higher one takes no less. [1]
    power_cap_w
        Power that is kept to. [W]
    machine
        Power figures of the device.

    Returns
    -------
    float
        `compute_power_w` solved for the time; below 0 where the cap asks for nothing, infinite
        where no time is enough. [s]
    """
    room_w = power_cap_w - machine.idle_w
    # A pause may be shorter than stated, so it only counts where it saves.
    pause_w = min(0.0, WAITING_FRACTION * machine.busy_w - room_w)
    excess_j = dynamic_energy_j(work, clock_fraction, machine) + pause_w * work.waiting_s
    spare_w = room_w - busy_power_w(clock_fraction, machine)
    if spare_w <= 0.0:
        return math.inf if excess_j > 0.0 else 0.0
    return excess_j / spare_w - work.communicating_s
