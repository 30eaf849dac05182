"""Sensors of Nvidia devices: NVML, or the nvidia-smi command. They only read."""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any

from kernels.survey.reading import Reading, RunTool, first_number, run_tool

__all__ = ["NvidiaSmiSensor", "NvmlSensor"]

NVML_POWER_INSTANT = 186
"""Field of the power without the one-second average that newer parts apply (NVML header)."""

THROTTLE_REASONS = {
    0x1: "idle",
    0x2: "application_clocks",
    0x4: "power_cap",
    0x8: "hardware_slowdown",
    0x10: "sync_boost",
    0x20: "software_thermal",
    0x40: "hardware_thermal",
    0x80: "power_brake",
    0x100: "display_clock",
    0x200: "board_limit",
    0x400: "reliability",
}
"""Bits of NVML's clock event reasons (NVML header)."""


class NvmlSensor:
    """NVML through nvidia-ml-py."""

    name = "nvml"

    def __init__(self, nvml: ModuleType, *, index: int = 0, uuid: str | None = None) -> None:
        nvml.nvmlInit()
        self._nvml: Any = nvml
        self._handle = self._find(index, uuid)
        limit = self._ask("nvmlDeviceGetEnforcedPowerLimit")
        self.power_limit_w = None if limit is None else limit / 1000.0

    def _find(self, index: int, uuid: str | None) -> object:
        # The framework may see fewer devices than NVML; the UUID is the same for both.
        if uuid is not None:
            try:
                return self._nvml.nvmlDeviceGetHandleByUUID(uuid)
            except self._nvml.NVMLError:
                pass  # older NVML wants another spelling of it: the index is next best
        return self._nvml.nvmlDeviceGetHandleByIndex(index)

    def _ask(self, name: str, *arguments: object) -> Any:  # noqa: ANN401 -- whatever NVML returns
        function = getattr(self._nvml, name, None)
        if function is None:
            return None
        try:
            return function(self._handle, *arguments)
        except self._nvml.NVMLError:
            return None

    def _power_w(self) -> float | None:
        fields = self._ask("nvmlDeviceGetFieldValues", [NVML_POWER_INSTANT])
        if fields is not None and fields[0].nvmlReturn == 0 and fields[0].value.uiVal > 0:
            return float(fields[0].value.uiVal) / 1000.0
        milliwatt = self._ask("nvmlDeviceGetPowerUsage")
        return None if milliwatt is None else milliwatt / 1000.0

    def _throttle(self) -> tuple[str, ...]:
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:
            bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons") or 0
        return tuple(name for bit, name in THROTTLE_REASONS.items() if bits & bit)

    def read(self) -> Reading:
        """Read power, energy counter, clocks, temperature and throttle reasons."""
        energy = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        return Reading(
            time_s=time.monotonic(),
            power_w=self._power_w(),
            energy_j=None if energy is None else energy / 1000.0,
            clock_mhz=self._ask("nvmlDeviceGetClockInfo", self._nvml.NVML_CLOCK_SM),
            memory_clock_mhz=self._ask("nvmlDeviceGetClockInfo", self._nvml.NVML_CLOCK_MEM),
            temperature_c=self._ask("nvmlDeviceGetTemperature", self._nvml.NVML_TEMPERATURE_GPU),
            throttle=self._throttle(),
        )

    def describe(self) -> dict[str, object]:
        """Driver, power limits and highest clocks."""
        default = self._ask("nvmlDeviceGetPowerManagementDefaultLimit")
        bounds = self._ask("nvmlDeviceGetPowerManagementLimitConstraints")
        try:
            driver = self._nvml.nvmlSystemGetDriverVersion()
        except self._nvml.NVMLError:
            driver = None
        return {
            "sensor": self.name,
            "driver": driver.decode() if isinstance(driver, bytes) else driver,
            "power_limit_w": self.power_limit_w,
            "default_power_limit_w": None if default is None else default / 1000.0,
            "power_limit_range_w": None if bounds is None else [b / 1000.0 for b in bounds],
            "max_clock_mhz": self._ask("nvmlDeviceGetMaxClockInfo", self._nvml.NVML_CLOCK_SM),
            "max_memory_clock_mhz": self._ask(
                "nvmlDeviceGetMaxClockInfo", self._nvml.NVML_CLOCK_MEM
            ),
        }


class NvidiaSmiSensor:
    """The nvidia-smi command, where nvidia-ml-py is missing; it has no energy counter."""

    name = "nvidia-smi"
    QUERY = "power.draw,clocks.sm,clocks.mem,temperature.gpu,power.limit,driver_version"

    def __init__(self, *, index: int = 0, run: RunTool = run_tool) -> None:
        self._command = [
            "nvidia-smi",
            f"--id={index}",
            f"--query-gpu={self.QUERY}",
            "--format=csv,noheader,nounits",
        ]
        self._run = run
        self._driver = ""
        self.power_limit_w: float | None = None
        self.read()

    def read(self) -> Reading:
        """Read power, clocks and temperature."""
        parts = [part.strip() for part in self._run(self._command).strip().split(",")]
        if len(parts) != len(self.QUERY.split(",")):
            return Reading(time_s=time.monotonic())
        power, clock, memory_clock, temperature, limit = (first_number(part) for part in parts[:5])
        self.power_limit_w, self._driver = limit, parts[5]
        return Reading(
            time_s=time.monotonic(),
            power_w=power,
            clock_mhz=clock,
            memory_clock_mhz=memory_clock,
            temperature_c=temperature,
        )

    def describe(self) -> dict[str, object]:
        """Driver and power limit."""
        limit = self.power_limit_w
        return {"sensor": self.name, "driver": self._driver, "power_limit_w": limit}
