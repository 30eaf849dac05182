"""Which calls of NCCL (or RCCL, which has the same interface) make up each operation.

Addresses and counts are plain numbers, so that tests can play the library. Between GPUs it has not
run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from kernels.all_reduce.bootstrap import BootstrapError
from kernels.all_reduce.shards import output_elements, shards

__all__ = ["Communicator", "DeviceBuffers", "NcclLibrary", "enqueue", "require_equal_shards"]


class NcclLibrary(Protocol):
    """The part of `cupy.cuda.nccl` that is used besides communicators."""

    NCCL_SUM: int

    def groupStart(self) -> None:  # noqa: N802 - CuPy's name
        """Begin calls that progress together."""
        ...

    def groupEnd(self) -> None:  # noqa: N802 - CuPy's name
        """End them."""
        ...


class Communicator(Protocol):
    """The part of `cupy.cuda.nccl.NcclCommunicator` that is used."""

    def allReduce(self, *arguments: int) -> None:  # noqa: N802 - CuPy's name
        """From, to, elements, type, reduction, stream."""
        ...

    def allGather(self, *arguments: int) -> None:  # noqa: N802 - CuPy's name
        """From, to, elements of one rank, type, stream."""
        ...

    def reduceScatter(self, *arguments: int) -> None:  # noqa: N802 - CuPy's name
        """From, to, elements of one rank's result, type, reduction, stream."""
        ...

    def send(self, *arguments: int) -> None:
        """From, elements, type, peer, stream."""
        ...

    def recv(self, *arguments: int) -> None:
        """To, elements, type, peer, stream."""
        ...


class DeviceBuffers(NamedTuple):
    """A rank's vectors on its device."""

    rank: int
    n_ranks: int
    send_address: int
    receive_address: int
    n_elements: int
    """Length of each rank's input. [1]"""
    element_bytes: int
    datatype: int
    """NCCL's number of the type."""
    stream: int
    """Address of the stream on which the operation is queued."""


def enqueue(
    operation: str, library: NcclLibrary, communicator: Communicator, buffers: DeviceBuffers
) -> None:
    """Queue one operation on the stream; results are those of `collective_reference`."""
    CALLS[operation](library, communicator, buffers)


def require_equal_shards(operation: str, n_elements: int, n_ranks: int) -> None:
    """Refuse a reduce-scatter that NCCL has not: its shards are all of one length.

    Raises
    ------
    BootstrapError
        When the ranks do not divide the length.
    """
    if operation == "reduce_scatter" and n_elements % n_ranks:
        msg = f"reduce_scatter of {n_elements} elements over {n_ranks} ranks"
        msg += f"; expected a multiple of {n_ranks}"
        raise BootstrapError(msg)


def _all_reduce(library: NcclLibrary, communicator: Communicator, b: DeviceBuffers) -> None:
    communicator.allReduce(
        b.send_address, b.receive_address, b.n_elements, b.datatype, library.NCCL_SUM, b.stream
    )


def _all_gather(library: NcclLibrary, communicator: Communicator, b: DeviceBuffers) -> None:
    del library
    communicator.allGather(b.send_address, b.receive_address, b.n_elements, b.datatype, b.stream)


def _reduce_scatter(library: NcclLibrary, communicator: Communicator, b: DeviceBuffers) -> None:
    n_results = output_elements("reduce_scatter", b.n_elements, rank=b.rank, n_ranks=b.n_ranks)
    communicator.reduceScatter(
        b.send_address, b.receive_address, n_results, b.datatype, library.NCCL_SUM, b.stream
    )


def _all_to_all(library: NcclLibrary, communicator: Communicator, b: DeviceBuffers) -> None:
    """NCCL has no such call in CuPy: a send to and a receive from every rank, in one group."""
    cut = shards(b.n_elements, b.n_ranks)
    n_received = cut.n_elements(b.rank)
    library.groupStart()
    for peer in range(b.n_ranks):
        part = cut.parts[peer][0]
        source = b.send_address + part.start * b.element_bytes
        target = b.receive_address + peer * n_received * b.element_bytes
        communicator.send(source, cut.n_elements(peer), b.datatype, peer, b.stream)
        communicator.recv(target, n_received, b.datatype, peer, b.stream)
    library.groupEnd()


def _point_to_point(library: NcclLibrary, communicator: Communicator, b: DeviceBuffers) -> None:
    right, left = (b.rank + 1) % b.n_ranks, (b.rank - 1) % b.n_ranks
    library.groupStart()
    communicator.send(b.send_address, b.n_elements, b.datatype, right, b.stream)
    communicator.recv(b.receive_address, b.n_elements, b.datatype, left, b.stream)
    library.groupEnd()


CALLS: dict[str, Callable[[NcclLibrary, Communicator, DeviceBuffers], None]] = {
    "all_reduce": _all_reduce,
    "all_gather": _all_gather,
    "reduce_scatter": _reduce_scatter,
    "all_to_all": _all_to_all,
    "point_to_point": _point_to_point,
}
"""By operation."""
