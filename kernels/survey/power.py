"""Power and clock under loads that last seconds: what bounds the rate of real training.

A kernel timed alone runs at the boost clock of a cool device. Under load the power limit sets the
clock, so each load warms the device up first and is then measured over seconds, by the device's
energy counter where it has one. Settings of the device are never changed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from kernels.measurements import Measurement, PowerMeasurement, PowerSample
from kernels.survey.case import Case
from kernels.survey.loads import Load, Work, cpu_loads, gpu_loads
from kernels.survey.reading import Reading
from kernels.survey.sampler import Window, summarise
from kernels.survey.setting import Setting
from kernels.survey.torch_device import TorchDevice

__all__ = ["power_cases", "run_load"]

WARM_UP_S = 1.5
"""Before the measured window: the power controller and its averages settle. [s]"""
IDLE_SETTLE_S = 4.0
"""The same before idle power is read: clocks fall a few seconds after the last kernel. [s]"""
GAP_CYCLE_S = 0.02
"""Work of one busy stretch of a load with idle gaps. [s]"""


def power_cases(setting: Setting, torch_device: TorchDevice) -> list[Case]:
    """Cases of the power family."""
    # cuDNN's fused attention needs Hopper or later.
    has_cudnn = torch_device.device.architecture.startswith(("sm_9", "sm_10", "sm_12"))
    loads = gpu_loads(has_cudnn=has_cudnn) if torch_device.is_gpu else cpu_loads()
    return [_case(setting, torch_device, load) for load in loads]


def _case(setting: Setting, torch_device: TorchDevice, load: Load) -> Case:
    words = (load.workload, load.dtype, load.shape, load.library, f"duty{load.duty:g}")
    key = "/".join(word for word in words if word)
    settle_s = IDLE_SETTLE_S if load.make is None else WARM_UP_S
    return Case(
        key=key,
        family="power",
        priority=load.priority,
        run=lambda: run_load(load, key=key, on=(setting, torch_device)),
        estimate_s=setting.load_s + min(settle_s, setting.load_s) + 1.0,
    )


def run_load(load: Load, *, key: str, on: tuple[Setting, TorchDevice]) -> Sequence[Measurement]:
    """Run a load, warmed up, for the setting's seconds; returns its row and its samples."""
    setting, device = on
    settle_s = min(IDLE_SETTLE_S if load.make is None else WARM_UP_S, setting.load_s)
    with device.matmul_precision(load.dtype):
        work = load.make(device) if load.make is not None else None
        per_call_s = _time_per_call(work, on=on) if work is not None else 0.0
        began_s = time.monotonic()
        _keep_busy(device, work, duty=load.duty, seconds=settle_s, per_call_s=per_call_s)
        start_s = time.monotonic()
        n_calls = _keep_busy(
            device, work, duty=load.duty, seconds=setting.load_s, per_call_s=per_call_s
        )
        stop_s = time.monotonic()
    readings = setting.sampler.between(began_s, stop_s)
    seen = summarise([reading for reading in readings if reading.time_s >= start_s])
    row = _power_row(
        load,
        key,
        setting,
        outcome=Outcome(work=work, n_calls=n_calls, seconds=stop_s - start_s),
        seen=seen,
    )
    return [row, *_samples(setting, key, readings, start_s=start_s)]


def _time_per_call(work: Work, *, on: tuple[Setting, TorchDevice]) -> float:
    setting, device = on
    policy = setting.patient(budget_s=0.02)
    timing, _columns = setting.timed(work.call, timer=device.timer, policy=policy)
    return timing.median_s


def _keep_busy(
    device: TorchDevice, work: Work | None, *, duty: float, seconds: float, per_call_s: float
) -> int:
    """Run the work for some seconds, with idle gaps for a duty below one; returns the calls."""
    if work is None:
        time.sleep(seconds)
        return 0
    if duty >= 1.0:
        return device.sustain(work.call, seconds=seconds, per_call_s=per_call_s)
    deadline = time.monotonic() + seconds
    n_stretch = max(1, round(GAP_CYCLE_S / max(per_call_s, 1e-6)))
    n_calls = 0
    while (start_s := time.monotonic()) < deadline:
        for index in range(n_stretch):
            work.call(n_calls + index)
        device.synchronize()
        n_calls += n_stretch
        time.sleep((time.monotonic() - start_s) * (1.0 - duty) / duty)
    return n_calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a load has done in its measured window."""

    work: Work | None
    n_calls: int
    seconds: float

    @property
    def flop_per_s(self) -> float:
        """Arithmetic done, idle gaps included. [flop/s]."""
        return self.work.flop * self.n_calls / self.seconds if self.work else 0.0

    @property
    def bytes_per_s(self) -> float:
        """Least memory traffic, idle gaps included. [byte/s]."""
        return self.work.n_bytes * self.n_calls / self.seconds if self.work else 0.0


def _power_row(
    load: Load, key: str, setting: Setting, *, outcome: Outcome, seen: Window
) -> PowerMeasurement:
    power_w = seen.power_w if seen.energy_power_w is None else seen.energy_power_w
    rate = outcome.flop_per_s
    framework = setting.software.split(";")[0]
    return PowerMeasurement(
        **setting.base(key, ":".join(filter(None, (framework, load.library)))),
        workload=load.workload,
        dtype=load.dtype,
        shape=load.shape,
        latency_us=outcome.seconds / outcome.n_calls * 1e6 if outcome.n_calls else None,
        repeats=outcome.n_calls,
        tflops=rate / 1e12,
        GBps=outcome.bytes_per_s / 1e9,
        power_w=power_w,
        sampled_power_w=seen.power_w,
        power_limit_w=setting.sampler.sensor.power_limit_w,
        energy_j=None if power_w is None else power_w * outcome.seconds,
        duration_s=outcome.seconds,
        energy_per_flop_j=power_w / rate if power_w is not None and rate > 0 else None,
        duty=load.duty,
        clock_mhz=seen.clock_mhz,
        clock_min_mhz=seen.clock_min_mhz,
        temperature_c=seen.temperature_c,
        throttle="+".join(seen.throttle),
    )


def _samples(
    setting: Setting, key: str, readings: Sequence[Reading], *, start_s: float
) -> list[PowerSample]:
    return [
        PowerSample(
            **setting.base(key, setting.sampler.sensor.name),
            time_s=reading.time_s - start_s,
            power_w=reading.power_w,
            energy_j=reading.energy_j,
            clock_mhz=reading.clock_mhz,
            memory_clock_mhz=reading.memory_clock_mhz,
            temperature_c=reading.temperature_c,
            throttle="+".join(reading.throttle),
        )
        for reading in readings
        if reading.power_w is not None or reading.energy_j is not None
    ]
