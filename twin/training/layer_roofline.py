"""What a layer takes at least, known without evaluating a kernel: a search asks for it first.

Two limits hold at any clock. The roofline: products and attention at the rate that the device
reaches, or at its bandwidth, and streams as they are. And the power cap: the clock is lowered until
the mean power of a layer meets the cap, so energy takes time (`twin.energy.cap_bound`). The first
falls when the clock rises, the second rises with it; which clock it is stays open, so the larger of
both counts in each interval of clocks, and the least of these over all intervals.

References
----------
S. Williams, A. Waterman, D. Patterson, Roofline, CACM 52(4), 2009.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from kernels.attention.model import (
    BACKWARD_PRODUCTS,
    FORWARD_PRODUCTS,
    attention_flop,
    attention_roof_s,
)
from kernels.gemm.model import (
    FLOP_PER_MULTIPLY_ADD,
    GemmShape,
    compulsory_traffic_bytes,
    memory_limit_s,
)
from twin.energy.cap_bound import clock_intervals, times_within_cap_s
from twin.energy.clock import ComputeWork, PowerMachine, operand_energy_ratio
from twin.training.communication import layer_traffic
from twin.training.device_model import ClockedDevice
from twin.training.groups import Communicators
from twin.training.job import LOW_PRECISIONS, TrainingJob
from twin.training.layer_time import (
    STREAM_KERNELS_FORWARD,
    KernelTime,
    PassTime,
    Timer,
    backward_shapes,
    backward_stream_bytes,
    forward_shapes,
    forward_stream_bytes,
    head_shapes,
    host_launch_s,
    pass_time_s,
)
from twin.training.operations import attention_calls, layer_gemms, micro_batch_tokens
from twin.training.plan import Plan, unsharded
from twin.training.traffic_bytes import layer_link_bytes

__all__ = ["FOREVER_S", "LayerRoof", "LayerRoofs"]

FOREVER_S = 1e30
"""Longer than any pass. [s]"""

HIDES_ALL = PassTime(
    tuple(KernelTime("all", kind, FOREVER_S, 0.0, 0.0, "none") for kind in ("gemm", "attention")),
    host_s=0.0,
    device_s=0.0,
    time_s=0.0,
)
"""Kernels behind which all traffic of tensor and context ranks hides that ever can; their own time
is left out, and so no host that launches slowly takes up what does not."""


class LayerRoof(NamedTuple):
    """What a layer and the head take at least at the clock that the cap leaves."""

    by_interval: tuple[tuple[float, float], ...]
    """Kernels of both passes, and of the forward pass alone, for each interval of clocks. [s]"""
    traffic_s: float
    """Traffic of tensor and context ranks in both passes, what the hidden slows included. [s]"""
    forward_traffic_s: float
    head_s: float

    def kernels_s(self, repeated_share: float) -> float:
        """Kernels of a layer that repeats a share of its forward pass. [s]"""
        return min(both_s + repeated_share * forward_s for both_s, forward_s in self.by_interval)


class _Kernels(NamedTuple):
    """Least time of some kernels at clock c: fixed_s + scaling_s / c."""

    scaling_s: float
    """Arithmetic at the boost clock. [s]"""
    fixed_s: float
    """Memory traffic and launches. [s]"""
    weighted_flop: float
    """Their work, weighted by the energy of the operands. [flop]"""
    hbm_bytes: float


class _Products(NamedTuple):
    """Matrix products of a layer and of the head, which many plans share."""

    forward: _Kernels
    backward: _Kernels
    head: _Kernels


def _sum(*parts: _Kernels) -> _Kernels:
    scaling_s = fixed_s = weighted_flop = hbm_bytes = 0.0
    for part in parts:
        scaling_s += part.scaling_s
        fixed_s += part.fixed_s
        weighted_flop += part.weighted_flop
        hbm_bytes += part.hbm_bytes
    return _Kernels(scaling_s, fixed_s, weighted_flop, hbm_bytes)


class LayerRoofs:
    """Least times of the layers of one job.

    Parameters
    ----------
    job
        What is trained.
    device
        Its device at the boost clock.
    power
        Power figures of the device.
    communicators
        Those of a plan, with the times that other plans have asked for.
    """

    def __init__(
        self,
        job: TrainingJob,
        device: ClockedDevice,
        power: PowerMachine,
        communicators: Callable[[Plan], Communicators],
    ) -> None:
        self._job, self._device, self._power = job, device, power
        self._communicators = communicators
        self._intervals = clock_intervals(power)
        self._known: dict[tuple[int, float], _Products] = {}

    def of(self, plan: Plan) -> LayerRoof:
        """Least times of a plan's layer; neither its stages nor its states matter."""
        job, timer = self._job, Timer(self._job, plan, self._device)
        products = self._products_of(timer)
        forward_stream, backward_stream = self._streams(timer)
        forward = _sum(products.forward, self._attention(timer, is_forward=True), forward_stream)
        backward = _sum(
            products.backward, self._attention(timer, is_forward=False), backward_stream
        )
        both = _sum(forward, backward)
        host_ratio = job.framework.host.backward_kernels_ratio
        waiting_s = _waiting_s(forward, host_launch_s(job, plan, 1.0))
        waiting_s += _waiting_s(backward, host_launch_s(job, plan, host_ratio))
        work = ComputeWork(both.weighted_flop, both.hbm_bytes, waiting_s)
        traffic_s = forward_traffic_s = 0.0
        if plan.tp * plan.cp > 1:
            whole = unsharded(plan)
            traffic = layer_traffic(job, whole, self._communicators(whole), HIDES_ALL, HIDES_ALL)
            traffic_s = traffic.exposed_s + traffic.slowdown_s
            forward_traffic_s = traffic.forward_exposed_s
            hidden_s = traffic.tp_hidden_s + traffic.cp_hidden_s
            work = work._replace(
                communicating_s=traffic.exposed_s + hidden_s,
                link_bytes=layer_link_bytes(job, plan),
            )
        steady_s = forward_stream.fixed_s + backward_stream.fixed_s
        by_interval = tuple(self._by_interval(forward, both, steady_s, work))
        head = products.head.fixed_s + products.head.scaling_s
        return LayerRoof(by_interval, traffic_s, forward_traffic_s, head)

    def _by_interval(
        self, forward: _Kernels, both: _Kernels, steady_s: float, work: ComputeWork
    ) -> Iterator[tuple[float, float]]:
        """Roofline or energy, whichever takes longer; streams keep their time at any clock."""
        cap_w = self._job.power_cap_w
        sampled = times_within_cap_s(work, self._intervals, power_cap_w=cap_w, machine=self._power)
        for interval, sampled_s in zip(self._intervals, sampled, strict=True):
            roofline_s = both.fixed_s + both.scaling_s / interval.high
            energy_s = steady_s + (sampled_s - steady_s) / interval.gap_ratio
            forward_s = forward.fixed_s + forward.scaling_s / interval.high
            yield max(roofline_s, energy_s), forward_s

    def _products_of(self, timer: Timer) -> _Products:
        job, plan = timer.job, timer.plan
        key = (plan.tp, micro_batch_tokens(job, plan))
        found = self._known.get(key)
        if found is None:
            gemms, core = layer_gemms(job, plan), self._device.core_dtype
            found = self._known[key] = _Products(
                self._products(forward_shapes(job, gemms), job.precision),
                self._products(backward_shapes(job, gemms), job.precision),
                self._products(head_shapes(job, plan, core), core),
            )
        return found

    def _products(self, shapes: list[tuple[str, GemmShape]], dtype: str) -> _Kernels:
        """Matrix products, each at the rate of arithmetic or at the bandwidth."""
        machine = self._device.gemm(dtype)
        flop_per_s = machine.tensor_efficiency_fraction * machine.peak_flop_per_s
        # On a processor packing takes the place of the memory limit.
        is_packed = machine.pack_a_s + machine.pack_b_s > 0.0
        scaling_s = flop = hbm_bytes = 0.0
        fixed_s = len(shapes) * machine.launch_s
        for _, shape in shapes:
            one_flop = FLOP_PER_MULTIPLY_ADD * shape.m * shape.n * shape.k
            arithmetic_s = one_flop / flop_per_s
            memory_s = 0.0 if is_packed else memory_limit_s(shape, machine)
            if arithmetic_s >= memory_s:
                scaling_s += arithmetic_s
            else:
                fixed_s += memory_s
            flop += one_flop
            hbm_bytes += compulsory_traffic_bytes(shape)
        if dtype in LOW_PRECISIONS:
            ratio = self._job.framework.low_precision_gemm_ratio
            scaling_s, fixed_s = ratio * scaling_s, ratio * fixed_s
        weighted_flop = flop * operand_energy_ratio(dtype, self._power)
        return _Kernels(scaling_s, fixed_s, weighted_flop, hbm_bytes)

    def _attention(self, timer: Timer, *, is_forward: bool) -> _Kernels:
        """Fused attention but for its traffic; of unfused attention nothing."""
        if timer.plan.attention == "unfused":
            return _Kernels(0.0, 0.0, 0.0, 0.0)
        products = FORWARD_PRODUCTS if is_forward else BACKWARD_PRODUCTS
        machine = self._device.attention
        scaling_s = flop = 0.0
        for call in attention_calls(timer.job, timer.plan):
            scaling_s += call.n_calls * attention_roof_s(call.shape, machine, is_forward=is_forward)
            flop += call.n_mean_calls * attention_flop(call.shape, products)
        ratio = operand_energy_ratio(self._device.core_dtype, self._power)
        return _Kernels(scaling_s, 0.0, flop * ratio, 0.0)

    def _streams(self, timer: Timer) -> tuple[_Kernels, _Kernels]:
        """What streams around the products in each pass; nothing of single operations."""
        job, plan = timer.job, timer.plan
        if job.framework.operations is not None:
            nothing = _Kernels(0.0, 0.0, 0.0, 0.0)
            return nothing, nothing
        gemms = layer_gemms(job, plan)
        backward_kernels = job.framework.traffic.backward_ratio * STREAM_KERNELS_FORWARD
        return (
            _stream(timer, forward_stream_bytes(job, plan, gemms), STREAM_KERNELS_FORWARD),
            _stream(timer, backward_stream_bytes(job, plan, gemms), backward_kernels),
        )


def _stream(timer: Timer, traffic_bytes: float, n_kernels: float) -> _Kernels:
    time_s = timer.stream("streams", traffic_bytes, n_kernels).time_s
    return _Kernels(0.0, time_s, 0.0, traffic_bytes)


def _waiting_s(kernels: _Kernels, host_s: float) -> float:
    """How long a pass waits for launches at most: longest where its kernels are fastest. [s]"""
    device_s = kernels.fixed_s + kernels.scaling_s
    return pass_time_s(device_s, host_s) - device_s
