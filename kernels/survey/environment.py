"""What a survey ran on: device, driver, libraries. Nothing that tells one machine from another.

No serial number, UUID, host name, user or path is recorded, so that the files can be published.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
from datetime import UTC, datetime
from types import ModuleType

from kernels.backends import Device, host_device
from kernels.gemm.cpu import blas_name, n_host_cores
from kernels.survey.reading import Sensor

__all__ = ["describe_environment", "installed_versions", "software_column"]

PACKAGES = {
    "numpy": "numpy",
    "torch": "torch",
    "triton": "triton",
    "cupy": "cupy",
    "flash_attn": "flash-attn",
    "numba": "numba",
    "pynvml": "nvidia-ml-py",
}
"""Import name and distribution name of what may have been used."""


def describe_environment(
    device: Device, *, sensor: Sensor, torch: ModuleType | None, settings: dict[str, object]
) -> dict[str, object]:
    """Facts of the device, the host and the software for environment.json."""
    host = host_device()
    return {
        "schema_version": 1,
        "kind": "survey",
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "device": {
            "name": device.name,
            "vendor": device.vendor,
            "backend": device.backend,
            "architecture": device.architecture,
            "n_units": device.n_units,
            "memory_bytes": device.memory_bytes,
            "cache_bytes": device.cache_bytes,
            **sensor.describe(),
        },
        "host": {
            "cpu": host.name,
            "n_cores": n_host_cores(),
            "memory_bytes": host.memory_bytes,
            "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            "system": platform.system(),
        },
        "software": {
            **installed_versions(),
            **_toolkit(torch),
        },
        "settings": settings,
    }


def software_column(device: Device, *, sensor: Sensor, torch: ModuleType | None) -> str:
    """Framework, toolkit and driver for the software column, joined by semicolons."""
    parts = [f"torch-{torch.__version__}" if torch is not None else f"blas-{blas_name()}"]
    if device.backend != "cpu":
        toolkit = _toolkit(torch)
        parts += [f"{name}-{toolkit[name]}" for name in ("cuda", "hip", "cudnn") if name in toolkit]
        if importlib.util.find_spec("cupy") is not None:
            parts.append(f"cupy-{_version('cupy', PACKAGES['cupy'])}")
        driver = sensor.describe().get("driver")
        parts += [f"driver-{driver}"] if driver else []
    return ";".join(parts)


def installed_versions() -> dict[str, str]:
    """Versions of Python, of the BLAS behind NumPy and of the packages that may have been used."""
    found = {"python": platform.python_version(), "blas": blas_name()}
    for module, distribution in PACKAGES.items():
        if importlib.util.find_spec(module) is not None:
            found[module] = _version(module, distribution)
    return found


def _version(module: str, distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        # Wheels of one package go by several names, such as cupy-cuda13x.
        names = importlib.metadata.packages_distributions().get(module, [])
        return importlib.metadata.version(names[0]) if names else "installed"


def _toolkit(torch: ModuleType | None) -> dict[str, object]:
    """Versions of the vendor's libraries that torch was built with."""
    if torch is None:
        return {}
    found: dict[str, object] = {}
    if getattr(torch.version, "cuda", None):
        found["cuda"] = torch.version.cuda
    if getattr(torch.version, "hip", None):
        found["hip"] = torch.version.hip
    if torch.cuda.is_available() and torch.backends.cudnn.is_available():
        found["cudnn"] = torch.backends.cudnn.version()
    return found
