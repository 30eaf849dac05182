"""One device as the kernel models see it: profile figures and calibrated parameters, by clock."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import (
    AttentionCalibration,
    Calibration,
    CollectiveCalibration,
    GemmCalibration,
    MemoryBoundCalibration,
    PowerCalibration,
)
from hardware_profiles.errors import TweelingError
from kernels.all_reduce.model import CollectiveMachine
from kernels.attention.machine import attention_machine
from kernels.attention.model import AttentionMachine
from kernels.families.inheritance import calibration_sources, family_hashes
from kernels.gemm.machine import gemm_machine
from kernels.gemm.model import GemmMachine
from kernels.gemm.precision import PRECISIONS as GEMM_PRECISIONS
from kernels.gemm.precision import nearest_dtype
from kernels.memory_bound.model import StreamMachine
from kernels.power_prior import device_power, power_hashes
from kernels.prediction.machines import collective_machine
from twin.training.job import LOW_PRECISIONS

__all__ = ["ClockedDevice", "DeviceModel", "PrecisionError"]


BLOCK_SCALED = frozenset({"mxfp8"})
"""Precisions of blocks with a scale each: devices that multiply them also have an fp4 rate."""


class PrecisionError(TweelingError):
    """The device has no rate for the precision that was asked."""


@dataclass(frozen=True)
class DeviceModel:
    """Builds the machines of the kernel models from a profile, at a given clock.

    What it finds in calibrations is kept: a search makes machines of a dozen clocks.
    """

    accelerator: Accelerator
    precision: str
    attention_implementations: tuple[str, ...]

    def peak_flop_per_s(self, dtype: str) -> float:
        """Dense peak of a dtype at the boost clock. [flop/s]"""
        peaks = self.accelerator.compute.peak_flop_per_s
        peak = GEMM_PRECISIONS[dtype].peak
        if dtype in BLOCK_SCALED and "fp4" not in peaks:
            msg = (
                f"--precision {dtype}: {self.accelerator.name} scales no blocks in hardware; "
                "use fp8"
            )
            raise PrecisionError(msg)
        if peak not in peaks:
            msg = (
                f"--precision {dtype}: {self.accelerator.name} has no dense rate for it; "
                f"it has {', '.join(sorted(peaks))}"
            )
            raise PrecisionError(msg)
        return peaks[peak]

    @property
    def core_dtype(self) -> str:
        """Dtype of attention and head, which keep 16 bits when products use fewer. [name]"""
        return "bf16" if self.precision in LOW_PRECISIONS else self.precision

    def gemm_calibration(self, dtype: str) -> GemmCalibration:
        """Fitted parameters of a dtype or its nearest sibling: the device's own or its family's."""
        return self._gemm_calibrations[self._nearest_gemm_dtype(dtype)]

    def _nearest_gemm_dtype(self, dtype: str) -> str:
        nearest = nearest_dtype(dtype, self._gemm_calibrations)
        if nearest is None:
            msg = f"{self.accelerator.name}: no GEMM parameters for {dtype}"
            raise PrecisionError(msg)
        return nearest

    @functools.cached_property
    def _gemm_calibrations(self) -> dict[str, GemmCalibration]:
        known: dict[str, GemmCalibration] = {}
        for source in reversed(calibration_sources(self.accelerator, "gemm")):
            known |= source.gemm
        return known

    @functools.cached_property
    def _attention_source(self) -> Calibration:
        """The nearest calibration that knows attention at all."""
        sources = calibration_sources(self.accelerator, "attention")
        return next(source for source in sources if source.attention)

    @functools.cached_property
    def attention_implementation(self) -> str:
        """The first wanted implementation that the device's or its family's profile knows."""
        known = self._attention_source.attention
        for name in self.attention_implementations:
            if name in known:
                return name
        return next(iter(known))

    @property
    def attention_calibration(self) -> AttentionCalibration:
        """Parameters of the attention implementation in use."""
        return self._attention_source.attention[self.attention_implementation]

    @functools.cached_property
    def memory_bound_calibration(self) -> MemoryBoundCalibration:
        """Parameters of streaming kernels."""
        for source in calibration_sources(self.accelerator, "memory_bound"):
            if source.memory_bound is not None:
                return source.memory_bound
        msg = f"{self.accelerator.name}: no parameters for memory-bound kernels"
        raise PrecisionError(msg)

    @property
    def power_calibration(self) -> PowerCalibration:
        """Parameters of the power model: the device's own, or what stands for them."""
        return device_power(self.accelerator)

    @property
    def constant_hashes(self) -> dict[str, str]:
        """SHA-256 of files behind the device's constants besides its own profile. [hex]"""
        return {**power_hashes(self.accelerator), **family_hashes(self.accelerator)}

    def collective_calibration(self, operation: str) -> CollectiveCalibration:
        """Parameters of one collective inside a node."""
        return self._collective_calibrations[operation]

    @functools.cached_property
    def _collective_calibrations(self) -> dict[str, CollectiveCalibration]:
        known: dict[str, CollectiveCalibration] = {}
        for source in reversed(calibration_sources(self.accelerator, "collective")):
            known |= source.collective
        return known

    def gemm(self, dtype: str, clock_fraction: float) -> GemmMachine:
        """GEMM machine of a dtype; arithmetic and caches follow the clock, memory does not."""
        nearest = self._nearest_gemm_dtype(dtype)
        machine = gemm_machine(
            self.accelerator,
            self._gemm_calibrations[nearest],
            peak_flop_per_s=self.peak_flop_per_s(dtype),
            fitted_dtype=nearest,
            clock_fraction=clock_fraction,
        )
        # Droop is the clock that falls in a long lone kernel; a step takes its clock from the
        # power model, and would pay for it twice.
        return machine._replace(droop_fraction=0.0)

    def attention(self, clock_fraction: float) -> AttentionMachine:
        """Attention machine of the core dtype; dependency latency stretches with the clock."""
        # Droop is left out, as for products.
        machine = attention_machine(
            self.accelerator,
            self.attention_calibration,
            peak_flop_per_s=self.peak_flop_per_s(self.core_dtype),
            clock_fraction=clock_fraction,
        )
        return machine._replace(droop_fraction=0.0)

    def stream(self) -> StreamMachine:
        """Streaming machine."""
        return self._stream

    @functools.cached_property
    def _stream(self) -> StreamMachine:
        fitted = self.memory_bound_calibration
        return StreamMachine(
            memory_bandwidth_bytes_per_s=self.accelerator.memory.bandwidth_bytes_per_s,
            bandwidth_efficiency_fraction=fitted.bandwidth_efficiency_fraction,
            launch_s=fitted.launch_s,
        )

    def collective(self, operation: str, has_in_switch_reduction: bool) -> CollectiveMachine:
        """Machine of one collective operation inside a node."""
        fitted = self.collective_calibration(operation)
        return collective_machine(fitted, switch_adds=has_in_switch_reduction)


class ClockedDevice:
    """A device at one clock: the machines of its kernel models, each made once."""

    def __init__(self, device: DeviceModel, clock_fraction: float) -> None:
        self.device = device
        self.clock_fraction = clock_fraction
        self.core_dtype = device.core_dtype
        self._gemm: dict[str, GemmMachine] = {}

    def gemm(self, dtype: str) -> GemmMachine:
        """GEMM machine of a dtype."""
        found = self._gemm.get(dtype)
        if found is None:
            found = self._gemm[dtype] = self.device.gemm(dtype, self.clock_fraction)
        return found

    @functools.cached_property
    def attention(self) -> AttentionMachine:
        """Attention machine of the core dtype."""
        return self.device.attention(self.clock_fraction)

    @functools.cached_property
    def stream(self) -> StreamMachine:
        """Streaming machine."""
        return self.device.stream()
