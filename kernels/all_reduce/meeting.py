"""What ranks need of each other outside of any library: a barrier, and each other's numbers."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Meeting"]


class Meeting(Protocol):
    """How a rank reaches the others; over TCP (`bootstrap`) or by MPI (`mpi_meeting`)."""

    rank: int
    n_ranks: int
    identifier: bytes

    def barrier(self) -> None:
        """Wait until every rank has come to this point."""
        ...

    def gather(self, numbers: list[float]) -> list[list[float]]:
        """Give every rank the numbers of all ranks."""
        ...
