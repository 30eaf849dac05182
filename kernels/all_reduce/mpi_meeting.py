"""The same meeting of ranks as over TCP, by an MPI library, where mpirun started them.

Tested with a stand-in for the library; it has not run under mpirun.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

__all__ = ["MpiMeeting", "MpiWorld"]


class MpiWorld(Protocol):
    """The part of an mpi4py communicator that is used."""

    def Get_rank(self) -> int:  # noqa: N802 - mpi4py's name
        """Rank of this process."""
        ...

    def Get_size(self) -> int:  # noqa: N802 - mpi4py's name
        """Number of ranks. [1]."""
        ...

    def bcast(self, obj: object, root: int = 0) -> object:
        """Object of the root on every rank."""
        ...

    def allgather(self, sendobj: object) -> list[object]:
        """Objects of all ranks on every rank."""
        ...

    def Barrier(self) -> None:  # noqa: N802 - mpi4py's name
        """Wait for all ranks."""
        ...


class MpiMeeting:
    """Identifier, barrier and gathered numbers through MPI."""

    def __init__(self, mpi_world: MpiWorld, make_identifier: Callable[[], bytes]) -> None:
        self._mpi_world = mpi_world
        self.rank = mpi_world.Get_rank()
        self.n_ranks = mpi_world.Get_size()
        mine = make_identifier() if self.rank == 0 else None
        identifier = mpi_world.bcast(mine, root=0)
        if not isinstance(identifier, bytes):
            msg = f"MPI handed over {type(identifier).__name__}; expected bytes"
            raise TypeError(msg)
        self.identifier = identifier

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """MPI ends with the process; there is nothing to close."""

    def barrier(self) -> None:
        """Wait until every rank has come to this point."""
        self._mpi_world.Barrier()

    def gather(self, numbers: list[float]) -> list[list[float]]:
        """Give every rank the numbers of all ranks."""
        gathered = self._mpi_world.allgather(numbers)
        return [list(row) for row in gathered if isinstance(row, list)]
