"""Bandwidth of device memory against occupancy: Little's law with a ceiling.

Bytes in flight are the threads that wait for memory times what each of them asked for; bandwidth is
bytes in flight over latency until the memory itself is the limit. The rounded corner between the
two is the queue that builds up before.

References
----------
J. D. C. Little, Operations Research 9(3), 1961 (L = lambda W).
V. Volkov, "Understanding latency hiding on GPUs", PhD thesis, UC Berkeley, 2016.
"""

from __future__ import annotations

from typing import NamedTuple

from kernels.smooth import smooth_minimum

__all__ = ["OccupancyMachine", "occupied_bandwidth_bytes_per_s"]


class OccupancyMachine(NamedTuple):
    """What the model knows of a device and one streaming kernel."""

    memory_bandwidth_bytes_per_s: float
    peak_fraction: float
    """Share of the datasheet bandwidth that no occupancy exceeds. [1]"""
    saturation_fraction: float
    """Occupancy at which bytes in flight alone would reach that share. [1]"""
    join_exponent: float


def occupied_bandwidth_bytes_per_s(occupancy_fraction: float, machine: OccupancyMachine) -> float:
    """Bandwidth that a streaming kernel reaches.

    Parameters
    ----------
    occupancy_fraction
        Resident threads over those that the device can hold. [1]
    machine
        Device and fitted parameters of the kernel.

    Returns
    -------
    float
        Smooth minimum of bytes in flight over latency, and the ceiling. [byte/s]
    """
    ceiling = machine.peak_fraction * machine.memory_bandwidth_bytes_per_s
    in_flight = ceiling * occupancy_fraction / machine.saturation_fraction
    return smooth_minimum(in_flight, ceiling, machine.join_exponent)
