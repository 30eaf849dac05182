"""Compiles and loads kernels through CuPy, and passes their arguments by value."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from kernels.backends import BackendError
from kernels.gpu.kernel_source import Entry, KernelSource

__all__ = ["architecture_of", "by_value", "function_of", "n_units_of"]


def architecture_of(cupy: Any, i_device: int | None = None) -> str:  # noqa: ANN401 -- module
    """Architecture of a device, the current one if none is named: ``sm_90``, ``gfx942``."""
    device = cupy.cuda.Device() if i_device is None else cupy.cuda.Device(i_device)
    if cupy.cuda.runtime.is_hip:
        properties = cupy.cuda.runtime.getDeviceProperties(device.id)
        return bytes(properties["gcnArchName"]).decode().split(":")[0]
    return f"sm_{device.compute_capability}"


def n_units_of(cupy: Any) -> int:  # noqa: ANN401 -- module
    """Multiprocessors or compute units of CuPy's current device; it is asked once. [1]."""
    return _n_units(cupy, cupy.cuda.Device().id)


@cache
def _n_units(cupy: Any, i_device: int) -> int:  # noqa: ANN401 -- module
    return int(cupy.cuda.Device(i_device).attributes["MultiProcessorCount"])


def by_value(cupy: Any, value: NDArray[Any]) -> Any:  # noqa: ANN401 -- module, CuPy's carrier
    """Let a kernel receive the bytes of a NumPy array, and not a pointer to them."""
    return cupy.cuda.function.CNumpyArray(value)


def function_of(cupy: Any, source: KernelSource[Entry], entry: Entry) -> Any:  # noqa: ANN401
    """Kernel of an entry, compiled and loaded for CuPy's current device.

    Raises
    ------
    BackendError
        When the source is not for this device.
    """
    return _function(cupy, source, entry.name, cupy.cuda.Device().id)


@cache
def _function(cupy: Any, source: KernelSource[Entry], name: str, i_device: int) -> Any:  # noqa: ANN401
    """Compile an entry for a device and load it; `i_device` keeps devices apart."""
    entry = source.entry(name)
    architecture = _target(cupy, source, i_device)
    compiled = source.compile(entry, architecture)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{entry.name}.bin"
        path.write_bytes(compiled.code)
        function = cupy.RawModule(path=str(path)).get_function(entry.name)
        _loaded_now = function.kernel  # the file is gone afterwards
        if entry.dynamic_shared_bytes:
            function.max_dynamic_shared_size_bytes = entry.dynamic_shared_bytes
    return function


def _target(cupy: Any, source: KernelSource[Entry], i_device: int) -> str:  # noqa: ANN401 -- module
    """Architecture to compile for: the device's own, with the features that the source needs."""
    found = architecture_of(cupy, i_device)
    vendor = "gfx" if cupy.cuda.runtime.is_hip else "sm_"
    if f"{found}a" in source.architectures:
        return f"{found}a"
    needs_features = all(name.endswith("a") for name in source.architectures)
    if needs_features or not any(name.startswith(vendor) for name in source.architectures):
        msg = f"kernel {source.name} is for {', '.join(source.architectures)}, not for {found}"
        raise BackendError(msg)
    return found
