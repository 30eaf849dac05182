"""The profile of a GPU that nobody has described: its figures are what a survey measured."""

from __future__ import annotations

from collections.abc import Sequence

from kernels.measurement_tables import MeasurementError
from kernels.measurements import (
    BandwidthMeasurement,
    GemmMeasurement,
    Measurement,
    PowerMeasurement,
)
from kernels.survey.survey import Survey

__all__ = ["device_text"]

PEAK_DTYPES = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8")
"""Dtypes of surveys that a profile has a peak for."""

ASSUMED_CLOCK_MHZ = 1500.0
ASSUMED_TDP_W = 400.0
IDLE_SHARE = 0.12

_TEXT = """\
# Written by twin calibrate: no profile carried this device. Its peaks and bandwidth are the best
# that was measured, so shares of them are not shares of a datasheet: put that in their place, and
# the clock and power limit of the device where they are assumed.
schema_version = 1
kind = "accelerator"
name = "{name}"
title = "{title}"
vendor = "{vendor}"
architecture = "{architecture}"
aliases = ["{title}"]

[compute]
n_units = {n_units}
boost_clock_mhz = {clock_mhz:.0f}

[compute.peak_dense]
{peaks}

[memory]
capacity_gib = {capacity_gib:.2f}
bandwidth_gb_per_s = {bandwidth_gb_per_s:.1f}
l2_mib = {l2_mib:.2f}

[power]
tdp_w = {tdp_w:.0f}
idle_w = {idle_w:.0f}

[module]
n_devices = 1
form_factor = "card"

[[sources]]
keys = ["*"]
figure_class = "measured"
text = "survey of twin calibrate, {date}: driver, fastest product of each type, fastest copy"

[[sources]]
keys = ["compute.boost_clock_hz", "power.tdp_w", "power.idle_w"]
figure_class = "{power_class}"
text = "{power_text}"
"""


def device_text(survey: Survey, *, name: str, date: str) -> str:
    """TOML text of the accelerator.

    Raises
    ------
    MeasurementError
        The survey holds no product or no copy, without which there is nothing to scale by.
    """
    device = survey.device
    rows = survey.store.rows
    peaks = _peaks(rows("gemm"))
    copies = [row.GBps for row in rows("bandwidth") if isinstance(row, BandwidthMeasurement)]
    if not peaks or not copies:
        msg = (
            f"{survey.store.folder}: holds no {'copy' if peaks else 'matrix product'}; "
            f"a profile of {device.name}, which none carries, needs both"
        )
        raise MeasurementError(msg)
    clocks = [row.clock_mhz for row in rows("gemm") if row.clock_mhz]
    limits = [
        row.power_limit_w
        for row in rows("power")
        if isinstance(row, PowerMeasurement) and row.power_limit_w
    ]
    has_sensor = bool(clocks and limits)
    tdp_w = max(limits, default=ASSUMED_TDP_W)
    return _TEXT.format(
        name=name,
        title=device.name.replace('"', "'"),
        vendor=device.vendor,
        architecture=device.architecture.replace("_", "-"),
        n_units=device.n_units,
        clock_mhz=max(clocks, default=ASSUMED_CLOCK_MHZ),
        peaks="\n".join(f"{dtype}_tflop_per_s = {peak:.1f}" for dtype, peak in peaks.items()),
        capacity_gib=device.memory_bytes / 2**30,
        bandwidth_gb_per_s=max(copies),
        l2_mib=max(device.cache_bytes, 2**20) / 2**20,
        tdp_w=tdp_w,
        idle_w=_idle_w(rows("power"), tdp_w),
        date=date,
        power_class="measured" if has_sensor else "assumed",
        power_text="sensor during the survey: highest clock, power limit, mean of the idle load"
        if has_sensor
        else "no sensor: clock and power of a common card",
    )


def _peaks(rows: Sequence[Measurement]) -> dict[str, float]:
    """Rate of the fastest product by dtype. [1e12 flop/s]"""
    best: dict[str, float] = {}
    for row in rows:
        if isinstance(row, GemmMeasurement) and row.latency_us and row.dtype in PEAK_DTYPES:
            rate = 2e-6 * row.m * row.n * row.k * row.batch / row.latency_us
            best[row.dtype] = max(best.get(row.dtype, 0.0), rate)
    return {dtype: best[dtype] for dtype in PEAK_DTYPES if dtype in best}


def _idle_w(rows: Sequence[Measurement], tdp_w: float) -> float:
    idle = [
        row.power_w
        for row in rows
        if isinstance(row, PowerMeasurement) and row.workload == "idle" and row.power_w
    ]
    return min(idle, default=IDLE_SHARE * tdp_w)
