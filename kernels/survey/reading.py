"""A reading of a sensor, what a sensor is, and how a command-line tool is asked."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["NoSensor", "Reading", "RunTool", "Sensor", "first_number", "run_tool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a sensor says at one moment; None where it cannot say."""

    time_s: float
    """Monotonic clock of the host. [s]"""
    power_w: float | None = None
    energy_j: float | None = None
    """Counter with an arbitrary start. [J]"""
    clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    temperature_c: float | None = None
    throttle: tuple[str, ...] = ()


class Sensor(Protocol):
    """Something that can be read every few milliseconds."""

    name: str
    power_limit_w: float | None

    def read(self) -> Reading:
        """Read everything at once; what is missing stays None."""
        ...

    def describe(self) -> dict[str, object]:
        """Facts that do not change while a survey runs: limits, driver."""
        ...


class NoSensor:
    """Stands in where nothing can be read."""

    name = "none"
    power_limit_w: float | None = None

    def read(self) -> Reading:
        """Return only the time."""
        return Reading(time_s=time.monotonic())

    def describe(self) -> dict[str, object]:
        """Say nothing."""
        return {}


RunTool = Callable[[list[str]], str]


def run_tool(command: list[str]) -> str:
    """Output of a tool; empty when it fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603, RUF100
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def first_number(text: object) -> float | None:
    """First number in a tool's answer; None for its ways to say that there is none."""
    found = re.search(r"-?\d+(\.\d+)?", str(text))
    return float(found.group()) if found else None
