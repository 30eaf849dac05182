"""Device memory that all ranks of a machine have in their address space.

A rank allocates memory, and its handle goes round through the meeting; the others open it and get
an address that is theirs. Works among processes of one machine whose devices reach each other.
None of it has run on a GPU.
"""

from __future__ import annotations

import ctypes
import hashlib
import platform
from pathlib import Path
from typing import Any

from kernels.all_reduce.meeting import Meeting
from kernels.backends import BackendError

__all__ = ["PeerMemory", "require_peer_access"]

UNCACHED = 0x3
"""hipDeviceMallocUncached of hip_runtime_api.h."""
HIP_RUNTIME = "libamdhip64.so"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
HASH_BYTES = 6
"""Of a digest, so that it is a whole number in a double. [byte]"""


class PeerMemory:
    """One allocation of each rank, in the addresses of this one.

    Parameters
    ----------
    cupy
        The module.
    meeting
        All ranks come here together.
    n_bytes
        Size, the same on every rank. [byte]

    Raises
    ------
    BackendError
        In one line on every rank, when one of them cannot allocate, share or open the memory.
    """

    def __init__(self, cupy: Any, meeting: Meeting, n_bytes: int) -> None:  # noqa: ANN401 -- module
        self._cupy = cupy
        self._meeting = meeting
        self.n_bytes = n_bytes
        self._own = 0
        self._opened: list[int] = []
        handle: bytes = b""
        why = ""
        try:
            self._own = _allocate(cupy, n_bytes)
            cupy.cuda.runtime.memset(self._own, 0, n_bytes)
            cupy.cuda.runtime.deviceSynchronize()
            handle = cupy.cuda.runtime.ipcGetMemHandle(self._own)
        except (RuntimeError, OSError) as error:
            why = f"rank {meeting.rank} cannot share {n_bytes} bytes of its memory: {error}"
        # Nobody has a handle before the memory behind it is zero.
        handles = meeting.gather([float(byte) for byte in handle])
        _agree(meeting, why)
        self.addresses = self._open(handles)

    def close(self, *, is_orderly: bool = True) -> None:
        """Give the memory back; all ranks come here together unless something went wrong.

        After an error the others may never come, and kernels of theirs may still read this rank's
        memory: it stays until the process ends.
        """
        runtime = self._cupy.cuda.runtime
        if is_orderly:
            runtime.deviceSynchronize()
            self._meeting.barrier()
        for address in self._opened:
            runtime.ipcCloseMemHandle(address)
        self._opened.clear()
        if is_orderly:
            self._meeting.barrier()  # memory that others have open must not be freed
            runtime.free(self._own)

    def _open(self, handles: list[list[float]]) -> tuple[int, ...]:
        meeting = self._meeting
        addresses: list[int] = []
        why = ""
        for peer, numbers in enumerate(handles):
            if peer == meeting.rank:
                addresses.append(self._own)
                continue
            try:
                handle = bytes(map(int, numbers))
                addresses.append(int(self._cupy.cuda.runtime.ipcOpenMemHandle(handle)))
            except (RuntimeError, ValueError) as error:
                why = f"rank {meeting.rank} cannot open the memory of rank {peer}: {error}"
                break
            self._opened.append(addresses[-1])
        try:
            _agree(meeting, why)
        except BackendError:
            self.close(is_orderly=False)
            raise
        return tuple(addresses)


def require_peer_access(cupy: Any, meeting: Meeting, device_index: int) -> None:  # noqa: ANN401
    """Refuse ranks that cannot read each other's memory; all ranks come here together.

    Parameters
    ----------
    cupy
        The module.
    meeting
        All ranks.
    device_index
        This rank's device, as this process counts them.

    Raises
    ------
    BackendError
        In one line on every rank, when ranks are on several machines or share a device, or their
        devices have no access to each other.
    """
    bus_id = str(cupy.cuda.runtime.deviceGetPCIBusId(device_index))
    places = meeting.gather([float(_hash_of(_machine())), *map(float, bus_id.encode())])
    _agree(meeting, _why_no_access(cupy, meeting.rank, places))


def _why_no_access(cupy: Any, rank: int, places: list[list[float]]) -> str:  # noqa: ANN401 -- module
    runtime = cupy.cuda.runtime
    devices = [bytes(map(int, numbers)).decode() for _machine, *numbers in places]
    for peer, (machine, *_bus_id) in enumerate(places):
        who = f"rank {rank} on GPU {devices[rank]} cannot read the memory of rank {peer}"
        if peer == rank:
            continue
        if machine != places[rank][0]:
            return f"{who}: it is on another machine; expected all ranks on one"
        if devices[peer] == devices[rank]:
            return f"{who}: it is on the same GPU; expected one GPU for each rank"
        try:
            own, other = (runtime.deviceGetByPCIBusId(devices[i]) for i in (rank, peer))
        except RuntimeError:
            continue  # a device that this process does not see may yet be reached by its handle
        if not runtime.deviceCanAccessPeer(own, other):
            return f"{who} on GPU {devices[peer]}: they have no peer access; expected NVLink, xGMI"
    return ""


def _agree(meeting: Meeting, why: str) -> None:
    """Let all ranks fail together: one that went on alone would wait for ever."""
    outcomes = meeting.gather([float(bool(why))])
    if why:
        raise BackendError(why)
    failed = next((rank for rank, outcome in enumerate(outcomes) if outcome[0]), None)
    if failed is not None:
        msg = f"rank {failed} of {meeting.n_ranks} cannot read its peers' memory; it says why"
        raise BackendError(msg)


def _allocate(cupy: Any, n_bytes: int) -> int:  # noqa: ANN401 -- module
    """Memory of its own, not from CuPy's pool: handles are of whole allocations.

    On AMD memory is coherent with other devices within a kernel only where nobody caches it.
    """
    if not cupy.cuda.runtime.is_hip:
        return int(cupy.cuda.runtime.malloc(n_bytes))
    address = ctypes.c_void_p()
    hip = ctypes.CDLL(HIP_RUNTIME)
    status = hip.hipExtMallocWithFlags(
        ctypes.byref(address), ctypes.c_size_t(n_bytes), ctypes.c_uint(UNCACHED)
    )
    if status != 0:
        msg = f"hipExtMallocWithFlags says {status}"
        raise OSError(msg)
    return int(address.value or 0)


def _machine() -> str:
    """Name of this machine since it started, the same in all of its containers."""
    boot = BOOT_ID.read_text(encoding="utf-8") if BOOT_ID.exists() else ""
    return boot or platform.node()


def _hash_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:HASH_BYTES])
