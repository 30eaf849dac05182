"""The host in the place of CuPy and of a device: arrays are NumPy's, kernels are emulated."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from kernels.gpu import cupy_module
from kernels.gpu import launch as device_launch
from kernels.gpu.compiled import Object
from kernels.gpu.kernel_source import KernelSource

__all__ = ["DeviceArray", "Hashable", "install_fake_cupy", "on_device"]

UNITS = 2


class DeviceArray(np.ndarray):
    """A NumPy array with the address where CuPy has it."""

    @property
    def data(self):
        return SimpleNamespace(ptr=self.ctypes.data)


class Hashable:
    """Attributes of another object, hashed by identity like a module."""

    def __init__(self, inner):
        self.__dict__.update(vars(inner))


def on_device(array):
    """The same values, beginning at a multiple of 128 bytes, as CuPy's do."""
    memory = np.empty(array.nbytes + 128, dtype=np.uint8)
    offset = -memory.ctypes.data % 128
    view = memory[offset : offset + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view.view(DeviceArray)


def install_fake_cupy(monkeypatch: pytest.MonkeyPatch, functions, *, capability: str) -> None:
    """Let kernels be launched on the host; `functions` finds an entry by its name.

    The device is one of Nvidia's of a compute capability (90), or AMD's by its name (gfx942).
    """
    is_hip = capability.startswith("gfx")
    units = SimpleNamespace(
        id=0, compute_capability=capability, attributes={"MultiProcessorCount": UNITS}
    )
    module = SimpleNamespace(get_function=functions)
    fake = SimpleNamespace(
        cuda=SimpleNamespace(
            Device=lambda *_: units,
            runtime=SimpleNamespace(
                is_hip=is_hip,
                getDeviceProperties=lambda _: {"gcnArchName": f"{capability}:xnack-".encode()},
            ),
            function=SimpleNamespace(CNumpyArray=lambda value: value),
        ),
        RawModule=lambda path: module,
        empty=lambda shape, dtype: on_device(np.empty(shape, dtype=dtype)),
        empty_like=lambda array: on_device(np.empty(array.shape, dtype=array.dtype)),
    )
    monkeypatch.setitem(sys.modules, "cupy", Hashable(fake))
    monkeypatch.setattr(cupy_module, "why_no_gpu", lambda: None)
    empty = Object(architecture="", code=b"", resources=(), log="")
    monkeypatch.setattr(KernelSource, "compile", lambda *_: empty)
    device_launch._function.cache_clear()
