"""Power while computing, and the clock that a power cap leaves.

P(c) = idle + (busy c v^2 t_kernels + waiting t_waiting + e_flop F v^2 + e_hbm B + e_sent S) / t,
with c the clock over the boost clock and v the core voltage over its value there, which falls along
with the clock; t is the sum of both times, and collectives are kernels too. Arithmetic slows
as 1/c and memory traffic does not, so compute-bound work loses more under a cap than
memory-bound work. Power controllers average over tens of milliseconds, many layers long; so the
mix of a layer's forward and backward pass decides, not a single kernel; pauses count as well: an
H200 that computes for four fifths of the time draws 672 W at 1,794 MHz, and 690 W at 1,607 MHz when
it computes all the time (kernels/measured/h200-sxm/power.csv, layer at duty 0.8 and 1).

References
----------
Dynamic power ~ f V^2: any VLSI text, e.g. Weste and Harris, CMOS VLSI Design, section 5.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kernels.power_prior import WAITING_FRACTION

__all__ = [
    "ComputeWork",
    "PowerMachine",
    "compute_power_w",
    "dynamic_energy_j",
    "energy_per_sent_byte_j",
    "operand_energy_ratio",
    "sustained_clock",
]

OPERAND_ENERGY_RATIO = {"bf16": 1.0, "fp16": 1.0, "tf32": 2.0, "fp32": 4.0}
"""Energy of one operation over that of a 16-bit one: follows operand width. [1]"""

HALVINGS_BELOW_16_BITS = {"fp8": 1.0, "mxfp8": 1.0, "nvfp4": 2.0}
"""How often the width of 16 bits is halved. [1]"""

PROBE_CLOCK_FRACTION = 0.6
"""Second clock at which the layer time is sampled to find how much of it follows the clock. [1]"""

MEMORY_PASSES_PER_SENT_BYTE = 2.0
"""What collectives read to send and write of what arrives, per byte sent: counted once each, not
measured. [1]"""

BISECTIONS = 30
"""Halvings of the clock range; 2^-30 of it is far below any meaning. [1]"""


class PowerMachine(NamedTuple):
    """Power figures of one device."""

    idle_w: float
    busy_w: float
    energy_per_flop_j: float
    energy_per_hbm_byte_j: float
    energy_per_link_byte_j: float
    voltage_slope: float
    minimum_clock_fraction: float
    low_precision_energy_ratio: float


def operand_energy_ratio(dtype: str, machine: PowerMachine) -> float:
    """Energy of one operation over that of a 16-bit one. [1]"""
    halvings = HALVINGS_BELOW_16_BITS.get(dtype)
    if halvings is None:
        return OPERAND_ENERGY_RATIO[dtype]
    return float(machine.low_precision_energy_ratio**halvings)


class ComputeWork(NamedTuple):
    """What a layer does to the chip in one forward and backward pass."""

    weighted_flop: float
    """Matrix work, weighted by the energy of its operand width. [flop]"""
    hbm_bytes: float
    waiting_s: float = 0.0
    """Pauses of that pass in which nothing runs on the chip: the controller averages over them,
    and lets the clock rise until the mean meets the cap. [s]"""
    communicating_s: float = 0.0
    """Time of that pass in which only kernels of communication run. [s]"""
    link_bytes: float = 0.0
    """Sent to other devices in that pass. [byte]"""


def voltage_fraction(clock_fraction: float, machine: PowerMachine) -> float:
    """Core voltage over its value at the boost clock. [1]"""
    return 1.0 - machine.voltage_slope * (1.0 - clock_fraction)


def energy_per_sent_byte_j(machine: PowerMachine) -> float:
    """Energy of sending a byte: the link, reading it, and writing the one that arrives. [J/byte]"""
    return machine.energy_per_link_byte_j + MEMORY_PASSES_PER_SENT_BYTE * (
        machine.energy_per_hbm_byte_j
    )


def dynamic_energy_j(work: ComputeWork, clock_fraction: float, machine: PowerMachine) -> float:
    """Energy of arithmetic, falling with the square of voltage, and of traffic. [J]"""
    voltage = voltage_fraction(clock_fraction, machine)
    arithmetic_j = machine.energy_per_flop_j * work.weighted_flop * voltage * voltage
    memory_j = machine.energy_per_hbm_byte_j * work.hbm_bytes
    return arithmetic_j + memory_j + energy_per_sent_byte_j(machine) * work.link_bytes


def busy_power_w(clock_fraction: float, machine: PowerMachine) -> float:
    """Power above idle of occupied units that do no arithmetic: clocks, scheduling, polling. [W]"""
    voltage = voltage_fraction(clock_fraction, machine)
    return machine.busy_w * clock_fraction * voltage * voltage


def compute_power_w(
    work: ComputeWork, time_s: float, *, clock_fraction: float, machine: PowerMachine
) -> float:
    """Mean power over the computing, the communication and the pauses of a layer. [W]"""
    kernels_s = time_s + work.communicating_s
    busy_j = busy_power_w(clock_fraction, machine) * kernels_s
    waiting_j = WAITING_FRACTION * machine.busy_w * work.waiting_s
    dynamic_j = dynamic_energy_j(work, clock_fraction, machine)
    return machine.idle_w + (busy_j + waiting_j + dynamic_j) / (kernels_s + work.waiting_s)


def sustained_clock(
    work: ComputeWork,
    layer_time_s: Callable[[float], float],
    *,
    power_cap_w: float,
    machine: PowerMachine,
) -> float:
    """Highest clock at which computing stays within the cap.

    The layer time is sampled at two clocks and taken as a + b/c between them, which is exact for
    kernels that are either arithmetic- or memory-bound.

    Parameters
    ----------
    work
        Work of one forward and backward pass of a layer.
    layer_time_s
        Time of that pass at a clock fraction. [s]
    power_cap_w
        Power that must not be exceeded. [W]
    machine
        Power figures of the device.

    Returns
    -------
    float
        Clock over the boost clock, between the device's minimum and 1. [1]
    """
    at_boost_s = layer_time_s(1.0)
    boost_w = compute_power_w(work, at_boost_s, clock_fraction=1.0, machine=machine)
    if boost_w <= power_cap_w:
        return 1.0
    at_probe_s = layer_time_s(PROBE_CLOCK_FRACTION)
    scaling_s = (at_probe_s - at_boost_s) / (1.0 / PROBE_CLOCK_FRACTION - 1.0)
    fixed_s = at_boost_s - scaling_s
    low, high = machine.minimum_clock_fraction, 1.0
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        time_s = fixed_s + scaling_s / middle
        if compute_power_w(work, time_s, clock_fraction=middle, machine=machine) > power_cap_w:
            high = middle
        else:
            low = middle
    return low
