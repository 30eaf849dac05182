"""Power and clock under loads that last seconds: what bounds the rate of real training.

A kernel timed alone runs at the boost clock of a cool device. Under load the power limit sets the
clock, so each load warms the device up first and is then measured over seconds, by the device's
energy counter where it has one. Settings of the device are never changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kernels.measurements import Measurement, PowerMeasurement, PowerSample
from kernels.survey.attention import attention_call
from kernels.survey.bandwidth import N_VECTORS, stream_call
from kernels.survey.case import Case
from kernels.survey.gemm import gemm_bytes, gemm_call
from kernels.survey.memory_bound import OPERATIONS, operation_call
from kernels.survey.reading import Reading
from kernels.survey.sampler import Window, summarise
from kernels.survey.setting import Setting
from kernels.survey.shapes import AttentionShape, GemmShape, gemm_of, layer_shapes, linear_layers
from kernels.survey.torch_device import TorchDevice

__all__ = ["Load", "Work", "power_cases", "run_load"]

WARM_UP_S = 1.5
"""Before the measured window: the power controller and its averages settle. [s]"""
IDLE_SETTLE_S = 4.0
"""The same before idle power is read: clocks fall a few seconds after the last kernel. [s]"""
GAP_CYCLE_S = 0.02
"""Work of one busy stretch of a load with idle gaps. [s]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a load does again and again."""

    call: Callable[[int], object]
    flop: float
    """Arithmetic of one call. [flop]"""
    n_bytes: float
    """Least memory traffic of one call. [byte]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A sustained load before it is allocated."""

    workload: str
    dtype: str
    shape: str
    make: Callable[[TorchDevice], Work] | None
    """None: the device idles."""
    duty: float = 1.0
    """Share of the time that the device is given work. [1]"""
    priority: int = 0


def gemm_work(shape: GemmShape, *, dtype: str, data: str) -> Callable[[TorchDevice], Work]:
    """One product, again and again."""

    def make(device: TorchDevice) -> Work:
        n_bytes = gemm_bytes(shape, dtype)
        n_sets = min(4, device.n_sets(n_bytes))
        product = gemm_call(device, shape, dtype=dtype, data=data, n_sets=n_sets)
        return Work(call=product.call, flop=shape.flop, n_bytes=n_bytes)

    return make


def attention_work(shape: AttentionShape, direction: str) -> Callable[[TorchDevice], Work]:
    """One pass of flash attention, again and again."""

    def make(device: TorchDevice) -> Work:
        library = "sdpa-flash"
        calls = attention_call(device, shape, library=library, dtype="bf16", n_sets=2)
        if direction == "bwd":
            n_bytes = 4.0 * shape.n_elements
            return Work(call=calls.backward, flop=shape.backward_flop, n_bytes=n_bytes)
        return Work(call=calls.forward, flop=shape.flop, n_bytes=2.0 * shape.n_elements)

    return make


def stream_work(op: str, *, vector_bytes: int) -> Callable[[TorchDevice], Work]:
    """One stream through memory, again and again."""

    def make(device: TorchDevice) -> Work:
        call = stream_call(device, op, n_elements=vector_bytes // 2, n_sets=1)
        return Work(call=call, flop=0.0, n_bytes=float(N_VECTORS[op] * vector_bytes))

    return make


def layer_work(name: str, *, tp: int, tokens: int) -> Callable[[TorchDevice], Work]:
    """All products of a layer, forward and backward, with attention, norms and activation.

    The mixture of a training step on one device, without its communication.
    """
    model = next(layer for layer in layer_shapes() if layer.name == name)

    def make(device: TorchDevice) -> Work:
        parts = list(_layer_parts(device, tp, tokens))

        def call(index: int) -> None:
            for part in parts:
                part.call(index)

        return Work(
            call=call,
            flop=sum(part.flop for part in parts),
            n_bytes=sum(part.n_bytes for part in parts),
        )

    def _layer_parts(device: TorchDevice, tp: int, tokens: int) -> Iterator[Work]:
        for linear in linear_layers(model, tp=tp)[:-1]:
            for direction in ("fwd", "dgrad", "wgrad"):
                shape = gemm_of(linear, tokens=tokens, direction=direction)
                yield gemm_work(shape, dtype="bf16", data="normal")(device)
        attention = AttentionShape(
            batch=1,
            heads_q=model.n_heads // tp,
            heads_kv=max(1, model.n_kv_heads // tp),
            seq=tokens,
            head_dim=model.head_dim,
            is_causal=True,
        )
        for direction in ("fwd", "bwd"):
            yield attention_work(attention, direction)(device)
            yield operation_work("rmsnorm", direction, tokens, model.hidden)(device)
            yield operation_work("rmsnorm", direction, tokens, model.hidden)(device)
            yield operation_work("swiglu", direction, tokens, model.ffn_hidden // tp)(device)

    return make


def operation_work(
    name: str, direction: str, rows: int, cols: int
) -> Callable[[TorchDevice], Work]:
    """One pass of a memory-bound operation, again and again."""
    operation = OPERATIONS[name]
    per_element = operation.forward_bytes if direction == "fwd" else operation.backward_bytes

    def make(device: TorchDevice) -> Work:
        run = operation_call(operation.make(device, rows, cols), direction, device)
        return Work(call=lambda _index: run(), flop=0.0, n_bytes=per_element * rows * cols)

    return make


def gpu_loads() -> tuple[Load, ...]:
    """Return the loads of a GPU, the most telling first."""
    square = GemmShape(m=8192, n=8192, k=8192, layout="TN")
    heads = AttentionShape(batch=2, heads_q=32, heads_kv=32, seq=8192, head_dim=128, is_causal=True)
    layer = layer_work("llama-3-8b", tp=1, tokens=8192)
    sharded = layer_work("llama-3-70b", tp=8, tokens=8192)
    size, long = "8192x8192x8192", "b2_s8192_hq32_hkv32_d128"

    def gemm(dtype: str, data: str, *, priority: int = 0, duty: float = 1.0) -> Load:
        make = gemm_work(square, dtype=dtype, data=data)
        name = "gemm" if data == "normal" else f"gemm_{data}"
        return Load(workload=name, dtype=dtype, shape=size, make=make, priority=priority, duty=duty)

    def bf16(
        workload: str,
        shape: str,
        make: Callable[[TorchDevice], Work],
        *,
        priority: int = 0,
        duty: float = 1.0,
    ) -> Load:
        return Load(
            workload=workload, dtype="bf16", shape=shape, make=make, priority=priority, duty=duty
        )

    return (
        gemm("bf16", "normal"),
        bf16("attention_bwd_causal", long, attention_work(heads, "bwd")),
        bf16("layer", "llama-3-8b_tp1_t8192", layer),
        bf16("attention_fwd_causal", long, attention_work(heads, "fwd")),
        bf16("copy", "2147483648", stream_work("copy", vector_bytes=2**31)),
        gemm("bf16", "zeros"),
        gemm("fp8", "normal"),
        Load(workload="idle", dtype="", shape="", make=None),
        bf16("layer", "llama-3-8b_tp1_t8192", layer, duty=0.5, priority=1),
        bf16("layer", "llama-3-8b_tp1_t8192", layer, duty=0.8, priority=1),
        bf16("layer", "llama-3-70b_tp8_t8192", sharded, priority=1),
        gemm("bf16", "normal", duty=0.5, priority=1),
        gemm("bf16", "normal", duty=0.25, priority=1),
        gemm("fp16", "normal", priority=1),
        gemm("tf32", "normal", priority=1),
        gemm("fp32", "normal", priority=2),
        bf16("read", "2147483648", stream_work("read", vector_bytes=2**31), priority=1),
        bf16("rmsnorm_bwd", "8192x8192", operation_work("rmsnorm", "bwd", 8192, 8192), priority=2),
        bf16("swiglu_fwd", "8192x14336", operation_work("swiglu", "fwd", 8192, 14336), priority=2),
    )


def cpu_loads() -> tuple[Load, ...]:
    """Return loads small enough for a host."""
    square = GemmShape(m=256, n=256, k=256, layout="TN")
    make = gemm_work(square, dtype="fp32", data="normal")
    return (
        Load(workload="gemm", dtype="fp32", shape="256x256x256", make=make),
        Load(workload="idle", dtype="", shape="", make=None),
        Load(workload="gemm", dtype="fp32", shape="256x256x256", make=make, duty=0.5, priority=1),
    )


def power_cases(setting: Setting, torch_device: TorchDevice) -> list[Case]:
    """Cases of the power family."""
    loads = gpu_loads() if torch_device.is_gpu else cpu_loads()
    return [_case(setting, torch_device, load) for load in loads]


def _case(setting: Setting, torch_device: TorchDevice, load: Load) -> Case:
    words = (load.workload, load.dtype, load.shape, f"duty{load.duty:g}")
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
    return PowerMeasurement(
        **setting.base(key, setting.software.split(";")[0]),
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
