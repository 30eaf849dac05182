"""What a layer takes at least, known without evaluating a kernel: a search asks for it first.

Two limits hold at any clock. The roofline: products and attention at the rate that the device
reaches, or at its bandwidth, and streams as they are. And the power cap: the clock is lowered until
the mean power of a layer meets the cap, so energy takes time (`twin.energy.cap_bound`). The first
falls when the clock rises, the second rises with it; which clock it is stays open, so the larger of
both counts in each interval of clocks, and the least of these over all intervals.

The second bounds the line through two samples, from which the clock is taken, and kernels may take
less than it says. Streams lie on it. A product takes the smooth maximum of arithmetic, a / c at
clock c, and memory, m: convex in 1 / c, and whichever tile is best, its own line is no lower than
that through the best at either end. So between the samples it falls short by no more than joining m
adds to a, which is most for the least a. Attention falls short by no more than the ratio in
`ClockInterval` allows, and so does everything below the slower sample.

References
----------
S. Williams, A. Waterman, D. Patterson, Roofline, CACM 52(4), 2009.
"""

from __future__ import annotations

import operator
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
from kernels.smooth import power_mean_join
from twin.energy.cap_bound import ClockInterval, clock_intervals, gap_ratio, times_within_cap_s
from twin.energy.clock import (
    PROBE_CLOCK_FRACTION,
    ComputeWork,
    PowerMachine,
    operand_energy_ratio,
)
from twin.training.communication import layer_traffic
from twin.training.groups import Communicators
from twin.training.job import LOW_PRECISIONS
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

__all__ = ["FOREVER_S", "LayerRoof", "LayerRoofs", "sampled_pass_s"]

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

    both_s: tuple[float, ...]
    """Kernels of both passes, for each interval of clocks. [s]"""
    forward_s: tuple[float, ...]
    """Those of the forward pass alone. [s]"""
    traffic_s: float
    """Traffic of tensor and context ranks in both passes, what the hidden slows included. [s]"""
    forward_traffic_s: float
    head_s: float
    joined_s: tuple[float, float]
    """By how much products of each pass may fall below a line between two clocks. [s]"""

    def kernels_s(self, repeated_share: float) -> float:
        """Kernels of a layer that repeats a share of its forward pass. [s]"""
        if repeated_share == 0.0:
            return min(self.both_s)
        passes = zip(self.both_s, self.forward_s, strict=True)
        return min(both_s + repeated_share * forward_s for both_s, forward_s in passes)


class _Pass(NamedTuple):
    """All kernels of one direction, or of both; of some of them what the others need is 0."""

    products_s: float = 0.0
    """Arithmetic of products at the boost clock, where it limits them. [s]"""
    attention_s: float = 0.0
    """Matrix work and exponentials of attention at the boost clock. [s]"""
    fixed_s: float = 0.0
    """Launches of products, and memory traffic where it limits them. [s]"""
    streams_s: float = 0.0
    joined_s: float = 0.0
    """What memory traffic of products may add to their arithmetic at the boost clock. [s]"""
    weighted_flop: float = 0.0
    """Work of products and attention, weighted by the energy of the operands. [flop]"""
    hbm_bytes: float = 0.0
    """Of products and streams. [byte]"""

    def least_s(self, slowing: float) -> float:
        """Least time at a clock, of which the boost clock is that multiple. [s]"""
        return (self.products_s + self.attention_s) * slowing + self.fixed_s + self.streams_s

    def limited_s(
        self, intervals: tuple[ClockInterval, ...], sampled_s: list[float]
    ) -> Iterator[float]:
        """Least time in each interval, where the line through the samples says at least so much."""
        scaling_s = self.products_s + self.attention_s
        fixed_s = self.fixed_s + self.streams_s
        for interval, line_s in zip(intervals, sampled_s, strict=True):
            slowing = interval.least_slowing
            if interval.is_below_probe:
                straight_s, joined_s = self.streams_s, 0.0
            else:
                # What streams and products do not need may all be attention.
                straight_s, joined_s = fixed_s + self.products_s * slowing, self.joined_s
            within_cap_s = straight_s + (line_s - straight_s) / interval.gap_ratio - joined_s
            yield max(scaling_s * slowing + fixed_s, within_cap_s)

    def and_then(self, other: _Pass) -> _Pass:
        """Both, one after the other."""
        return _Pass(*map(operator.add, self, other))


class _Products(NamedTuple):
    """Products of a layer and of the head, which plans with equal tokens and weights share."""

    forward: _Pass
    backward: _Pass
    head: _Pass


class LayerRoofs:
    """Least times of the layers of one job.

    Parameters
    ----------
    timer
        Times kernels of a plan at the boost clock.
    communicators
        Those of a plan, with the times that other plans have asked for.
    power
        Power figures of the device.
    """

    def __init__(
        self,
        timer: Callable[[Plan], Timer],
        communicators: Callable[[Plan], Communicators],
        power: PowerMachine,
    ) -> None:
        self._timer, self._communicators, self._power = timer, communicators, power
        self._intervals = clock_intervals(power)
        self._known: dict[tuple[int, float], _Products] = {}

    def of(self, plan: Plan) -> LayerRoof:
        """Least times of a plan's layer; neither its stages nor its states matter."""
        timer = self._timer(plan)
        job = timer.job
        products = self._products(timer)
        forward = products.forward.and_then(self._attention(timer, is_forward=True))
        forward = forward.and_then(_streams(timer, is_forward=True))
        backward = products.backward.and_then(self._attention(timer, is_forward=False))
        backward = backward.and_then(_streams(timer, is_forward=False))
        host_ratio = job.framework.host.backward_kernels_ratio
        waiting_s = _waiting_s(forward, host_launch_s(job, plan, 1.0))
        waiting_s += _waiting_s(backward, host_launch_s(job, plan, host_ratio))
        both = forward.and_then(backward)
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
        sampled_s = times_within_cap_s(
            work, self._intervals, power_cap_w=job.power_cap_w, machine=self._power
        )
        return LayerRoof(
            tuple(both.limited_s(self._intervals, sampled_s)),
            tuple(forward.least_s(interval.least_slowing) for interval in self._intervals),
            traffic_s,
            forward_traffic_s,
            products.head.least_s(1.0),
            (forward.joined_s, backward.joined_s),
        )

    def _products(self, timer: Timer) -> _Products:
        job, plan = timer.job, timer.plan
        key = (plan.tp, micro_batch_tokens(job, plan))
        found = self._known.get(key)
        if found is None:
            gemms, core = layer_gemms(job, plan), timer.device.core_dtype
            found = self._known[key] = _Products(
                self._sum(timer, forward_shapes(job, gemms), job.precision),
                self._sum(timer, backward_shapes(job, gemms), job.precision),
                self._sum(timer, head_shapes(job, plan, core), core),
            )
        return found

    def _sum(self, timer: Timer, shapes: list[tuple[str, GemmShape]], dtype: str) -> _Pass:
        machine = timer.device.gemm(dtype)
        flop_per_s = machine.tensor_efficiency_fraction * machine.peak_flop_per_s
        # On a processor packing takes the place of the memory limit.
        is_packed = machine.pack_a_s + machine.pack_b_s > 0.0
        # A plain sum of both limits is straight, and so is the rest of it.
        is_straight = is_packed or machine.overlap_exponent <= 1.0
        products_s = joined_s = flop = hbm_bytes = 0.0
        fixed_s = len(shapes) * machine.launch_s
        for _, shape in shapes:
            one_flop = FLOP_PER_MULTIPLY_ADD * shape.m * shape.n * shape.k
            arithmetic_s = one_flop / flop_per_s
            memory_s = 0.0 if is_packed else memory_limit_s(shape, machine)
            if arithmetic_s >= memory_s:
                products_s += arithmetic_s
            else:
                fixed_s += memory_s
            if not is_straight:
                both_s = power_mean_join(arithmetic_s, memory_s, machine.overlap_exponent)
                joined_s += both_s - arithmetic_s
            flop += one_flop
            hbm_bytes += compulsory_traffic_bytes(shape)
        ratio = 1.0
        if dtype in LOW_PRECISIONS:
            ratio = timer.job.framework.low_precision_gemm_ratio
        return _Pass(
            products_s=ratio * products_s,
            fixed_s=ratio * fixed_s,
            joined_s=ratio * joined_s,
            weighted_flop=flop * operand_energy_ratio(dtype, self._power),
            hbm_bytes=hbm_bytes,
        )

    def _attention(self, timer: Timer, *, is_forward: bool) -> _Pass:
        """Fused attention without its traffic; of unfused attention nothing is said."""
        if timer.plan.attention == "unfused":
            return _Pass()
        machine = timer.device.attention
        n_products = FORWARD_PRODUCTS if is_forward else BACKWARD_PRODUCTS
        attention_s = flop = 0.0
        for call in attention_calls(timer.job, timer.plan):
            one_s = attention_roof_s(call.shape, machine, is_forward=is_forward)
            attention_s += call.n_calls * one_s
            flop += call.n_mean_calls * attention_flop(call.shape, n_products)
        ratio = operand_energy_ratio(timer.device.core_dtype, self._power)
        return _Pass(attention_s=attention_s, weighted_flop=ratio * flop)


def _streams(timer: Timer, *, is_forward: bool) -> _Pass:
    """What streams around the products; of single operations nothing is said."""
    job, plan = timer.job, timer.plan
    if job.framework.operations is not None:
        return _Pass()
    gemms, n_kernels = layer_gemms(job, plan), STREAM_KERNELS_FORWARD
    if is_forward:
        traffic_bytes = forward_stream_bytes(job, plan, gemms)
    else:
        traffic_bytes = backward_stream_bytes(job, plan, gemms)
        n_kernels *= job.framework.traffic.backward_ratio
    time_s = timer.stream("streams", traffic_bytes, n_kernels).time_s
    return _Pass(streams_s=time_s, hbm_bytes=traffic_bytes)


def _waiting_s(kernels: _Pass, host_s: float) -> float:
    """How long a pass waits for launches at most: longest where its kernels are fastest. [s]"""
    device_s = kernels.least_s(1.0)
    return pass_time_s(device_s, host_s) - device_s


def sampled_pass_s(
    full: PassTime, probed: PassTime, clock_fraction: float, joined_s: float
) -> float:
    """Least time of the kernels of a pass at a clock, from their times at the boost and the probe.

    Parameters
    ----------
    full, probed
        The pass at both clocks.
    clock_fraction
        Clock over the boost clock. [1]
    joined_s
        Of `LayerRoof`. [s]

    Returns
    -------
    float
        Above the probe the line between both, less what kernels may fall below it. [s]
    """
    if clock_fraction <= PROBE_CLOCK_FRACTION:
        return probed.device_s
    share = (1.0 / clock_fraction - 1.0) / (1.0 / PROBE_CLOCK_FRACTION - 1.0)
    line_s = full.device_s + share * (probed.device_s - full.device_s)
    boosted_s = full.kind_s("attention")
    attention_s = boosted_s + share * (probed.kind_s("attention") - boosted_s)
    return line_s - joined_s - attention_s * (1.0 - 1.0 / gap_ratio(clock_fraction))
