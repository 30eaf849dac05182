"""What a layer takes at least at the clock that the power cap leaves, whichever that is.

Two limits hold at any clock: what the kernels take at least (`pass_roofline`), and that energy
takes time, since the clock is lowered until the mean power of a layer meets the cap
(`twin.energy.cap_bound`). The first falls when the clock rises, the second rises with it; the
larger of both counts in each interval of clocks, and the least of these over all intervals.

The second bounds the line through two samples, from which the clock is taken, and kernels may take
less than it says. Streams lie on it. A product takes the smooth maximum of arithmetic, a / c at
clock c, and memory, m: convex in 1 / c, and whichever tile is best, its own line is no lower than
that through the best at either end. So between the samples it falls short by no more than joining m
adds to a, which is most for the least a. Attention falls short by no more than the ratio in
`ClockInterval` allows, and so does everything below the slower sample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from twin.energy.cap_bound import clock_intervals, gap_ratio, times_within_cap_s
from twin.energy.clock import (
    PROBE_CLOCK_FRACTION,
    ComputeWork,
    PowerMachine,
)
from twin.training.communication import layer_traffic
from twin.training.groups import Communicators
from twin.training.launches import NO_LAUNCHES, Launches
from twin.training.layer_time import (
    KernelTime,
    PassTime,
    Timer,
    backward_shapes,
    forward_shapes,
    head_shapes,
    layer_launches,
)
from twin.training.operations import layer_gemms, micro_batch_tokens
from twin.training.pass_roofline import PassRoof, attention_roofs, products_roof, stream_roofs
from twin.training.plan import Plan, unsharded
from twin.training.traffic_bytes import layer_link_bytes

__all__ = ["FOREVER_S", "LayerRoof", "LayerRoofs", "sampled_pass_s"]

FOREVER_S = 1e30
"""Longer than any pass. [s]"""

HIDES_ALL = PassTime(
    tuple(KernelTime("all", kind, FOREVER_S, 0.0, 0.0, "none") for kind in ("gemm", "attention")),
    launches=NO_LAUNCHES,
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


class _Products(NamedTuple):
    """Products of a layer and of the head, which plans with equal tokens and weights share."""

    forward: PassRoof
    backward: PassRoof
    head: PassRoof


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
        self._attention_of_one: dict[tuple[str, int], tuple[PassRoof, PassRoof]] = {}

    def of(self, plan: Plan) -> LayerRoof:
        """Least times of a plan's layer; neither its stages nor its states matter."""
        timer = self._timer(plan)
        job = timer.job
        products = self._products(timer)
        attention, streams = self._attention(timer), stream_roofs(timer)
        forward = products.forward.and_then(attention[0], streams[0])
        backward = products.backward.and_then(attention[1], streams[1])
        host_ratio = job.framework.host.backward_kernels_ratio
        waiting_s = _waiting_s(forward, layer_launches(job, plan, 1.0))
        waiting_s += _waiting_s(backward, layer_launches(job, plan, host_ratio))
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
            tuple(forward.least_s(interval.least_slowing_ratio) for interval in self._intervals),
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
                products_roof(timer, forward_shapes(job, gemms), job.precision, self._power),
                products_roof(timer, backward_shapes(job, gemms), job.precision, self._power),
                products_roof(timer, head_shapes(job, plan, core), core, self._power),
            )
        return found

    def _attention(self, timer: Timer) -> tuple[PassRoof, PassRoof]:
        """Heads and sequences take equal time, so context ranks alone make a difference."""
        plan = timer.plan
        found = self._attention_of_one.get((plan.attention, plan.cp))
        share = plan.micro_batch / plan.tp
        if found is None:
            forward, backward = attention_roofs(timer, self._power)
            found = forward.times(1.0 / share), backward.times(1.0 / share)
            self._attention_of_one[plan.attention, plan.cp] = found
        forward, backward = found
        return forward.times(share), backward.times(share)


def _waiting_s(kernels: PassRoof, launches: Launches) -> float:
    """How long a pass waits for launches at most: longest where its kernels are fastest. [s]"""
    device_s = kernels.least_s(1.0)
    return launches.pass_s(device_s) - device_s


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
