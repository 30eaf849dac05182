"""Time, work and traffic of one layer and of the head on one device, for one micro-batch."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.attention.model import (
    BACKWARD_PRODUCTS,
    FORWARD_PRODUCTS,
    attention_backward_time,
    attention_flop,
    attention_forward_time,
)
from kernels.gemm.model import GemmShape, compulsory_traffic_bytes, gemm_time
from kernels.memory_bound.model import stream_time_s
from kernels.smooth import power_mean_join
from twin.training.device_model import DeviceModel
from twin.training.framework import Counts
from twin.training.job import ELEMENT_BYTES, LOW_PRECISIONS, TrainingJob
from twin.training.operation_time import operation_call_time_s, operation_calls
from twin.training.operations import (
    Gemm,
    attention_calls,
    attention_shape,
    head_gemm,
    layer_gemms,
    micro_batch_tokens,
    ring_merge_bytes,
)
from twin.training.plan import Plan

__all__ = ["KernelTime", "PassTime", "head_passes", "layer_passes"]

HOST_JOIN_EXPONENT = 8.0
"""Smooth maximum between device time and host launches of a layer. [1]"""

STREAM_KERNELS_FORWARD = 4.0
"""Fused streaming kernels of a layer, forward: two norms, rotary, activation. [1]"""


@dataclass(frozen=True, slots=True)
class KernelTime:
    """One kernel or one group of streaming kernels."""

    name: str
    kind: str
    """gemm, attention or stream."""
    time_s: float
    flop: float
    hbm_bytes: float
    dtype: str
    """Width of the operands decides the energy of an operation."""


@dataclass(frozen=True, slots=True)
class PassTime:
    """Forward or backward pass of one layer on one device; `pass_time` makes it."""

    kernels: tuple[KernelTime, ...]
    host_s: float
    """Host time to launch everything. [s]"""
    device_s: float
    """Sum of kernel times. [s]"""
    time_s: float
    """Device time, or the host's where launches are slower, joined smoothly. [s]"""

    @property
    def flop(self) -> float:
        """Matrix work. [flop]"""
        return sum(kernel.flop for kernel in self.kernels)

    @property
    def hbm_bytes(self) -> float:
        """Device-memory traffic. [byte]"""
        return sum(kernel.hbm_bytes for kernel in self.kernels)

    def lengthened_s(self, traffic_s: float) -> float:
        """What traffic between the kernels adds: a pass that waits for its host has room. [s]"""
        device_s = self.device_s + traffic_s
        return power_mean_join(device_s, self.host_s, HOST_JOIN_EXPONENT) - self.time_s

    def kind_s(self, kind: str) -> float:
        """Kernel time of one kind. [s]"""
        return sum(kernel.time_s for kernel in self.kernels if kernel.kind == kind)


def pass_time(kernels: tuple[KernelTime, ...], host_s: float) -> PassTime:
    """The pass that these kernels make; summed once, since a search asks for it often."""
    device_s = sum(kernel.time_s for kernel in kernels)
    time_s = power_mean_join(device_s, host_s, HOST_JOIN_EXPONENT)
    return PassTime(kernels, host_s, device_s, time_s)


@dataclass(frozen=True, slots=True)
class Timer:
    """Kernel times of one job and plan at one clock."""

    job: TrainingJob
    plan: Plan
    device: DeviceModel
    clock_fraction: float

    def gemm(self, name: str, shape: GemmShape, dtype: str) -> KernelTime:
        """One matrix product."""
        time_s = gemm_time(shape, self.device.gemm(dtype, self.clock_fraction)).time_s
        if dtype in LOW_PRECISIONS:
            time_s *= self.job.framework.low_precision_gemm_ratio
        flop = 2.0 * shape.m * shape.n * shape.k
        return KernelTime(name, "gemm", time_s, flop, compulsory_traffic_bytes(shape), dtype)

    def stream(self, name: str, traffic_bytes: float, n_kernels: float) -> KernelTime:
        """Streaming kernels."""
        time_s = stream_time_s(traffic_bytes, n_kernels, self.device.stream())
        return KernelTime(name, "stream", time_s, 0.0, traffic_bytes, self.device.core_dtype)

    def operations(self, counts: Counts, direction: str) -> list[KernelTime]:
        """Memory-bound operations, one by one."""
        dtype = self.device.core_dtype
        return [
            KernelTime(
                call.name,
                "stream",
                operation_call_time_s(call, self.device),
                0.0,
                call.traffic_bytes,
                dtype,
            )
            for call in operation_calls(self.job, self.plan, counts, direction=direction)
        ]


def _sequence_split(plan: Plan) -> float:
    return float(plan.tp) if plan.sequence_parallel else 1.0


def stream_traffic_bytes(job: TrainingJob, plan: Plan) -> float:
    """Forward traffic of norms, residuals, activation and layout changes of one layer. [byte]"""
    model, traffic = job.model, job.framework.traffic
    tokens = micro_batch_tokens(job, plan)
    gates = 2.0 if model.is_gated_mlp else 1.0
    qkv_width = (model.n_heads + 2.0 * model.n_kv_heads) * model.head_dim / plan.tp
    elements = (
        traffic.hidden_passes * model.hidden / _sequence_split(plan)
        + traffic.ffn_passes * gates * model.ffn_hidden / plan.tp
        + traffic.qkv_passes * qkv_width
    )
    return tokens * elements * job.activation_bytes


def cast_traffic_bytes(job: TrainingJob, gemms: tuple[Gemm, ...]) -> float:
    """Forward traffic of converting GEMM inputs below 16 bits; 0 in 16 bits. [byte]"""
    if job.precision not in LOW_PRECISIONS:
        return 0.0
    inputs = sum(gemm.m * gemm.k for gemm in gemms)
    read_and_write = 0.5 * (1.0 + ELEMENT_BYTES[job.precision] / job.activation_bytes)
    return job.framework.low_precision_casts * inputs * job.activation_bytes * read_and_write


def accumulation_traffic_bytes(job: TrainingJob, gemms: tuple[Gemm, ...]) -> float:
    """Traffic of adding weight gradients to their buffer, one micro-batch. [byte]"""
    weights = sum(gemm.n * gemm.k for gemm in gemms)
    return job.framework.traffic.gradient_accumulation_bytes * weights


def _has_separate_softmax(job: TrainingJob, plan: Plan) -> bool:
    """Whether the heads of a rank are too odd a number for the fused softmax."""
    heads = plan.micro_batch * job.model.n_heads // plan.tp
    return heads % job.framework.traffic.fused_softmax_multiple != 0


def _unfused_scores(timer: Timer, *, is_forward: bool) -> tuple[KernelTime, ...]:
    """Batched products over the whole square and passes over the score matrix.

    Context ranks hold a share of the queries and gather the keys of all others.
    """
    job, plan = timer.job, timer.plan
    shape = attention_shape(job, plan)._replace(key_len=float(job.seq_len))
    heads = shape.batch * shape.n_heads
    dtype = timer.device.core_dtype
    width = ELEMENT_BYTES[dtype]
    rows = heads * shape.query_len
    products = FORWARD_PRODUCTS if is_forward else 2.0 * FORWARD_PRODUCTS
    one = GemmShape(shape.query_len, shape.key_len, shape.head_dim, width, width, width, heads)
    time = gemm_time(one, timer.device.gemm(dtype, timer.clock_fraction))
    flop = 2.0 * rows * shape.key_len * shape.head_dim
    score_bytes = rows * shape.key_len * width
    traffic = job.framework.traffic
    passes = traffic.score_passes if is_forward else traffic.score_backward_passes
    if _has_separate_softmax(job, plan):
        passes += traffic.separate_softmax_passes
    stream = timer.stream("attention scores", passes * score_bytes, 3.0)
    batched = KernelTime(
        "attention products", "attention", products * time.time_s, products * flop, 0.0, dtype
    )
    scores = KernelTime(
        "attention scores", "attention", stream.time_s, 0.0, stream.hbm_bytes, dtype
    )
    return (batched, scores)


def _attention_kernels(timer: Timer, *, is_forward: bool) -> tuple[KernelTime, ...]:
    if timer.plan.attention == "unfused":
        return _unfused_scores(timer, is_forward=is_forward)
    machine = timer.device.attention(timer.clock_fraction)
    dtype = timer.device.core_dtype
    compute = attention_forward_time if is_forward else attention_backward_time
    products = FORWARD_PRODUCTS if is_forward else BACKWARD_PRODUCTS
    kernels = []
    for call in attention_calls(timer.job, timer.plan):
        time = compute(call.shape, machine)
        flop = call.n_mean_calls * attention_flop(call.shape, products)
        traffic = call.n_calls * time.memory_s * machine.memory_bandwidth_bytes_per_s
        time_s = call.n_calls * time.time_s
        kernels.append(KernelTime(call.name, "attention", time_s, flop, traffic, dtype))
    return tuple(kernels)


def _host_s(job: TrainingJob, plan: Plan, ratio: float) -> float:
    host = job.framework.host
    n_kernels = host.forward_kernels_per_layer
    if plan.tp > 1:
        n_kernels += host.tensor_parallel_kernels
    if plan.attention == "unfused":
        n_kernels += host.unfused_attention_kernels
        if _has_separate_softmax(job, plan):
            n_kernels += host.separate_softmax_kernels
    return n_kernels * ratio * host.kernel_host_s


def forward_pass(timer: Timer) -> PassTime:
    """One layer forward on one device."""
    job, plan = timer.job, timer.plan
    gemms = layer_gemms(job, plan)
    width = ELEMENT_BYTES[job.precision]
    kernels = [
        timer.gemm(gemm.name, gemm.forward(width, job.activation_bytes), job.precision)
        for gemm in gemms
    ]
    kernels += _attention_kernels(timer, is_forward=True)
    operations = job.framework.operations
    if operations is not None:
        kernels += timer.operations(operations.forward, "fwd")
        return pass_time(tuple(kernels), _host_s(job, plan, 1.0))
    traffic = (
        stream_traffic_bytes(job, plan)
        + cast_traffic_bytes(job, gemms)
        + ring_merge_bytes(job, plan, is_forward=True)
    )
    kernels.append(timer.stream("norms and activation", traffic, STREAM_KERNELS_FORWARD))
    return pass_time(tuple(kernels), _host_s(job, plan, 1.0))


def backward_pass(timer: Timer) -> PassTime:
    """One layer backward on one device: input gradients, weight gradients, accumulation."""
    job, plan = timer.job, timer.plan
    gemms = layer_gemms(job, plan)
    width = ELEMENT_BYTES[job.precision]
    ratio = job.framework.traffic.backward_ratio
    kernels = [
        timer.gemm(
            f"{gemm.name}, input gradient",
            gemm.input_gradient(width, job.activation_bytes),
            job.precision,
        )
        for gemm in gemms
    ]
    kernels += [
        timer.gemm(f"{gemm.name}, weight gradient", gemm.weight_gradient(width), job.precision)
        for gemm in gemms
    ]
    kernels += _attention_kernels(timer, is_forward=False)
    host_s = _host_s(job, plan, job.framework.host.backward_kernels_ratio)
    operations = job.framework.operations
    if operations is not None:
        kernels += timer.operations(operations.backward, "bwd")
        return pass_time(tuple(kernels), host_s)
    traffic = (
        ratio * stream_traffic_bytes(job, plan)
        + 2.0 * cast_traffic_bytes(job, gemms)
        + accumulation_traffic_bytes(job, gemms)
        + ring_merge_bytes(job, plan, is_forward=False)
    )
    kernels.append(timer.stream("norms and activation", traffic, ratio * STREAM_KERNELS_FORWARD))
    return pass_time(tuple(kernels), host_s)


def layer_passes(
    job: TrainingJob, plan: Plan, device: DeviceModel, clock_fraction: float
) -> tuple[PassTime, PassTime]:
    """Forward and backward pass of one layer at a clock."""
    timer = Timer(job, plan, device, clock_fraction)
    return forward_pass(timer), backward_pass(timer)


def head_passes(
    job: TrainingJob, plan: Plan, device: DeviceModel, clock_fraction: float
) -> tuple[PassTime, PassTime]:
    """Forward and backward of final norm, output head and loss on the last stage."""
    timer = Timer(job, plan, device, clock_fraction)
    gemm = head_gemm(job, plan)
    dtype = device.core_dtype
    width = ELEMENT_BYTES[dtype]
    forward_product = timer.gemm("output head", gemm.forward(width, width), dtype)
    backward_products = (
        timer.gemm("output head, input gradient", gemm.input_gradient(width, width), dtype),
        timer.gemm("output head, weight gradient", gemm.weight_gradient(width), dtype),
    )
    operations = job.framework.operations
    if operations is not None:
        first = timer.operations(operations.step, "fwd")
        last = timer.operations(operations.head_backward, "bwd")
        around = timer.operations(operations.head_forward, "fwd")
        return (
            pass_time((forward_product, *first, *around), 0.0),
            pass_time((*backward_products, *last), 0.0),
        )
    loss_bytes = job.framework.traffic.logit_bytes * gemm.m * gemm.n
    accumulation = accumulation_traffic_bytes(job, (gemm,))
    forward = (
        forward_product,
        timer.stream("loss", 0.5 * loss_bytes, 2.0),
    )
    backward = (
        *backward_products,
        timer.stream("loss", 0.5 * loss_bytes + accumulation, 2.0),
    )
    return pass_time(forward, 0.0), pass_time(backward, 0.0)
