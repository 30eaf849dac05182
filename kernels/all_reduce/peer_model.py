"""Model of all-reduces by ranks that read each other's memory, and which of them to take.

In one shot every rank reads the whole input of every other rank after one meeting; in two it reads
one shard of every input, meets again, and reads the other shards of the sum. So two shots pay a
second meeting for less traffic, and with two ranks, where there is no less, never win. Beyond some
message the vendor's library is faster, which pipelines its copies and may add in the switch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

__all__ = [
    "PeerLimits",
    "PeerMachine",
    "one_shot_limit_bytes",
    "one_shot_time_s",
    "peer_limits",
    "two_shot_time_s",
]

LEAST_MESSAGE_BYTES = 2.0**10
"""Where the search for the vendor's first message begins: below it all is latency. [byte]"""
STEPS_PER_DOUBLING = 4
"""Messages that the search tries for each power of two. [1]"""


class PeerMachine(NamedTuple):
    """What the model knows of the kernels on one device."""

    meeting_s: float
    """Launch and one meeting of two ranks. [s]"""
    meeting_per_rank_s: float
    """Time that each further rank adds to a meeting. [s]"""
    bandwidth_bytes_per_s: float
    """What a rank reads from all its peers together. [byte/s]"""


class PeerLimits(NamedTuple):
    """Messages up to which each algorithm is taken."""

    one_shot_bytes: float
    """Largest message in one shot. [byte]"""
    peer_bytes: float
    """Largest message by our own kernels; larger ones are the vendor's. [byte]"""

    def algorithm(self, message_bytes: float) -> str:
        """``one_shot``, ``two_shot`` or ``vendor``."""
        if message_bytes > self.peer_bytes:
            return "vendor"
        return "one_shot" if message_bytes <= self.one_shot_bytes else "two_shot"


def _meeting_s(n_ranks: float, machine: PeerMachine) -> float:
    """Time of one meeting. [s]"""
    return machine.meeting_s + machine.meeting_per_rank_s * (n_ranks - 2.0)


def one_shot_time_s(message_bytes: float, n_ranks: float, machine: PeerMachine) -> float:
    """Time of an all-reduce in one shot: a meeting, and n_ranks - 1 whole messages.

    Parameters
    ----------
    message_bytes
        Reduced buffer of each rank. [byte]
    n_ranks
        Ranks, at least 2. [1]
    machine
        Meetings and bandwidth.

    Returns
    -------
    float
        Time until the last rank holds the sum. [s]
    """
    traffic_bytes = message_bytes * (n_ranks - 1.0)
    return _meeting_s(n_ranks, machine) + traffic_bytes / machine.bandwidth_bytes_per_s


def two_shot_time_s(message_bytes: float, n_ranks: float, machine: PeerMachine) -> float:
    """Time of an all-reduce in two shots: two meetings, and 2 (p-1)/p messages.

    Parameters
    ----------
    message_bytes
        Reduced buffer of each rank. [byte]
    n_ranks
        Ranks p, at least 2. [1]
    machine
        Meetings and bandwidth.

    Returns
    -------
    float
        Time until the last rank holds the sum. [s]
    """
    traffic_bytes = message_bytes * (2.0 * (n_ranks - 1.0) / n_ranks)
    return 2.0 * _meeting_s(n_ranks, machine) + traffic_bytes / machine.bandwidth_bytes_per_s


def one_shot_limit_bytes(n_ranks: int, machine: PeerMachine) -> float:
    """Message at which one shot and two take the same time; infinite for two ranks. [byte].

    The second meeting m costs what the traffic saves: m B = S (p-1)(p-2)/p.
    """
    if n_ranks <= 2:
        return math.inf
    saved = (n_ranks - 1.0) * (n_ranks - 2.0) / n_ranks
    return _meeting_s(n_ranks, machine) * machine.bandwidth_bytes_per_s / saved


def peer_limits(
    n_ranks: int,
    machine: PeerMachine,
    vendor_time_s: Callable[[float], float],
    *,
    most_bytes: float,
) -> PeerLimits:
    """Messages up to which one shot, and our own kernels at all, are predicted to be the fastest.

    Parameters
    ----------
    n_ranks
        Ranks, at least 2. [1]
    machine
        What the model knows of our kernels.
    vendor_time_s
        Predicted time of the vendor's library for a message of so many bytes. [s]
    most_bytes
        Largest message that there is room for. [byte]

    Returns
    -------
    PeerLimits
        A limit of 0 bytes where the vendor's library wins from the smallest message on.
    """
    limit_bytes = 0.0
    message_bytes = LEAST_MESSAGE_BYTES
    while message_bytes <= most_bytes:
        own_s = min(
            one_shot_time_s(message_bytes, n_ranks, machine),
            two_shot_time_s(message_bytes, n_ranks, machine),
        )
        if own_s > vendor_time_s(message_bytes):
            break
        limit_bytes = message_bytes
        message_bytes *= 2.0 ** (1.0 / STEPS_PER_DOUBLING)
    else:
        limit_bytes = most_bytes
    return PeerLimits(
        one_shot_bytes=min(one_shot_limit_bytes(n_ranks, machine), limit_bytes),
        peer_bytes=limit_bytes,
    )
