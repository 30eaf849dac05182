"""Sensors of AMD devices: amdsmi, the driver's files, the rocm-smi command. They only read."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from kernels.survey.reading import Reading, RunTool, first_number, run_tool

__all__ = ["AmdSmiSensor", "HwmonSensor", "RocmSmiSensor"]


class AmdSmiSensor:
    """The amdsmi Python package of ROCm."""

    name = "amdsmi"

    def __init__(self, amdsmi: ModuleType, *, index: int = 0) -> None:
        amdsmi.amdsmi_init()
        self._smi: Any = amdsmi
        self._handle = amdsmi.amdsmi_get_processor_handles()[index]
        self.power_limit_w = first_number(self._power().get("power_limit"))
        if self.power_limit_w is not None and self.power_limit_w > 1e5:
            self.power_limit_w /= 1e6  # some releases give microwatts

    def _ask(self, name: str, *arguments: object) -> Any:  # noqa: ANN401 -- whatever it returns
        function = getattr(self._smi, name, None)
        if function is None:
            return None
        try:
            return function(self._handle, *arguments)
        except self._smi.AmdSmiException:
            return None

    def _power(self) -> dict[str, object]:
        return dict(self._ask("amdsmi_get_power_info") or {})

    def _clock_mhz(self, kind: str) -> float | None:
        member = getattr(self._smi.AmdSmiClkType, kind, None)
        answer = None if member is None else self._ask("amdsmi_get_clock_info", member)
        return (
            first_number(dict(answer).get("clk", dict(answer).get("cur_clk"))) if answer else None
        )

    def _energy_j(self) -> float | None:
        answer = dict(self._ask("amdsmi_get_energy_count") or {})
        counter = first_number(answer.get("energy_accumulator", answer.get("power")))
        resolution_uj = first_number(answer.get("counter_resolution"))
        if counter is None or resolution_uj is None:
            return None
        return counter * resolution_uj * 1e-6

    def read(self) -> Reading:
        """Read power, energy counter, clocks and temperature."""
        power = self._power()
        kinds = self._smi.AmdSmiTemperatureType
        metric = self._smi.AmdSmiTemperatureMetric.CURRENT
        draw = (
            first_number(power.get(key)) for key in ("current_socket_power", "average_socket_power")
        )
        return Reading(
            time_s=time.monotonic(),
            power_w=next((value for value in draw if value), None),
            energy_j=self._energy_j(),
            clock_mhz=self._clock_mhz("GFX"),
            memory_clock_mhz=self._clock_mhz("MEM"),
            temperature_c=first_number(self._ask("amdsmi_get_temp_metric", kinds.HOTSPOT, metric)),
        )

    def describe(self) -> dict[str, object]:
        """Driver and power limit."""
        driver = dict(self._ask("amdsmi_get_gpu_driver_info") or {})
        return {
            "sensor": self.name,
            "driver": driver.get("driver_version"),
            "power_limit_w": self.power_limit_w,
        }


class RocmSmiSensor:
    """The rocm-smi command, where nothing better can be read; it has no energy counter."""

    name = "rocm-smi"

    def __init__(self, *, index: int = 0, run: RunTool = run_tool) -> None:
        self._command = ["rocm-smi", "-d", str(index), "-P", "-c", "-t", "-M", "--json"]
        self._run = run
        self.power_limit_w: float | None = None
        self.read()

    def read(self) -> Reading:
        """Read power, clock and temperature."""
        text = self._run(self._command)
        try:
            cards = json.loads(text[text.index("{") :])
        except ValueError:
            return Reading(time_s=time.monotonic())
        card: dict[str, str] = next(iter(cards.values()), {})
        self.power_limit_w = _findfirst_number(card, r"max .*power")
        return Reading(
            time_s=time.monotonic(),
            power_w=_findfirst_number(card, r"(current|average) .*power"),
            clock_mhz=_findfirst_number(card, r"sclk clock speed"),
            temperature_c=_findfirst_number(card, r"temperature .*junction"),
        )

    def describe(self) -> dict[str, object]:
        """Power limit."""
        return {"sensor": self.name, "power_limit_w": self.power_limit_w}


def _findfirst_number(card: dict[str, str], pattern: str) -> float | None:
    for key, value in card.items():
        if re.match(pattern, key.lower()):
            return first_number(value)
    return None


class HwmonSensor:
    """The amdgpu driver's files in sysfs; needs no package."""

    name = "hwmon"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        limit = self._scaled("power1_cap", 1e-6)
        self.power_limit_w = limit

    @classmethod
    def find(cls, root: Path = Path("/sys/class/drm"), *, index: int = 0) -> HwmonSensor | None:
        """Sensor of the AMD device with this number; None where there is none."""
        cards = [card for card in root.glob("card*") if re.fullmatch(r"card\d+", card.name)]
        folders = [
            hwmon
            for card in sorted(cards, key=lambda card: int(card.name[4:]))
            for hwmon in card.glob("device/hwmon/hwmon*")
            if (hwmon / "name").exists() and (hwmon / "name").read_text().strip() == "amdgpu"
        ]
        return cls(folders[index]) if index < len(folders) else None

    def _scaled(self, name: str, factor: float) -> float | None:
        try:
            return float((self._folder / name).read_text()) * factor
        except (OSError, ValueError):
            return None

    def read(self) -> Reading:
        """Read power, clocks and temperature."""
        power = self._scaled("power1_input", 1e-6)
        hot = self._scaled("temp2_input", 1e-3)
        return Reading(
            time_s=time.monotonic(),
            power_w=self._scaled("power1_average", 1e-6) if power is None else power,
            clock_mhz=self._scaled("freq1_input", 1e-6),
            memory_clock_mhz=self._scaled("freq2_input", 1e-6),
            temperature_c=self._scaled("temp1_input", 1e-3) if hot is None else hot,
        )

    def describe(self) -> dict[str, object]:
        """Power limit."""
        return {"sensor": self.name, "power_limit_w": self.power_limit_w}
