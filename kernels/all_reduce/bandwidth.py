"""Algorithm and bus bandwidth of a measured collective, as nccl-tests defines them.

The message S is counted as nccl-tests does (see `kernels.all_reduce.model`). The algorithm
bandwidth is S over the time; the bus bandwidth multiplies it by the share of S that crosses each
rank's wire, so that it can be held against the bandwidth of that wire whatever the number of
ranks. The factors are those of `wire_factor`, which the performance model uses too.

References
----------
NVIDIA/nccl-tests, doc/PERFORMANCE.md, section Summary: all-reduce 2(n-1)/n; all-gather,
reduce-scatter and all-to-all (n-1)/n. Section Algorithm bandwidth: S/t is already meaningful for
send and receive, so that its factor is 1.
"""

from __future__ import annotations

from kernels.all_reduce.groups import PATTERNS, wire_factor

__all__ = ["algorithm_bandwidth_bytes_per_s", "bus_bandwidth_bytes_per_s", "bus_factor"]

N_ENDS = 2
"""A send has two ends, however many ranks send to their neighbours at once. [1]"""


def bus_factor(operation: str, n_ranks: int) -> float:
    """Bus bandwidth over algorithm bandwidth; 0 for a collective of one rank. [1].

    Raises
    ------
    ValueError
        For an unknown operation or no rank.
    """
    if operation not in PATTERNS:
        msg = f"operation {operation!r} is unknown; expected {', '.join(PATTERNS)}"
        raise ValueError(msg)
    if n_ranks < 1:
        msg = f"n_ranks={n_ranks}; expected at least 1"
        raise ValueError(msg)
    n_counted = N_ENDS if operation == "point_to_point" else n_ranks
    return wire_factor(n_counted, PATTERNS[operation])


def algorithm_bandwidth_bytes_per_s(message_bytes: float, time_s: float) -> float:
    """Message over time. [byte/s]

    Parameters
    ----------
    message_bytes
        Message as nccl-tests counts it. [byte]
    time_s
        Time of one operation, above 0. [s]
    """
    if time_s <= 0.0:
        msg = f"time_s={time_s}; expected a time above 0"
        raise ValueError(msg)
    return message_bytes / time_s


def bus_bandwidth_bytes_per_s(
    operation: str, *, message_bytes: float, time_s: float, n_ranks: int
) -> float:
    """Bandwidth of one rank's wire that the time amounts to, one direction. [byte/s]

    Parameters
    ----------
    operation
        A key of `PATTERNS`.
    message_bytes
        Message as nccl-tests counts it. [byte]
    time_s
        Time of one operation, above 0. [s]
    n_ranks
        Ranks that take part. [1]
    """
    return bus_factor(operation, n_ranks) * algorithm_bandwidth_bytes_per_s(message_bytes, time_s)
