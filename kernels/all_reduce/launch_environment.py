"""Which rank this process is, by what started it: arguments, mpirun, srun or torchrun."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from kernels.all_reduce.bootstrap import BootstrapError, World

__all__ = ["Launch", "find_launch"]


class _Names(NamedTuple):
    """Names of variables that one launcher sets."""

    rank: str
    n_ranks: str
    local_rank: str
    host: str = "TWEELING_HOST"
    port: str = "TWEELING_PORT"


LAUNCHERS = (
    _Names("TWEELING_RANK", "TWEELING_RANKS", "TWEELING_LOCAL_RANK"),
    _Names("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    _Names("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
    _Names("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"),
    _Names("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
)
"""Most explicit first. mpirun inside a Slurm job sets both kinds; its own are the right ones."""
MPI_LAUNCHERS = frozenset({"OMPI_COMM_WORLD_RANK", "PMI_RANK"})


class Launch(NamedTuple):
    """A process among all that were started together."""

    world: World
    local_rank: int
    """Which GPU of this machine is its own."""
    is_mpi: bool
    """Whether an MPI library can introduce the ranks to each other."""


def find_launch(environ: Mapping[str, str]) -> Launch | None:
    """Place of this process among those that a launcher started; None where none did.

    Rank 0 listens on loopback unless TWEELING_HOST (or MASTER_ADDR, under torchrun) says
    otherwise; ranks on several machines need that, except where MPI introduces them.

    Raises
    ------
    BootstrapError
        When a variable is no number, or names a rank that cannot be.
    """
    for names in LAUNCHERS:
        if names.rank in environ and names.n_ranks in environ:
            return _launch(names, environ)
    return None


def _launch(names: _Names, environ: Mapping[str, str]) -> Launch:
    rank = _number(names.rank, environ)
    world = World(rank=rank, n_ranks=_number(names.n_ranks, environ))
    if names.host in environ:
        world = world._replace(host=environ[names.host])
    if names.port in environ:
        world = world._replace(port=_number(names.port, environ))
    world.check()
    has_local = names.local_rank in environ
    return Launch(
        world=world,
        local_rank=_number(names.local_rank, environ) if has_local else rank,
        is_mpi=names.rank in MPI_LAUNCHERS,
    )


def _number(name: str, environ: Mapping[str, str]) -> int:
    text = environ[name]
    if not text.isdecimal():
        msg = f"{name}={text!r}; expected a whole number"
        raise BootstrapError(msg)
    return int(text)
