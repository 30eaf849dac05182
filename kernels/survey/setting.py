"""What every case of a survey shares: the device, how long to measure, and the sampler."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from kernels.backends import Device
from kernels.survey.sampler import Sampler, summarise
from kernels.timing import RepeatPolicy, Timer, Timing, measure

__all__ = ["Setting", "per_call_columns"]

QUICK_POLICY = RepeatPolicy(n_warmup=2, n_min=5, budget_s=0.04, relative_error_fraction=0.02)
USUAL_POLICY = RepeatPolicy(n_warmup=3, n_min=7, budget_s=0.12)


def per_call_columns(columns: dict[str, Any], *, n_calls: int) -> dict[str, Any]:
    """Divide the times of a call that repeats something by how often it does."""
    times = {
        name: value / n_calls
        for name, value in columns.items()
        if name.startswith("latency") and value is not None
    }
    return {**columns, **times}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Shared by all cases; it makes the columns that every row has."""

    device: Device
    software: str
    sampler: Sampler
    is_quick: bool = False
    load_s: float = 5.0
    """How long a sustained load runs once it has warmed up. [s]"""

    @property
    def policy(self) -> RepeatPolicy:
        """How often to repeat."""
        return QUICK_POLICY if self.is_quick else USUAL_POLICY

    def base(self, case: str, library: str) -> dict[str, Any]:
        """Columns that every row has, whatever was measured."""
        return {
            "case": case,
            "device": self.device.name,
            "vendor": self.device.vendor,
            "library": library,
            "software": self.software,
        }

    def timed(
        self, call: Callable[[int], object], *, timer: Timer, policy: RepeatPolicy | None = None
    ) -> tuple[Timing, dict[str, Any]]:
        """Time a call; returns the timing and its columns, with clock and power meanwhile.

        Power is left empty where the measurement was over before the sensor was read; clock and
        temperature are then those right after it, since a device that was hot before runs slower.
        """
        start_s = time.monotonic()
        timing = measure(call, timer=timer, policy=policy or self.policy)
        return timing, self.columns(timing, start_s=start_s)

    def columns(self, timing: Timing, *, start_s: float, has_power: bool = True) -> dict[str, Any]:
        """Columns of a timing, with what the sensor saw since `start_s` on the monotonic clock.

        `has_power` is False where several kernels took turns, so that the power is nobody's.
        """
        seen = summarise(self.sampler.between(start_s, time.monotonic()))
        after = seen if seen.n_readings else summarise(self.sampler.read_now())
        return {
            "latency_us": timing.median_s * 1e6,
            "latency_min_us": timing.min_s * 1e6,
            "latency_p10_us": timing.p10_s * 1e6,
            "latency_p90_us": timing.p90_s * 1e6,
            "repeats": timing.n,
            "spread": timing.spread_fraction,
            "clock_mhz": after.clock_mhz,
            "power_w": seen.power_w if has_power else None,
            "temperature_c": after.temperature_c,
        }

    def patient(self, *, budget_s: float) -> RepeatPolicy:
        """Return the policy with another budget, for calls that are long or noisy."""
        return replace(self.policy, budget_s=budget_s)
