"""The profile of one host thread: facts as TOML text, constants as calibration structs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec
import numpy as np

from hardware_profiles.calibration import (
    AttentionCalibration,
    Calibration,
    GemmCalibration,
    GemmImplementation,
    MemoryBoundCalibration,
    OperationCalibration,
    PowerCalibration,
    Provenance,
)
from kernels.calibration.report import FitReport
from kernels.calibration.simplex import judge
from kernels.host.case import ATTENTION, DTYPE, GEMM, OPERATIONS
from kernels.host.facts import HostFacts
from kernels.host.fit import STREAM, FittedPart, HostFit
from kernels.host.formulas import ATTENTION_FIXED, GEMM_FIXED, own_tile

__all__ = ["ATTENTION_NAME", "accelerator_text", "host_calibration", "host_reports"]

ATTENTION_NAME = "numba"
"""Attention of the project's own kernels, as frameworks choose it."""

BUSY_W, ARITHMETIC_W, MEMORY_W = 7.0, 2.5, 1.0
"""What clocked units, arithmetic and traffic at full rate draw above idle. [W]"""

FP32_OVER_16_BITS = 4.0
"""Energy of an operation in fp32 over that of one in 16 bits, which profiles state: the power model
(twin/energy/clock.py) multiplies by it. [1]"""

POWER_SPREAD_FRACTION = 0.5
"""The power is assumed: it may well be a half more or less. [1]"""

Struct = TypeVar("Struct", bound=msgspec.Struct)
Judged = Callable[[FittedPart], Provenance]

_ACCELERATOR = """# One thread of the processor that `twin calibrate` ran on.
schema_version = 1
kind = "accelerator"
name = "{name}"
title = "{title}, one thread"
vendor = "host"
architecture = "{architecture}"
aliases = ["{alias}"]

[compute]
n_units = 1
boost_clock_mhz = {clock_mhz:.0f}

[compute.peak_dense]
fp32_gflop_per_s = {peak_gflop_per_s:.1f}

[memory]
capacity_gb = {capacity_gb:.2f}
bandwidth_gb_per_s = {bandwidth_gb_per_s:.2f}
l2_kib = {l2_kib:.0f}

[power]
tdp_w = {tdp_w}
idle_w = {idle_w}

[module]
n_devices = 1
form_factor = "thread of a processor"

[[sources]]
keys = ["*"]
figure_class = "assumed"
text = "power: a core's share of a server processor, which nothing here measures"

[[sources]]
keys = ["compute.peak_flop_per_s.*"]
figure_class = "measured"
text = "rate that single-precision products of the BLAS behind NumPy approach, {when}"

[[sources]]
keys = ["memory.bandwidth_bytes_per_s"]
figure_class = "measured"
text = "copies far larger than the caches, read and write counted, {when}"

[[sources]]
keys = ["compute.boost_clock_hz"]
figure_class = "assumed"
text = "{clock_source}"

[[sources]]
keys = ["memory.l2_bytes"]
figure_class = "assumed"
text = "{l2_source}"

[[sources]]
keys = ["memory.capacity_bytes", "compute.n_units"]
figure_class = "measured"
text = "memory of the system; one thread by choice"
"""

TDP_W, IDLE_W = 32, 4
"""The most that a core may draw, and its share of an idle server processor of 205 to 280 W. The
first is no measured limit: it lies above what the shares below add up to at full rate, traffic in
caches and their spread included, since nothing caps the clock at which all was measured. [W]"""


def _quoted(text: str) -> str:
    return text.replace("\\", "").replace('"', "'")


def accelerator_text(facts: HostFacts, fit: HostFit, *, date: str) -> str:
    """The profile without its calibration tables."""
    figures = fit.figures
    return _ACCELERATOR.format(
        name=facts.name,
        title=_quoted(facts.device.name),
        alias=_quoted(facts.device.name),
        architecture=facts.device.architecture.replace("_", "-"),
        clock_mhz=facts.clock_hz / 1e6,
        peak_gflop_per_s=figures.peak_flop_per_s / 1e9,
        capacity_gb=max(facts.device.memory_bytes, 1e9) / 1e9,
        bandwidth_gb_per_s=figures.bandwidth_bytes_per_s / 1e9,
        l2_kib=facts.l2_bytes / 1024.0,
        tdp_w=TDP_W,
        idle_w=IDLE_W,
        when=f"one thread by its CPU time, {date}",
        clock_source=facts.clock_source,
        l2_source=facts.l2_source,
    )


def host_calibration(fit: HostFit, judged: Judged) -> Calibration:
    """Constants of all families; `judged` says of each part how it was obtained."""
    blas, forward = fit.parts[GEMM, "blas"], fit.parts[ATTENTION, "fwd"]
    backward = fit.parts[ATTENTION, "bwd"]
    implementations = {}
    if (GEMM, "numba") in fit.parts:
        own = fit.parts[GEMM, "numba"]
        values = {name.removeprefix("own_"): value for name, value in own.values.items()}
        implementations["numba"] = _struct(GemmImplementation, values | own_tile(), judged(own))
    gemm = GEMM_FIXED | blas.values | {"implementations": implementations}
    # Packed products have no supply beside their packing: it is that of memory.
    gemm["feed_bytes_per_clock"] = fit.figures.bandwidth_bytes_per_s / fit.figures.clock_hz
    attention = ATTENTION_FIXED | forward.values | backward.values
    return Calibration(
        gemm={DTYPE: _struct(GemmCalibration, gemm, judged(blas))},
        attention={
            ATTENTION_NAME: _struct(
                AttentionCalibration,
                attention | {"backward_provenance": msgspec.to_builtins(judged(backward))},
                judged(forward),
            )
        },
        memory_bound=_memory_bound(fit, judged),
        power=_power(fit),
    )


def _power(fit: HostFit) -> PowerCalibration:
    """Shares of an assumed power; the clock is never lowered, since rates were measured as is."""
    return PowerCalibration(
        busy_w=BUSY_W,
        energy_per_flop_j=ARITHMETIC_W / FP32_OVER_16_BITS / fit.figures.peak_flop_per_s,
        energy_per_hbm_byte_j=MEMORY_W / fit.figures.bandwidth_bytes_per_s,
        energy_per_link_byte_j=0.0,
        voltage_slope=0.0,
        minimum_clock_fraction=1.0,
        provenance=Provenance(
            figure_class="assumed",
            source="a core's share of a server processor, which nothing here measures",
            relative_spread_fraction=POWER_SPREAD_FRACTION,
        ),
    )


def _struct(kind: type[Struct], values: Mapping[str, object], provenance: Provenance) -> Struct:
    known = {**msgspec.to_builtins(values), "provenance": msgspec.to_builtins(provenance)}
    return msgspec.convert(known, kind)


def _memory_bound(fit: HostFit, judged: Judged) -> MemoryBoundCalibration:
    stream = fit.parts[OPERATIONS, STREAM]
    operations = {}
    for (family, name), part in fit.parts.items():
        if family != OPERATIONS:
            continue
        values = {key: value for key, value in part.values.items() if key != "cache_bytes"}
        # Rows cost the same wherever they begin: there are no vector loads of a block of threads.
        if "row_s" in values:
            values["unaligned_row_s"] = values["row_s"]
        operations[name] = _struct(OperationCalibration, values, judged(part))
    return MemoryBoundCalibration(
        bandwidth_efficiency_fraction=1.0,
        launch_s=stream.values["launch_s"],
        cached_bandwidth_ratio=stream.values["cached_bandwidth_ratio"],
        cache_bytes=stream.values["cache_bytes"],
        operations=operations,
        provenance=judged(stream),
    )


def host_reports(name: str, fit: HostFit, judged: Judged) -> tuple[FitReport, ...]:
    """Errors by family, dtype and part, as the verb reports them."""
    parts = [
        FitReport(device=name, family=family, dtype=DTYPE, part=part, provenance=judged(one))
        for (family, part), one in fit.parts.items()
        if family != OPERATIONS
    ]
    own = [one for (family, _), one in fit.parts.items() if family == OPERATIONS]
    operations = FitReport(
        device=name,
        family="ops",
        dtype=DTYPE,
        provenance=judged(_together(fit)),
        by_library={one.part: judged(one) for one in own},
    )
    return (*parts, operations)


def _together(fit: HostFit) -> FittedPart:
    """All operations as one part: their errors over all of them."""
    rows = [one for one in fit.times if one.case.family == OPERATIONS]
    parts = [[one for one in rows if one.case.is_heldout is flag] for flag in (False, True)]
    errors = [
        judge(
            np.array([fit.predicted_s(one.case) for one in part]),
            np.array([one.seconds for one in part]),
        )
        for part in parts
    ]
    return FittedPart(
        family=OPERATIONS,
        part="all",
        values={},
        n_fitted=len(parts[0]),
        fitted=errors[0],
        heldout=errors[1],
    )
