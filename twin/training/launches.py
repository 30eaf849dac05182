"""What the host does while a device runs the kernels of a pass: it launches them."""

from __future__ import annotations

from typing import NamedTuple

from kernels.smooth import power_mean_join
from twin.training.framework import HostTimes

__all__ = ["NO_LAUNCHES", "Launches", "launches_of"]


class Launches(NamedTuple):
    """The launches of one pass."""

    host_s: float
    """Host time of all of them. [s]"""
    join_exponent: float
    """See `HostTimes`. [1]"""

    def pass_s(self, device_s: float) -> float:
        """Time of a pass whose kernels take so long: theirs, or the host's where it is slower. [s]

        Joined by a power mean: where both take about as long, short kernels wait for the host
        while long ones let it run ahead, and a pass takes longer than either.
        """
        return power_mean_join(device_s, self.host_s, self.join_exponent)


NO_LAUNCHES = Launches(0.0, 1.0)
"""For kernels whose launches others hide."""


def launches_of(n_kernels: float, host: HostTimes) -> Launches:
    """Launches of so many kernels by a framework's host."""
    return Launches(n_kernels * host.kernel_host_s, host.join_exponent)
