"""The best sensor of power, clock and temperature that can be read here.

Sensors only read. Nothing in the survey sets a power limit, a clock or a mode.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import time
from pathlib import Path
from types import ModuleType

from kernels.backends import Device
from kernels.survey.amd_sensors import AmdSmiSensor, HwmonSensor, RocmSmiSensor
from kernels.survey.nvidia_sensors import NvidiaSmiSensor, NvmlSensor
from kernels.survey.reading import NoSensor, Reading, Sensor

__all__ = ["RaplSensor", "find_sensor"]


class RaplSensor:
    """Energy counters of the CPU packages, where the kernel shows them."""

    name = "rapl"

    def __init__(self, root: Path = Path("/sys/class/powercap")) -> None:
        self._counters = sorted(root.glob("intel-rapl:[0-9]*/energy_uj"))
        self._counters = [path for path in self._counters if path.parent.name.count(":") == 1]
        self._range_j = {
            path: self._read_j(path.with_name("max_energy_range_uj")) for path in self._counters
        }
        self._last: dict[Path, float] = {}
        self._wrapped_j = 0.0
        self.power_limit_w: float | None = None

    @property
    def is_readable(self) -> bool:
        """Whether any counter is there and may be read."""
        return any(self._read_j(path) is not None for path in self._counters)

    @staticmethod
    def _read_j(path: Path) -> float | None:
        try:
            return float(path.read_text()) * 1e-6
        except (OSError, ValueError):
            return None

    def read(self) -> Reading:
        """Read the sum of the counters, made monotonic over their wrap-around."""
        total = 0.0
        for path in self._counters:
            value = self._read_j(path)
            if value is None:
                return Reading(time_s=time.monotonic())
            if value < self._last.get(path, 0.0):
                self._wrapped_j += self._range_j[path] or 0.0
            self._last[path] = value
            total += value
        return Reading(time_s=time.monotonic(), energy_j=total + self._wrapped_j)

    def describe(self) -> dict[str, object]:
        """Return the number of packages."""
        return {"sensor": self.name, "n_packages": len(self._counters)}


def find_sensor(device: Device, *, uuid: str | None = None) -> Sensor:
    """Best sensor that can be read here for a device; `NoSensor` when there is none."""
    if device.backend == "cuda":
        return _nvidia_sensor(device.index, uuid)
    if device.backend == "rocm":
        return _amd_sensor(device.index)
    rapl = RaplSensor()
    return rapl if rapl.is_readable else NoSensor()


def _nvidia_sensor(index: int, uuid: str | None) -> Sensor:
    if importlib.util.find_spec("pynvml") is not None:
        nvml = importlib.import_module("pynvml")
        try:
            return NvmlSensor(nvml, index=index, uuid=uuid)
        except nvml.NVMLError:
            pass  # the library of the driver is missing or refuses: the command may still answer
    return NvidiaSmiSensor(index=index) if shutil.which("nvidia-smi") else NoSensor()


def _amd_sensor(index: int) -> Sensor:
    amdsmi = _amdsmi()
    if amdsmi is not None:
        try:
            return AmdSmiSensor(amdsmi, index=index)
        except (amdsmi.AmdSmiException, IndexError):
            pass  # it refuses in a container without the device's files: sysfs may not
    hwmon = HwmonSensor.find(index=index)
    if hwmon is not None:
        return hwmon
    return RocmSmiSensor(index=index) if shutil.which("rocm-smi") else NoSensor()


def _amdsmi() -> ModuleType | None:
    if importlib.util.find_spec("amdsmi") is None:
        return None
    try:
        return importlib.import_module("amdsmi")
    except (ImportError, OSError, KeyError, AttributeError):
        return None  # built for another ROCm than the one that is installed
