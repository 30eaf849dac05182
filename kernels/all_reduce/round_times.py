"""What timing a collective gives, on the host as on GPUs."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from kernels.all_reduce.bandwidth import (
    algorithm_bandwidth_bytes_per_s,
    bus_bandwidth_bytes_per_s,
)

__all__ = ["RoundTimes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTimes:
    """Times of an operation, round by round."""

    operation: str
    algorithm: str
    dtype: str
    n_ranks: int
    message_bytes: int
    """Message as nccl-tests counts it, rounded down to what the ranks can share. [byte]"""
    times_s: tuple[float, ...]
    """Time of the slowest rank in each round, as nccl-tests reports with ``-a 3``. [s]"""

    @property
    def median_s(self) -> float:
        """Median over rounds. [s]."""
        return statistics.median(self.times_s)

    @property
    def algorithm_bandwidth_bytes_per_s(self) -> float:
        """Message over the median time. [byte/s]."""
        return algorithm_bandwidth_bytes_per_s(self.message_bytes, self.median_s)

    @property
    def bus_bandwidth_bytes_per_s(self) -> float:
        """Bandwidth of one rank's wire that the median time amounts to. [byte/s]."""
        return bus_bandwidth_bytes_per_s(
            self.operation,
            message_bytes=self.message_bytes,
            time_s=self.median_s,
            n_ranks=self.n_ranks,
        )
