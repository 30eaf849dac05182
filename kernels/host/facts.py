"""What the host says of itself that a profile needs, and where it says it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kernels.backends import Device, host_device

__all__ = ["HostFacts", "host_facts"]

CPU = Path("/sys/devices/system/cpu/cpu0")
CPU_INFO = Path("/proc/cpuinfo")

ASSUMED_CLOCK_HZ = 2e9
ASSUMED_L2_BYTES = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """One thread of the host."""

    device: Device
    clock_hz: float
    clock_source: str
    l2_bytes: float
    l2_source: str

    @property
    def name(self) -> str:
        """Name of the profile."""
        return f"{self.device.slug}-thread"


def host_facts(*, cpu: Path = CPU, cpu_info: Path = CPU_INFO) -> HostFacts:
    """Read what the system tells; what it does not is assumed, and said so."""
    clock_hz, clock_source = _clock(cpu, cpu_info)
    l2_bytes = _l2_bytes(cpu)
    return HostFacts(
        device=host_device(),
        clock_hz=clock_hz or ASSUMED_CLOCK_HZ,
        clock_source=clock_source or "assumed: the system does not tell the clock",
        l2_bytes=l2_bytes or ASSUMED_L2_BYTES,
        l2_source="the system's description of the first core"
        if l2_bytes
        else "assumed: the system does not tell",
    )


def _clock(cpu: Path, cpu_info: Path) -> tuple[float | None, str]:
    try:
        highest = float((cpu / "cpufreq" / "cpuinfo_max_freq").read_text())
    except (OSError, ValueError):
        pass
    else:
        return highest * 1e3, "highest clock that the system allows"
    try:
        found = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", cpu_info.read_text(), flags=re.MULTILINE)
    except OSError:
        found = []
    return (max(map(float, found)) * 1e6, "clock that the system reports") if found else (None, "")


def _l2_bytes(cpu: Path) -> float | None:
    for index in sorted((cpu / "cache").glob("index*")):
        try:
            level, kind = (index / "level").read_text(), (index / "type").read_text()
            size = (index / "size").read_text().strip()
        except OSError:
            continue
        if level.strip() == "2" and kind.strip() != "Instruction" and size.endswith("K"):
            return float(size[:-1]) * 1024.0
    return None
