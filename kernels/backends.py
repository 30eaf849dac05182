"""Which hardware is here: CUDA, ROCm or only the host; one line says what is missing.

Frameworks are imported only when a backend is looked for. The order is torch, then cupy: both
can run vendor-library kernels, and a machine often has only one of them.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from hardware_profiles.errors import TweelingError

__all__ = [
    "BACKENDS",
    "BackendError",
    "Device",
    "find_device",
    "host_device",
    "requested_backend",
    "why_missing",
]

BACKENDS: Final = ("cuda", "rocm", "cpu")
ENVIRONMENT_VARIABLE: Final = "TWEELING_BACKEND"
DRIVER_LIBRARY: Final = {"cuda": "libcuda.so.1", "rocm": "libamdhip64.so"}
DRIVER_NAME: Final = {"cuda": "Nvidia driver", "rocm": "ROCm runtime"}
FRAMEWORKS: Final = ("torch", "cupy")
AMD_CACHE_BYTES: Final = 256 * 2**20
"""Last-level cache of the MI300 series, which its L2 figure leaves out. [byte]"""


class BackendError(TweelingError):
    """The hardware that was asked for is not here, or its driver or package is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device that kernels can run on."""

    backend: str
    """One of `BACKENDS`."""
    vendor: str
    """nvidia, amd or host."""
    name: str
    """As the driver calls it; the host goes by its CPU model."""
    framework: str
    """torch, cupy or numpy: what runs the vendor's kernels."""
    architecture: str
    """sm_90, gfx942, x86_64 and so on."""
    n_units: int
    """Streaming multiprocessors, compute units or CPU cores. [1]"""
    memory_bytes: int
    """Memory of the device; 0 when it is not known. [byte]"""
    cache_bytes: int
    """Last-level cache, which cold measurements must exceed. [byte]"""
    index: int = 0
    """Number among the devices that the framework sees. [1]"""

    @property
    def slug(self) -> str:
        """Name for a folder: small letters, digits and dashes."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower().replace("(r)", "")).strip("-")


def requested_backend(argument: str | None, environ: Mapping[str, str] | None = None) -> str:
    """Choice of the argument, else of TWEELING_BACKEND, else ``auto``.

    Parameters
    ----------
    argument
        What the caller or a command line asks for; None or ``auto`` leaves it open.
    environ
        Environment to look in; the process's own by default.

    Returns
    -------
    str
        ``auto`` or one of `BACKENDS`.
    """
    variables = os.environ if environ is None else environ
    choice, origin = argument, "--backend"
    if choice in {None, "auto"}:
        choice, origin = variables.get(ENVIRONMENT_VARIABLE) or "auto", ENVIRONMENT_VARIABLE
    if choice != "auto" and choice not in BACKENDS:
        msg = f"{origin}: {choice!r} is no backend; use auto, {', '.join(BACKENDS)}"
        raise BackendError(msg)
    return str(choice)


def find_device(backend: str | None = None, *, environ: Mapping[str, str] | None = None) -> Device:
    """First device of the backend asked for, or the best one here.

    Parameters
    ----------
    backend
        One of `BACKENDS`, ``auto`` or None; TWEELING_BACKEND decides where this leaves it open.
    environ
        Environment to look in; the process's own by default.

    Returns
    -------
    Device
        The device.

    Raises
    ------
    BackendError
        In one line, what is missing for the backend that was asked for.
    """
    choice = requested_backend(backend, environ)
    if choice == "cpu":
        return host_device()
    for name in ("cuda", "rocm") if choice == "auto" else (choice,):
        device = _accelerator(name)
        if device is not None:
            return device
    if choice == "auto":
        return host_device()
    msg = f"backend {choice}: {why_missing(choice) or 'no device is visible to it'}"
    raise BackendError(msg)


def why_missing(backend: str) -> str | None:
    """Say in a few words what keeps a backend from running here; None when nothing does."""
    if backend == "cpu":
        return None
    packages = [name for name in FRAMEWORKS if importlib.util.find_spec(name) is not None]
    reasons = []
    if not _has_driver(backend):
        reasons.append(f"no {DRIVER_NAME[backend]} ({DRIVER_LIBRARY[backend]} cannot be loaded)")
    if not packages:
        reasons.append("neither torch nor cupy is installed")
    elif _accelerator(backend) is None and not reasons:
        reasons.append(f"the installed {' and '.join(packages)} sees no {backend} device")
    return " and ".join(reasons) + "; --backend cpu works anywhere" if reasons else None


def host_device() -> Device:
    """Describe the host's CPU as a device."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Device(
        backend="cpu",
        vendor="host",
        name=_cpu_model(),
        framework="numpy",
        architecture=platform.machine(),
        n_units=cores or 1,
        memory_bytes=_host_memory_bytes(),
        cache_bytes=_host_cache_bytes(),
    )


def _has_driver(backend: str) -> bool:
    try:
        ctypes.CDLL(DRIVER_LIBRARY[backend])
    except OSError:
        return False
    return True


def _accelerator(backend: str) -> Device | None:
    """First device that torch, else cupy, sees of this backend."""
    for framework, read in (("torch", _torch_device), ("cupy", _cupy_device)):
        if importlib.util.find_spec(framework) is None:
            continue
        try:
            module = importlib.import_module(framework)
        except (ImportError, OSError):
            continue  # installed for other drivers than those here: why_missing says so
        device = read(module, backend)
        if device is not None:
            return device
    return None


def _torch_device(torch: ModuleType, backend: str) -> Device | None:
    is_rocm = getattr(torch.version, "hip", None) is not None
    if is_rocm != (backend == "rocm") or not torch.cuda.is_available():
        return None
    index = torch.cuda.current_device()
    properties = torch.cuda.get_device_properties(index)
    architecture = f"sm_{properties.major}{properties.minor}"
    if is_rocm:
        architecture = str(getattr(properties, "gcnArchName", "gfx")).split(":")[0]
    return Device(
        backend=backend,
        vendor="amd" if is_rocm else "nvidia",
        name=str(properties.name),
        framework="torch",
        architecture=architecture,
        n_units=int(properties.multi_processor_count),
        memory_bytes=int(properties.total_memory),
        cache_bytes=_cache_bytes(int(getattr(properties, "L2_cache_size", 0)), architecture),
        index=index,
    )


def _cupy_device(cupy: ModuleType, backend: str) -> Device | None:
    runtime = cupy.cuda.runtime
    is_rocm = bool(runtime.is_hip)
    if is_rocm != (backend == "rocm"):
        return None
    try:
        n_devices = runtime.getDeviceCount()
    except runtime.CUDARuntimeError:
        n_devices = 0
    if n_devices == 0:
        return None
    properties = runtime.getDeviceProperties(0)
    architecture = f"sm_{properties['major']}{properties['minor']}"
    if is_rocm:
        architecture = bytes(properties.get("gcnArchName", b"gfx")).decode().split(":")[0]
    return Device(
        backend=backend,
        vendor="amd" if is_rocm else "nvidia",
        name=bytes(properties["name"]).decode().strip("\x00"),
        framework="cupy",
        architecture=architecture,
        n_units=int(properties["multiProcessorCount"]),
        memory_bytes=int(properties["totalGlobalMem"]),
        cache_bytes=_cache_bytes(int(properties.get("l2CacheSize", 0)), architecture),
    )


def _cache_bytes(l2_bytes: int, architecture: str) -> int:
    if architecture.startswith(("gfx94", "gfx95")):
        return max(l2_bytes, AMD_CACHE_BYTES)
    return l2_bytes


def _cpu_model(path: Path = Path("/proc/cpuinfo")) -> str:
    if path.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", path.read_text(), flags=re.MULTILINE)
        if found:
            return found.group(1).strip()
    return platform.processor() or platform.machine() or "host"


def _host_memory_bytes() -> int:
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names or "SC_PAGE_SIZE" not in names:
        return 0
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _host_cache_bytes(root: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> int:
    """Largest cache that the first core reaches. [byte]."""
    sizes = [
        int(size.removesuffix("K")) * 1024
        for size in (path.read_text().strip() for path in root.glob("index*/size"))
        if size.endswith("K")
    ]
    return max(sizes, default=0)


def main(arguments: Sequence[str]) -> int:
    """Print the device that a backend finds: ``python -m kernels.backends cuda``."""
    try:
        device = find_device(arguments[0] if arguments else None)
    except BackendError as error:
        sys.stderr.write(f"kernels.backends: {error}\n")
        return 2
    memory = f"{device.memory_bytes / 2**30:.0f} GiB"
    sys.stdout.write(
        f"{device.backend}: {device.name}, {device.architecture}, {device.n_units} units, "
        f"{memory}, through {device.framework}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
