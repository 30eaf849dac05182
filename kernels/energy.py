"""Energy of one launch, by the counter of the device: NVML, amdsmi, or RAPL on the host.

Counters move in steps: NVML's every 20 to 100 ms, RAPL's every millisecond. So a call is repeated
without a pause for a good part of a second, and the energy between the first and the last step seen
is divided by the calls between them. The draw of an idle device is part of it, as it is of any
energy bill; RAPL counts the whole package, and so whatever else runs on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kernels.backends import Device
from kernels.survey.reading import Sensor

__all__ = ["LaunchEnergy", "measure_launch_energy", "why_no_counter"]

BATCH_S = 0.01
"""Work that is queued before the counter is read again. [s]"""
BATCH_MAX = 2000
"""Most calls of one batch. [1]"""
STEPS_MIN = 4
"""Steps of the counter that must be seen. [1]"""
PATIENCE_FACTOR = 4.0
"""The window may grow by this much while the counter has not moved often enough. [1]"""

NO_COUNTER = {
    "nvml": "NVML has no energy counter of this device (it came with Volta)",
    "nvidia-smi": "nvidia-smi has no energy counter; the package nvidia-ml-py reads one",
    "hwmon": "the amdgpu driver's files have no energy counter; ROCm's amdsmi package reads one",
    "rocm-smi": "rocm-smi has no energy counter; ROCm's amdsmi package reads one",
    "amdsmi": "amdsmi shows no energy counter of this device",
}
"""What to say of a sensor that reads no energy."""

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchEnergy:
    """What one call costs, or why that is not known."""

    energy_j: float | None
    """Energy of one call, idle draw included. [J]"""
    why_none: str = ""
    """One line where there is no energy."""
    n_launches: int = 0
    """Calls between the first and the last step of the counter. [1]"""
    duration_s: float = 0.0
    """Time between those steps. [s]"""


def why_no_counter(device: Device, sensor: Sensor, *, powercap: Path = POWERCAP) -> str | None:
    """Say in one line why a sensor reads no energy of a device; None where it does.

    Parameters
    ----------
    device
        The device.
    sensor
        What `kernels.survey.sensors.find_sensor` found for it.
    powercap
        Where Linux shows the counters of the processor packages.
    """
    if sensor.read().energy_j is not None:
        return None
    if sensor.name in NO_COUNTER:
        return NO_COUNTER[sensor.name]
    if device.backend == "cuda":
        return "no energy counter: neither nvidia-ml-py nor nvidia-smi answers"
    if device.backend == "rocm":
        return "no energy counter: none of amdsmi, the amdgpu driver's files and rocm-smi answers"
    counters = sorted(powercap.glob("intel-rapl:[0-9]*/energy_uj"))
    if not counters:
        return f"no energy counter: no RAPL package below {powercap}"
    return f"no energy counter: {counters[0]} cannot be read (Linux lets root only)"


def measure_launch_energy(
    call: Callable[[int], object],
    *,
    sensor: Sensor,
    per_call_s: float,
    synchronize: Callable[[], object] = lambda: None,
    window_s: float = 0.5,
    clock: Callable[[], float] = time.monotonic,
) -> LaunchEnergy:
    """Repeat a call without a pause and read what the counter says each time cost.

    Batches of about 10 ms are queued between two readings, so that the result is good to the share
    of a batch in the window: some per cent.

    Parameters
    ----------
    call
        The kernel; a running index lets it rotate among buffers.
    sensor
        With an energy counter; one without gives no energy and a reason.
    per_call_s
        Time of one call, from a timing before. [s]
    synchronize
        Waits for a device that works asynchronously.
    window_s
        How long to repeat; up to four times as long where the counter moves slowly. [s]
    clock
        Clock of the host. [s]

    Returns
    -------
    LaunchEnergy
        Energy of one call. [J]
    """
    last_j = sensor.read().energy_j
    if last_j is None:
        why = NO_COUNTER.get(sensor.name, "no energy counter answers")
        return LaunchEnergy(energy_j=None, why_none=why)
    n_batch = max(1, min(BATCH_MAX, int(BATCH_S / max(per_call_s, 1e-9))))
    steps: list[tuple[float, int, float]] = []
    n_calls, began_s = 0, clock()
    while True:
        for index in range(n_batch):
            call(n_calls + index)
        synchronize()
        n_calls += n_batch
        now_j, elapsed_s = sensor.read().energy_j, clock() - began_s
        if now_j is None:
            return LaunchEnergy(energy_j=None, why_none="the energy counter stopped answering")
        if now_j > last_j:
            steps.append((now_j, n_calls, elapsed_s))
            last_j = now_j
        if elapsed_s >= window_s and len(steps) >= STEPS_MIN:
            return _between(steps[0], steps[-1])
        if elapsed_s >= PATIENCE_FACTOR * window_s:
            why = f"the energy counter moved {len(steps)} times in {elapsed_s:.2g} s"
            return LaunchEnergy(energy_j=None, why_none=f"{why}; {STEPS_MIN} are needed")


def _between(first: tuple[float, int, float], last: tuple[float, int, float]) -> LaunchEnergy:
    n_launches = last[1] - first[1]
    return LaunchEnergy(
        energy_j=(last[0] - first[0]) / n_launches,
        n_launches=n_launches,
        duration_s=last[2] - first[2],
    )
