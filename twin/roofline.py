"""Roofs of a device: what its arithmetic and each level of its memory allow at most.

References
----------
S. Williams, A. Waterman, D. Patterson, Roofline, CACM 52(4), 2009.
"""

from __future__ import annotations

from dataclasses import dataclass

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.sources import figure_source
from kernels.families.inheritance import completed_calibration
from kernels.gemm.machine import gemm_machine
from kernels.gemm.precision import PRECISIONS

__all__ = ["DeviceRoofs", "MemoryRoof", "PeakRoof", "device_roofs", "roof_s"]

_BANDWIDTH = "memory.bandwidth_bytes_per_s"
_LINK = "link.bandwidth_bytes_per_s"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakRoof:
    """A ceiling of arithmetic."""

    dtype: str
    flop_per_s: float
    """Dense. [flop/s]"""
    figure_class: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRoof:
    """A ceiling of one level of memory or of the links."""

    level: str
    bytes_per_s: float
    figure_class: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRoofs:
    """Every ceiling of one device, the highest peak and the nearest memory first."""

    device: str
    peaks: tuple[PeakRoof, ...]
    memories: tuple[MemoryRoof, ...]

    def peak_flop_per_s(self, dtype: str) -> float | None:
        """Dense peak of a dtype; None where the device has none. [flop/s]"""
        return next((peak.flop_per_s for peak in self.peaks if peak.dtype == dtype), None)

    def bytes_per_s(self, level: str) -> float | None:
        """Bandwidth of a level; None where the device has no such level. [byte/s]"""
        return next((one.bytes_per_s for one in self.memories if one.level == level), None)


def device_roofs(accelerator: Accelerator) -> DeviceRoofs:
    """The ceilings of a device: peaks by dtype, operand supply, memory, links."""
    peaks = [
        PeakRoof(
            dtype=dtype,
            flop_per_s=flop_per_s,
            figure_class=_class_of(accelerator, f"compute.peak_flop_per_s.{dtype}")[0],
            source=_class_of(accelerator, f"compute.peak_flop_per_s.{dtype}")[1],
        )
        for dtype, flop_per_s in accelerator.compute.peak_flop_per_s.items()
    ]
    peaks.sort(key=lambda peak: -peak.flop_per_s)
    return DeviceRoofs(
        device=accelerator.name, peaks=tuple(peaks), memories=tuple(_memories(accelerator))
    )


def _memories(accelerator: Accelerator) -> list[MemoryRoof]:
    bandwidth = accelerator.memory.bandwidth_bytes_per_s
    figure_class, source = _class_of(accelerator, _BANDWIDTH)
    found = []
    fitted, peaks = completed_calibration(accelerator).gemm, accelerator.compute.peak_flop_per_s
    known = (dtype for dtype in ("bf16", *fitted) if dtype in fitted and dtype in PRECISIONS)
    dtype = next((dtype for dtype in known if PRECISIONS[dtype].peak in peaks), None)
    if dtype is not None:
        # The GEMM fit says how much faster than memory the caches feed the compute units.
        gemm, peak = fitted[dtype], peaks[PRECISIONS[dtype].peak]
        machine = gemm_machine(accelerator, gemm, peak_flop_per_s=peak, fitted_dtype=dtype)
        supply = machine.feed_bytes_per_s
        words = f"operand supply of the GEMM fit: {gemm.provenance.source}"
        found.append(_roof("cache", supply, "fitted", words))
    found.append(_roof("memory", bandwidth, figure_class, source))
    if accelerator.link is not None:
        figure_class, source = _class_of(accelerator, _LINK)
        found.append(_roof("link", accelerator.link.bandwidth_bytes_per_s, figure_class, source))
    return found


def _roof(level: str, bytes_per_s: float, figure_class: str, source: str) -> MemoryRoof:
    return MemoryRoof(
        level=level, bytes_per_s=bytes_per_s, figure_class=figure_class, source=source
    )


def _class_of(accelerator: Accelerator, key: str) -> tuple[str, str]:
    source = figure_source(accelerator, key)
    return (source.figure_class, source.text) if source else ("assumed", "")


def roof_s(
    flop: float, traffic_bytes: float, *, peak_flop_per_s: float, bytes_per_s: float
) -> float:
    """Least time of some work under its roof: arithmetic or traffic, whichever takes longer. [s]"""
    return max(flop / peak_flop_per_s, traffic_bytes / bytes_per_s)
