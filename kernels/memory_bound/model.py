"""Performance model of kernels that only stream memory: norms, activations, loss, optimizer."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["StreamMachine", "stream_time_s"]


class StreamMachine(NamedTuple):
    """What the streaming model knows of a device."""

    memory_bandwidth_bytes_per_s: float
    """Datasheet bandwidth of device memory. [byte/s]"""
    bandwidth_efficiency_fraction: float
    """Share of it that a stream reaches. [1]"""
    launch_s: float
    """Floor of one kernel on the device. [s]"""


def stream_time_s(traffic_bytes: float, n_kernels: float, machine: StreamMachine) -> float:
    """Time to stream operands and results once.

    Parameters
    ----------
    traffic_bytes
        Every operand read once and every result written once. [byte]
    n_kernels
        Kernels that the traffic is spread over. [1]
    machine
        Device figures and fitted parameters.

    Returns
    -------
    float
        n_kernels launch floors plus traffic over the sustained bandwidth. [s]
    """
    bandwidth = machine.bandwidth_efficiency_fraction * machine.memory_bandwidth_bytes_per_s
    return n_kernels * machine.launch_s + traffic_bytes / bandwidth
