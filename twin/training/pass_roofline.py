"""What the kernels of a pass take at least, known without evaluating any.

Products and attention at the rate that the device reaches, or at its bandwidth, and streams as they
are.

References
----------
S. Williams, A. Waterman, D. Patterson, Roofline, CACM 52(4), 2009.
"""

from __future__ import annotations

from collections.abc import Iterator
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
from twin.energy.cap_bound import ClockInterval
from twin.energy.clock import PowerMachine, operand_energy_ratio
from twin.training.job import LOW_PRECISIONS
from twin.training.layer_time import (
    STREAM_KERNELS_FORWARD,
    Timer,
    backward_stream_bytes,
    forward_stream_bytes,
)
from twin.training.operations import attention_calls, layer_gemms

__all__ = ["PassRoof", "attention_roofs", "products_roof", "stream_roofs"]


class PassRoof(NamedTuple):
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

    def least_s(self, slowing_ratio: float) -> float:
        """Least time at a clock, of which the boost clock is that multiple. [s]"""
        return (self.products_s + self.attention_s) * slowing_ratio + self.fixed_s + self.streams_s

    def limited_s(
        self, intervals: tuple[ClockInterval, ...], sampled_s: list[float]
    ) -> Iterator[float]:
        """Least time in each interval, where the line through the samples says at least so much."""
        scaling_s = self.products_s + self.attention_s
        fixed_s = self.fixed_s + self.streams_s
        for interval, line_s in zip(intervals, sampled_s, strict=True):
            slowing_ratio = interval.least_slowing_ratio
            if interval.is_below_probe:
                straight_s, joined_s = self.streams_s, 0.0
            else:
                # What streams and products do not need may all be attention.
                straight_s, joined_s = fixed_s + self.products_s * slowing_ratio, self.joined_s
            within_cap_s = straight_s + (line_s - straight_s) / interval.gap_ratio - joined_s
            yield max(scaling_s * slowing_ratio + fixed_s, within_cap_s)

    def and_then(self, *others: PassRoof) -> PassRoof:
        """All, one after the other."""
        return PassRoof(*map(sum, zip(self, *others, strict=True)))

    def times(self, n: float) -> PassRoof:
        """The same kernels so many times. [1]"""
        return PassRoof(*[n * value for value in self])


def products_roof(
    timer: Timer, shapes: list[tuple[str, GemmShape]], dtype: str, power: PowerMachine
) -> PassRoof:
    """Matrix products of one dtype, each at the rate of arithmetic or at the bandwidth."""
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
    return PassRoof(
        products_s=ratio * products_s,
        fixed_s=ratio * fixed_s,
        joined_s=ratio * joined_s,
        weighted_flop=flop * operand_energy_ratio(dtype, power),
        hbm_bytes=hbm_bytes,
    )


def attention_roofs(timer: Timer, power: PowerMachine) -> tuple[PassRoof, PassRoof]:
    """Fused attention forward and backward, without its traffic; of unfused attention nothing."""
    if timer.plan.attention == "unfused":
        return PassRoof(), PassRoof()
    calls, machine = attention_calls(timer.job, timer.plan), timer.device.attention
    ratio = operand_energy_ratio(timer.device.core_dtype, power)

    def roof(n_products: float, *, is_forward: bool) -> PassRoof:
        attention_s = flop = 0.0
        for call in calls:
            one_s = attention_roof_s(call.shape, machine, is_forward=is_forward)
            attention_s += call.n_calls * one_s
            flop += call.n_mean_calls * attention_flop(call.shape, n_products)
        return PassRoof(attention_s=attention_s, weighted_flop=ratio * flop)

    return roof(FORWARD_PRODUCTS, is_forward=True), roof(BACKWARD_PRODUCTS, is_forward=False)


def stream_roofs(timer: Timer) -> tuple[PassRoof, PassRoof]:
    """What streams around the products in both passes; of single operations nothing is said."""
    job, plan = timer.job, timer.plan
    if job.framework.operations is not None:
        return PassRoof(), PassRoof()
    gemms, n_kernels = layer_gemms(job, plan), STREAM_KERNELS_FORWARD

    def roof(traffic_bytes: float, n_kernels: float) -> PassRoof:
        time_s = timer.stream("streams", traffic_bytes, n_kernels).time_s
        return PassRoof(streams_s=time_s, hbm_bytes=traffic_bytes)

    return (
        roof(forward_stream_bytes(job, plan, gemms), n_kernels),
        roof(
            backward_stream_bytes(job, plan, gemms),
            job.framework.traffic.backward_ratio * n_kernels,
        ),
    )
