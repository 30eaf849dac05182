"""Collectives of other libraries than the vendor's: kernels of their own, copies, host time.

Inference frameworks reduce small messages with kernels in which every rank reads its peers'
memory: in one shot (each reads all of every peer, one barrier) or in two (each reduces its shard,
then gathers, two barriers). Above some message they call the vendor's library. Launched on its own
instead of in a captured graph, a call takes host time, behind which the device's work hides, and
copies the message into registered memory and back.
"""

from __future__ import annotations

from typing import NamedTuple

from kernels.all_reduce.groups import (
    CollectiveGroup,
    CollectiveMachine,
    CollectivePattern,
)
from kernels.all_reduce.model import collective_time_s
from kernels.all_reduce.peer_model import PeerMachine, one_shot_time_s, two_shot_time_s
from kernels.smooth import power_mean_join, smooth_minimum

__all__ = ["VENDOR", "ImplementationMachine", "implementation_time_s"]

SHOTS_JOIN_EXPONENT = 4.0
"""Exponent of the smooth minimum of one shot and two. [1]"""

HOST_JOIN_EXPONENT = 3.0
"""Exponent of the join of host time and device time, which overlap for the most part. [1]"""

SWITCH_SHARPNESS = 4.0
"""How sharply the own kernel gives way at its largest message; versions differ in it. [1]"""


class ImplementationMachine(NamedTuple):
    """How a library's collective differs from the vendor's."""

    host_s: float
    copy_passes: float
    latency_ratio: float
    bandwidth_ratio: float
    kernel_latency_s: float
    kernel_latency_per_rank_s: float
    kernel_efficiency_fraction: float
    kernel_limit_bytes: float
    memory_bandwidth_bytes_per_s: float
    """Datasheet bandwidth of device memory, for copies. [byte/s]"""


VENDOR = ImplementationMachine(0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0)
"""The vendor's own library in a tight loop: nothing differs."""


def _kernel_time_s(
    message_bytes: float,
    library: ImplementationMachine,
    group: CollectiveGroup,
) -> float:
    """The own kernel in one shot or two. [s]"""
    ranks = group.n_ranks_per_node
    peers = PeerMachine(
        library.kernel_latency_s,
        library.kernel_latency_per_rank_s,
        library.kernel_efficiency_fraction * group.link_bandwidth_bytes_per_s,
    )
    one_shot_s = one_shot_time_s(message_bytes, ranks, peers)
    two_shots_s = two_shot_time_s(message_bytes, ranks, peers)
    return smooth_minimum(one_shot_s, two_shots_s, SHOTS_JOIN_EXPONENT)


def _device_time_s(
    message_bytes: float,
    pattern: CollectivePattern,
    library: ImplementationMachine,
    machine: CollectiveMachine,
    group: CollectiveGroup,
) -> float:
    scaled = CollectiveMachine(
        machine.bandwidth_efficiency_fraction * library.bandwidth_ratio,
        machine.latency_s * library.latency_ratio,
        machine.latency_per_rank_s * library.latency_ratio,
        machine.local_copy_fraction,
        machine.pipeline_exponent,
        machine.low_latency_fraction,
        machine.low_latency_slowdown,
        machine.in_switch_gain,
    )
    vendor_s = collective_time_s(message_bytes, pattern, scaled, group)
    if library.kernel_limit_bytes <= 0.0 or group.n_ranks > group.n_ranks_per_node:
        return vendor_s
    kernel_s = _kernel_time_s(message_bytes, library, group)
    excess = (message_bytes / library.kernel_limit_bytes) ** SWITCH_SHARPNESS
    share = 1.0 / (1.0 + excess)
    return float(kernel_s**share * vendor_s ** (1.0 - share))


def implementation_time_s(
    message_bytes: float,
    pattern: CollectivePattern,
    library: ImplementationMachine,
    machine: CollectiveMachine,
    group: CollectiveGroup,
) -> float:
    """Time of a collective in the hands of one library.

    Parameters
    ----------
    message_bytes
        Message as nccl-tests counts it. [byte]
    pattern
        What the operation moves.
    library
        How the library differs from the vendor's; `VENDOR` for none.
    machine
        Fitted parameters of the vendor's library for this operation.
    group
        Ranks and wires.

    Returns
    -------
    float
        Host time, copies and the collective itself; 0 for one rank or an empty message. [s]
    """
    if group.n_ranks <= 1.0 or message_bytes <= 0.0:
        return 0.0
    device_s = _device_time_s(message_bytes, pattern, library, machine, group)
    device_s += library.copy_passes * message_bytes / library.memory_bandwidth_bytes_per_s
    return power_mean_join(library.host_s, device_s, HOST_JOIN_EXPONENT)
