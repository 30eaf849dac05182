"""A thread that reads a sensor every 50 ms, and what it saw between two moments."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from kernels.survey.reading import Reading, Sensor

__all__ = ["Sampler", "Window", "summarise"]

SAMPLE_PERIOD_S = 0.05

SLOWEST_READ_S = 0.02
"""A sensor that takes longer (a tool of the command line) is left to its thread. [s]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Means over the readings of a span of time; None where nothing was read."""

    n_readings: int
    power_w: float | None = None
    """Mean of the samples. [W]"""
    energy_power_w: float | None = None
    """Rise of the energy counter over the time between its first and last reading. [W]"""
    clock_mhz: float | None = None
    clock_min_mhz: float | None = None
    temperature_c: float | None = None
    throttle: tuple[str, ...] = ()


def summarise(readings: Sequence[Reading]) -> Window:
    """Means of some readings.

    The power by the energy counter is taken between moments at which the counter moved, since
    it is updated less often than it can be read.
    """
    clocks = [r.clock_mhz for r in readings if r.clock_mhz is not None]
    reasons = {reason for reading in readings for reason in reading.throttle}
    return Window(
        n_readings=len(readings),
        power_w=_mean([r.power_w for r in readings if r.power_w is not None]),
        energy_power_w=_counter_power_w(readings),
        clock_mhz=_mean(clocks),
        clock_min_mhz=min(clocks, default=None),
        temperature_c=_mean([r.temperature_c for r in readings if r.temperature_c is not None]),
        throttle=tuple(sorted(reasons)),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _counter_power_w(readings: Sequence[Reading]) -> float | None:
    points = [(r.time_s, r.energy_j) for r in readings if r.energy_j is not None]
    pairs = itertools.pairwise(points)
    steps = [later for earlier, later in pairs if later[1] > earlier[1]]
    if len(steps) < 2:
        return None
    (start_s, start_j), (stop_s, stop_j) = steps[0], steps[-1]
    return (stop_j - start_j) / (stop_s - start_s)


class Sampler:
    """Reads a sensor in a thread of its own, between `start` and `stop`.

    The thread sleeps nearly all the time and its reads leave the interpreter lock, so that the
    thread that launches kernels is not held up.
    """

    def __init__(self, sensor: Sensor, *, period_s: float = SAMPLE_PERIOD_S) -> None:
        self.sensor = sensor
        self._period_s = period_s
        self._readings: list[Reading] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._read_s = 0.0
        self._turn = threading.Lock()

    def __enter__(self) -> Sampler:
        """Start the thread."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._loop, name="survey-sampler", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def _loop(self) -> None:
        while not self._stop.is_set():
            self._read()
            self._stop.wait(self._period_s)

    def _read(self) -> Reading:
        # A sensor makes counters that wrap monotonic, which two threads must not do at once.
        with self._turn:
            start_s = time.monotonic()
            reading = self.sensor.read()
            self._read_s = time.monotonic() - start_s
            self._readings.append(reading)
        return reading

    def between(self, start_s: float, stop_s: float) -> list[Reading]:
        """Return the readings of a span of the monotonic clock."""
        return [r for r in self._readings if start_s <= r.time_s <= stop_s]

    def read_now(self) -> list[Reading]:
        """Read the sensor outside its turn, from the calling thread; nothing where it is slow."""
        return [] if self._read_s > SLOWEST_READ_S else [self._read()]

    def forget(self, before_s: float) -> None:
        """Drop readings older than a moment, which keeps long surveys small."""
        self._readings = [r for r in self._readings if r.time_s >= before_s]
