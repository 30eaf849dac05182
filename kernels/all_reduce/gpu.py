"""Collectives on GPUs: NCCL, or RCCL on AMD, through CuPy, and our own all-reduce kernels.

One process per GPU.

Start it on one machine and it uses all GPUs there::

    python -m kernels.all_reduce.gpu all_reduce

or start one process per GPU on several (mpirun, srun, torchrun); every rank then finds its place in
the environment (`kernels.all_reduce.launch_environment`).

One rank has called NCCL on an H100; groups of several have not run on GPUs. How ranks meet is
tested with plain processes, and which calls an operation makes with a stand-in for the library.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, Self

import numpy as np

from kernels.all_reduce.bootstrap import BootstrapError, Rendezvous, World
from kernels.all_reduce.gpu_tasks import (
    GpuTask,
    TimedQueue,
    largest_peer_bytes,
    ones,
    round_times,
    task_elements,
)
from kernels.all_reduce.launch_environment import Launch, find_launch
from kernels.all_reduce.local_ranks import run_local_ranks
from kernels.all_reduce.meeting import Meeting
from kernels.all_reduce.mpi_meeting import MpiMeeting
from kernels.all_reduce.nccl_operations import (
    DeviceBuffers,
    enqueue,
    require_equal_shards,
)
from kernels.all_reduce.peers import PeerOptions, PeerRank, time_peers
from kernels.all_reduce.round_times import RoundTimes
from kernels.all_reduce.shards import output_elements
from kernels.backends import BackendError

__all__ = ["GpuRank", "GpuTask", "NcclRank", "require_nccl", "time_on_gpus"]

NCCL_BFLOAT16 = 9
"""ncclBfloat16 of nccl.h, which older CuPy does not name."""

IDENTIFIER_BYTES = 128
"""Size of ncclUniqueId. [byte]"""


def require_nccl() -> tuple[ModuleType, ModuleType]:
    """CuPy and its NCCL.

    Returns
    -------
    tuple
        The modules ``cupy`` and ``cupy.cuda.nccl``.

    Raises
    ------
    BackendError
        In one line, what of CuPy, NCCL and a GPU is missing here.
    """
    what = "collectives on GPUs need CuPy with NCCL or RCCL, and a GPU"
    if importlib.util.find_spec("cupy") is None:
        msg = f"{what}: cupy is not installed (extras cuda13 and rocm bring it)"
        raise BackendError(msg)
    try:
        cupy = importlib.import_module("cupy")
        nccl = importlib.import_module("cupy.cuda.nccl")
    except (ImportError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "it does not load"
        msg = f"{what}: {reason}"
        raise BackendError(msg) from None
    if not getattr(nccl, "available", True):
        msg = f"{what}: this cupy comes without NCCL"
        raise BackendError(msg)
    if not cupy.cuda.is_available():
        msg = f"{what}: cupy sees no GPU"
        raise BackendError(msg)
    return cupy, nccl


def identifier_bytes(nccl: ModuleType) -> bytes:
    """A new identifier of a group of ranks; older CuPy gives it as 128 signed numbers."""
    return bytes(number % 256 for number in nccl.get_unique_id())


def communicator(nccl: ModuleType, meeting: Meeting) -> Any:  # noqa: ANN401 -- CuPy's object
    """Join a group of ranks; the identifier goes back as CuPy gave it.

    Raises
    ------
    BootstrapError
        When the identifier is none of NCCL's.
    """
    identifier = meeting.identifier
    if len(identifier) != IDENTIFIER_BYTES:
        msg = f"NCCL's identifier has {len(identifier)} bytes; expected {IDENTIFIER_BYTES}"
        raise BootstrapError(msg)
    try:
        return nccl.NcclCommunicator(meeting.n_ranks, identifier, meeting.rank)
    except TypeError:  # of older CuPy, which takes the signed numbers
        numbers = tuple(number - 256 if number > 127 else number for number in identifier)
        return nccl.NcclCommunicator(meeting.n_ranks, numbers, meeting.rank)


class NcclRank:
    """One rank on one GPU; a context manager. Groups of more than one have not run on GPUs."""

    def __init__(self, meeting: Meeting, *, device_index: int) -> None:
        self._meeting = meeting
        self._cupy: Any
        self._nccl: Any
        self._cupy, self._nccl = require_nccl()
        self._device = self._cupy.cuda.Device(device_index)
        self._device.use()
        self._stream = self._cupy.cuda.Stream(non_blocking=True)
        self._communicator = communicator(self._nccl, meeting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        # After an error the others may never answer, and an orderly end would wait for them.
        if kind is None:
            self._communicator.destroy()
        else:
            self._communicator.abort()

    def run(self, operation: str, vector: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Do an operation once; every rank calls it with its own vector and gets its result."""
        require_equal_shards(operation, len(vector), self._meeting.n_ranks)
        send = self._cupy.asarray(vector)
        receive = self._cupy.full(self._output_elements(operation, len(vector)), np.nan, send.dtype)
        self._cupy.cuda.get_current_stream().synchronize()
        enqueue(operation, self._nccl, self._communicator, self._buffers(send, receive))
        self._stream.synchronize()
        result: np.ndarray[Any, Any] = self._cupy.asnumpy(receive)
        return result

    def time(self, task: GpuTask) -> RoundTimes:
        """Time an operation by events on the stream, the rounds one after the other.

        A round shorter than its launch on the host is timed as the launch.

        Parameters
        ----------
        task
            What to time; the same on every rank.

        Returns
        -------
        RoundTimes
            Slowest rank of each round, on every rank.
        """
        n_elements, _ = task_elements(task, self._meeting.n_ranks)
        send = ones(self._cupy, n_elements, task.dtype)
        receive = self._cupy.empty(self._output_elements(task.operation, n_elements), send.dtype)
        self._cupy.cuda.get_current_stream().synchronize()
        buffers = self._buffers(send, receive)

        def queue() -> None:
            enqueue(task.operation, self._nccl, self._communicator, buffers)

        timed = TimedQueue(self._cupy, self._stream, queue, task.rounds_per_graph)
        return round_times(task, "nccl", timed, self._meeting)

    def _output_elements(self, operation: str, n_elements: int) -> int:
        rank, n_ranks = self._meeting.rank, self._meeting.n_ranks
        return output_elements(operation, n_elements, rank=rank, n_ranks=n_ranks)

    def _buffers(self, send: Any, receive: Any) -> DeviceBuffers:  # noqa: ANN401 - CuPy's arrays
        datatypes = {
            "float16": self._nccl.NCCL_FLOAT16,
            "uint16": getattr(self._nccl, "NCCL_BFLOAT16", NCCL_BFLOAT16),
            "float32": self._nccl.NCCL_FLOAT32,
            "float64": self._nccl.NCCL_FLOAT64,
        }
        return DeviceBuffers(
            rank=self._meeting.rank,
            n_ranks=self._meeting.n_ranks,
            send_address=send.data.ptr,
            receive_address=receive.data.ptr,
            n_elements=len(send),
            element_bytes=send.itemsize,
            datatype=datatypes[str(send.dtype)],
            stream=self._stream.ptr,
        )


class GpuRank:
    """One rank on one GPU with NCCL and, once a task asks for them, our own kernels.

    A context manager. It has run on one GPU alone.

    Parameters
    ----------
    meeting
        How the ranks reach each other.
    device_index
        This rank's device.
    most_bytes
        Largest message of our own kernels. [byte]
    """

    def __init__(self, meeting: Meeting, *, device_index: int, most_bytes: int) -> None:
        self._meeting = meeting
        self._device_index = device_index
        self._options = PeerOptions(most_bytes=most_bytes)
        self._nccl_rank = NcclRank(meeting, device_index=device_index)
        self._peers: PeerRank | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._peers is not None:
            self._peers.close(is_orderly=kind is None)
        self._nccl_rank.__exit__(kind, error, trace)

    def time(self, task: GpuTask) -> RoundTimes:
        """Time a task by the algorithm that it names; every rank calls this.

        Raises
        ------
        BackendError
            In one line, when ranks cannot read each other's memory.
        """
        if task.algorithm == "nccl":
            return self._nccl_rank.time(task)
        if self._peers is None:
            self._peers = PeerRank(
                self._meeting, device_index=self._device_index, options=self._options
            )
        _, message_bytes = task_elements(task, self._meeting.n_ranks)
        chosen = task.algorithm
        if chosen == "auto":
            chosen = self._peers.algorithm_for(message_bytes)
        if chosen == "vendor":
            return self._nccl_rank.time(task)
        return time_peers(self._meeting, self._peers, task._replace(algorithm=chosen))


def time_on_gpus(tasks: Sequence[GpuTask], *, launch: Launch | None = None) -> list[RoundTimes]:
    """Time operations over all GPUs of this machine, or over all ranks that were launched.

    Parameters
    ----------
    tasks
        What to time, one after the other with the same communicator.
    launch
        Place of this process where a launcher started one per GPU; None starts them here.

    Returns
    -------
    list
        One entry per task, the same on every rank; what was taken stands in its algorithm.

    Raises
    ------
    BackendError, BootstrapError
        In one line, what is missing here, or which rank did not come.
    """
    cupy, nccl = require_nccl()
    n_visible = int(cupy.cuda.runtime.getDeviceCount())
    if launch is None:
        body = functools.partial(_local_rank, tuple(tasks))
        first: list[RoundTimes] = run_local_ranks(n_visible, body)[0]
        return first
    make_identifier = functools.partial(identifier_bytes, nccl)
    with (
        _meeting(launch, make_identifier) as meeting,
        GpuRank(
            meeting,
            device_index=own_device(launch.local_rank, n_visible),
            most_bytes=largest_peer_bytes(tasks),
        ) as rank,
    ):
        return [rank.time(task) for task in tasks]


def own_device(local_rank: int, n_visible: int) -> int:
    """Device of a launched rank, as its process counts them.

    Some launchers show every process all devices, others only its own.

    Raises
    ------
    BackendError
        When there are more ranks on the machine than devices.
    """
    if n_visible == 1:
        return 0
    if local_rank >= n_visible:
        msg = f"rank {local_rank} of this machine sees {n_visible} GPUs; expected one GPU a rank"
        raise BackendError(msg)
    return local_rank


def _meeting(
    launch: Launch, make_identifier: functools.partial[bytes]
) -> AbstractContextManager[Meeting]:
    if launch.is_mpi and importlib.util.find_spec("mpi4py") is not None:
        mpi = importlib.import_module("mpi4py.MPI")
        return MpiMeeting(mpi.COMM_WORLD, make_identifier)
    return Rendezvous(launch.world, make_identifier)


def _local_rank(
    tasks: tuple[GpuTask, ...], world: World, listener: socket.socket | None
) -> list[RoundTimes]:
    _, nccl = require_nccl()
    make_identifier = functools.partial(identifier_bytes, nccl)
    with (
        Rendezvous(world, make_identifier, listener=listener) as meeting,
        GpuRank(meeting, device_index=world.rank, most_bytes=largest_peer_bytes(tasks)) as rank,
    ):
        return [rank.time(task) for task in tasks]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print times of messages from 1 KiB up as a tidy table, from rank 0."""
    import sys

    from hardware_profiles.errors import TweelingError
    from kernels.all_reduce.gpu_table import Setting, parse_arguments, table

    chosen = parse_arguments(arguments)
    try:
        launch = find_launch(os.environ)
        if launch is not None and chosen.nodes is None:
            msg = "--nodes is missing; expected how many machines the launched ranks are on"
            raise BootstrapError(msg)
        rows = time_on_gpus(chosen.tasks, launch=launch)
        if launch is None or launch.world.rank == 0:
            cupy, nccl = require_nccl()
            setting = Setting.of(cupy, nccl, nodes=chosen.nodes or 1, link=chosen.link)
            sys.stdout.writelines(table(rows, setting))
    except TweelingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
