"""GPUs of one machine, played by the host: memory, handles, and streams that run emulated."""

from __future__ import annotations

import ctypes
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np

from kernels.all_reduce import peer_arguments, peers
from kernels.all_reduce.peer_arguments import PEER_ARGUMENTS
from tests.kernels.gpu.emulated_ranks import COPY, N_THREADS, Launched, Run
from tests.kernels.gpu.fake_cupy import DeviceArray

__all__ = ["PlayedGpu", "PlayedMachine"]

HANDLE_BYTES = 64
ONCE = Run(seed=1, are_stores_late=True)


class Pinned(np.ndarray):
    @property
    def ptr(self):
        return self.ctypes.data


class PlayedGpu:
    """What one rank sees of CuPy; its kernels are queued until the machine runs them."""

    def __init__(self, index, machine):
        self.index, self.machine = index, machine
        self.stream = []
        self.memory = {}
        self.opened = set()
        self.cuda = SimpleNamespace(
            Device=lambda _i: SimpleNamespace(
                use=lambda: None, attributes={"MultiProcessorCount": machine.n_units[index]}
            ),
            runtime=self,
            function=SimpleNamespace(CNumpyArray=lambda value: value),
            alloc_pinned_memory=lambda _n: np.full(1, 99, np.uint64).view(Pinned),
            UnownedMemory=lambda address, n_bytes, owner: (address, n_bytes, owner),
            MemoryPointer=lambda memory, _offset: memory[0],
            Event=lambda: SimpleNamespace(record=lambda _stream: None),
            Stream=lambda **_: PlayedStream(self),
            get_current_stream=lambda: SimpleNamespace(synchronize=lambda: None),
            get_elapsed_time=lambda _before, _after: 1.0 + index,
        )

    is_hip = False

    def malloc(self, n_bytes):
        block = np.full(n_bytes + 128, 0xFF, np.uint8)  # NaN in every type
        address = block.ctypes.data + -block.ctypes.data % 128
        self.memory[address] = block
        return address

    def memset(self, address, value, n_bytes):
        ctypes.memset(address, value, n_bytes)

    def free(self, address):
        assert not any(address in other.opened for other in self.machine.gpus)
        del self.memory[address]

    def deviceSynchronize(self):
        pass

    def deviceGetPCIBusId(self, index):
        return f"0000:{self.machine.bus[index]:02X}:00.0"

    def deviceGetByPCIBusId(self, bus_id):
        return self.machine.bus.index(int(bus_id[5:7], 16))

    def deviceCanAccessPeer(self, own, other):
        return (own, other) not in self.machine.without_access

    def getDeviceProperties(self, _index):
        return {"name": b"NVIDIA H100 80GB HBM3"}

    def ipcGetMemHandle(self, address):
        return address.to_bytes(HANDLE_BYTES, "little")

    def ipcOpenMemHandle(self, handle):
        if self.index in self.machine.cannot_open:
            msg = "cudaErrorMapBufferObjectFailed: mapping of buffer object failed"
            raise RuntimeError(msg)
        self.opened.add(int.from_bytes(handle, "little"))
        return int.from_bytes(handle, "little")

    def ipcCloseMemHandle(self, address):
        self.opened.remove(address)

    def ndarray(self, shape, dtype, memptr):
        n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = np.frombuffer((ctypes.c_uint8 * n_bytes).from_address(memptr), np.uint8)
        return raw.view(dtype).reshape(shape).view(DeviceArray)

    def ones(self, n, dtype):
        return self.array(np.ones(n, dtype))

    def full(self, n, value, dtype):
        return self.array(np.full(n, value, dtype))

    def empty_like(self, array, *, offset=0):
        return self.array(np.full(array.nbytes, 0xFF, np.uint8).view(array.dtype), offset=offset)

    def array(self, values, *, offset=0):
        """The values on this device, `offset` elements behind a multiple of 128 bytes."""
        address = self.malloc(values.nbytes + offset * values.itemsize)
        array = self.ndarray(values.shape, values.dtype, address + offset * values.itemsize)
        array[...] = values
        return array

    def queue_copy(self, to, source):
        """Copy on the stream, after all that was queued before."""
        arguments = np.zeros((), PEER_ARGUMENTS)
        arguments["input"], arguments["out"] = source.data.ptr, to.data.ptr
        arguments["n"] = to.nbytes
        self.stream.append(Launched(COPY, 1, arguments))


class PlayedStream:
    """A stream on which everything has run once all ranks wait for theirs."""

    def __init__(self, gpu):
        self.gpu, self.machine = gpu, gpu.machine

    def begin_capture(self):
        assert not self.gpu.stream

    def end_capture(self):
        captured = list(self.gpu.stream)
        self.gpu.stream.clear()
        return SimpleNamespace(launch=lambda _stream: self.gpu.stream.extend(captured))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def synchronize(self):
        if self.machine.barrier.wait(timeout=20) == 0:
            assert self.machine.run(self.machine.emulated)
        self.machine.barrier.wait(timeout=20)


class PlayedMeeting:
    """The meeting of ranks that are threads."""

    identifier = b""

    def __init__(self, rank, machine):
        self.rank, self.n_ranks, self.machine = rank, machine.n_ranks, machine

    def barrier(self):
        self.gather([])

    def gather(self, numbers):
        self.machine.table[self.rank] = numbers
        self.machine.barrier.wait(timeout=20)
        everything = list(self.machine.table)
        self.machine.barrier.wait(timeout=20)
        return everything


class PlayedMachine:
    """Ranks as threads, each with a GPU."""

    def __init__(self, n_ranks, monkeypatch):
        self.n_ranks = n_ranks
        self.bus = list(range(10, 10 + n_ranks))
        self.n_units = [3] * n_ranks
        self.without_access, self.cannot_open = set(), set()
        self.table = [None] * n_ranks
        self.barrier = threading.Barrier(n_ranks)
        self.gpus = [PlayedGpu(index, self) for index in range(n_ranks)]
        self.ranks = []
        self.emulated = None
        self.own = threading.local()
        # As many threads as emulated blocks have, so that short messages take several blocks.
        monkeypatch.setattr(peer_arguments, "N_THREADS", N_THREADS)
        monkeypatch.setattr(peers, "require_cupy", lambda: self.own.gpu)
        monkeypatch.setattr(peers, "function_of", lambda gpu, _source, entry: _queued(gpu, entry))

    def together(self, body):
        """What a body returns, or raises, on each rank, given its number and GPU."""

        def on_rank(rank):
            self.own.gpu = self.gpus[rank]
            try:
                return body(rank, self.gpus[rank])
            except Exception as error:
                return error

        with ThreadPoolExecutor(self.n_ranks) as pool:
            return list(pool.map(on_rank, range(self.n_ranks)))

    def start(self, options=None):
        """A `PeerRank` for each rank, or the errors instead."""

        def one(rank, _gpu):
            meeting = PlayedMeeting(rank, self)
            return peers.PeerRank(meeting, device_index=rank, options=options)

        self.ranks = self.together(one)
        return self.ranks

    def run(self, emulated, run=ONCE):
        """Run what is queued on all streams."""
        streams = [gpu.stream for gpu in self.gpus]
        is_done = emulated.run(streams, run)
        for stream in streams:
            stream.clear()
        return is_done


def _queued(gpu, entry):
    def launch(grid, block, values):
        assert block == (entry.n_threads, 1, 1)
        gpu.stream.append(Launched(entry.name, grid[0], values[0].copy()))

    return launch
