"""Time, work and traffic of one layer and of the head on one device, for one micro-batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from kernels.attention.model import (
    BACKWARD_PRODUCTS,
    FORWARD_PRODUCTS,
    attention_backward_time,
    attention_flop,
    attention_forward_time,
)
from kernels.gemm.model import GemmShape, compulsory_traffic_bytes, gemm_time
from kernels.memory_bound.model import stream_time_s
from twin.training.device_model import ClockedDevice
from twin.training.framework import Counts
from twin.training.job import ELEMENT_BYTES, LOW_PRECISIONS, TrainingJob
from twin.training.launches import NO_LAUNCHES, Launches, launches_of
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

__all__ = [
    "STREAM_KERNELS_FORWARD",
    "KernelTime",
    "KnownKernels",
    "PassTime",
    "Timer",
    "backward_shapes",
    "backward_stream_bytes",
    "forward_shapes",
    "forward_stream_bytes",
    "head_passes",
    "head_shapes",
    "layer_launches",
    "layer_passes",
]

STREAM_KERNELS_FORWARD = 4.0
"""Fused streaming kernels of a layer, forward: two norms, rotary, activation. [1]"""


class KernelTime(NamedTuple):
    """One kernel or one group of streaming kernels."""

    name: str
    kind: str
    """gemm, attention or stream."""
    time_s: float
    flop: float
    hbm_bytes: float
    dtype: str
    """Width of the operands decides the energy of an operation."""


KnownKernels = dict[tuple[object, ...], tuple[KernelTime, ...]]
"""Kernels of one job by what they depend on, so that plans which share them evaluate them once."""


@dataclass(frozen=True, slots=True)
class PassTime:
    """Forward or backward pass of one layer on one device; `pass_time` makes it."""

    kernels: tuple[KernelTime, ...]
    launches: Launches
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
        return self.launches.pass_s(self.device_s + traffic_s) - self.time_s

    def kind_s(self, kind: str) -> float:
        """Kernel time of one kind. [s]"""
        return sum(kernel.time_s for kernel in self.kernels if kernel.kind == kind)


def pass_time(kernels: tuple[KernelTime, ...], launches: Launches) -> PassTime:
    """The pass that these kernels make; summed once, since a search asks for it often."""
    device_s = sum(kernel.time_s for kernel in kernels)
    return PassTime(kernels, launches, device_s, launches.pass_s(device_s))


@dataclass(frozen=True, slots=True)
class Timer:
    """Kernel times of one job and plan on a device at one clock."""

    job: TrainingJob
    plan: Plan
    device: ClockedDevice
    known: KnownKernels = field(default_factory=dict)
    """Kernels of the same job and device, under any plan."""

    def once(
        self, what: tuple[object, ...], kernels: Callable[[], tuple[KernelTime, ...]]
    ) -> tuple[KernelTime, ...]:
        """Kernels that depend on the clock and on what is named, evaluated if they are new."""
        key = (*what, self.device.clock_fraction)
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = kernels()
        return found

    def gemms(self, shapes: list[tuple[str, GemmShape]], dtype: str) -> tuple[KernelTime, ...]:
        """Matrix products of one dtype."""
        machine = self.device.gemm(dtype)
        kernels = []
        for name, shape in shapes:
            time_s = gemm_time(shape, machine).time_s
            if dtype in LOW_PRECISIONS:
                time_s *= self.job.framework.low_precision_gemm_ratio
            flop = 2.0 * shape.m * shape.n * shape.k
            traffic_bytes = compulsory_traffic_bytes(shape)
            kernels.append(KernelTime(name, "gemm", time_s, flop, traffic_bytes, dtype))
        return tuple(kernels)

    def stream(self, name: str, traffic_bytes: float, n_kernels: float) -> KernelTime:
        """Streaming kernels."""
        time_s = stream_time_s(traffic_bytes, n_kernels, self.device.stream)
        return KernelTime(name, "stream", time_s, 0.0, traffic_bytes, self.device.core_dtype)

    def operations(self, counts: Counts, direction: str) -> list[KernelTime]:
        """Memory-bound operations, one by one."""
        dtype = self.device.core_dtype
        return [
            KernelTime(
                call.name,
                "stream",
                operation_call_time_s(call, self.device.device),
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


def forward_stream_bytes(job: TrainingJob, plan: Plan, gemms: tuple[Gemm, ...]) -> float:
    """Traffic of what streams around a layer's products, forward. [byte]"""
    return (
        stream_traffic_bytes(job, plan)
        + cast_traffic_bytes(job, gemms)
        + ring_merge_bytes(job, plan, is_forward=True)
    )


def backward_stream_bytes(job: TrainingJob, plan: Plan, gemms: tuple[Gemm, ...]) -> float:
    """The same, backward: gradients are cast twice and added to their buffer. [byte]"""
    return (
        job.framework.traffic.backward_ratio * stream_traffic_bytes(job, plan)
        + 2.0 * cast_traffic_bytes(job, gemms)
        + accumulation_traffic_bytes(job, gemms)
        + ring_merge_bytes(job, plan, is_forward=False)
    )


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
    time = gemm_time(one, timer.device.gemm(dtype))
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
    plan = timer.plan
    what = ("attention", is_forward, plan.tp, plan.cp, plan.micro_batch, plan.attention)
    return timer.once(what, lambda: _new_attention_kernels(timer, is_forward=is_forward))


def _new_attention_kernels(timer: Timer, *, is_forward: bool) -> tuple[KernelTime, ...]:
    if timer.plan.attention == "unfused":
        return _unfused_scores(timer, is_forward=is_forward)
    machine = timer.device.attention
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


def layer_launches(job: TrainingJob, plan: Plan, kernels_ratio: float) -> Launches:
    """Launches of a layer's kernels, forward times that ratio."""
    host = job.framework.host
    n_kernels = host.forward_kernels_per_layer
    if plan.tp > 1:
        n_kernels += host.tensor_parallel_kernels
    if plan.attention == "unfused":
        n_kernels += host.unfused_attention_kernels
        if _has_separate_softmax(job, plan):
            n_kernels += host.separate_softmax_kernels
    return launches_of(n_kernels * kernels_ratio, host)


def forward_shapes(job: TrainingJob, gemms: tuple[Gemm, ...]) -> list[tuple[str, GemmShape]]:
    """Products of a layer's forward pass, by name."""
    width = ELEMENT_BYTES[job.precision]
    return [(gemm.name, gemm.forward(width, job.activation_bytes)) for gemm in gemms]


def backward_shapes(job: TrainingJob, gemms: tuple[Gemm, ...]) -> list[tuple[str, GemmShape]]:
    """Products of its backward pass: input gradients, then weight gradients."""
    width = ELEMENT_BYTES[job.precision]
    inputs = [
        (f"{gemm.name}, input gradient", gemm.input_gradient(width, job.activation_bytes))
        for gemm in gemms
    ]
    weights = [(f"{gemm.name}, weight gradient", gemm.weight_gradient(width)) for gemm in gemms]
    return inputs + weights


def forward_pass(timer: Timer) -> PassTime:
    """One layer forward on one device."""
    job, plan = timer.job, timer.plan
    gemms = layer_gemms(job, plan)
    products = timer.once(
        ("forward", plan.tp, micro_batch_tokens(job, plan)),
        lambda: timer.gemms(forward_shapes(job, gemms), job.precision),
    )
    attention = _attention_kernels(timer, is_forward=True)
    operations = job.framework.operations
    if operations is not None:
        around = timer.operations(operations.forward, "fwd")
        return pass_time((*products, *attention, *around), layer_launches(job, plan, 1.0))
    traffic = forward_stream_bytes(job, plan, gemms)
    norms = timer.stream("norms and activation", traffic, STREAM_KERNELS_FORWARD)
    return pass_time((*products, *attention, norms), layer_launches(job, plan, 1.0))


def backward_pass(timer: Timer) -> PassTime:
    """One layer backward on one device: input gradients, weight gradients, accumulation."""
    job, plan = timer.job, timer.plan
    gemms = layer_gemms(job, plan)
    ratio = job.framework.traffic.backward_ratio
    products = timer.once(
        ("backward", plan.tp, micro_batch_tokens(job, plan)),
        lambda: timer.gemms(backward_shapes(job, gemms), job.precision),
    )
    attention = _attention_kernels(timer, is_forward=False)
    launches = layer_launches(job, plan, job.framework.host.backward_kernels_ratio)
    operations = job.framework.operations
    if operations is not None:
        around = timer.operations(operations.backward, "bwd")
        return pass_time((*products, *attention, *around), launches)
    traffic = backward_stream_bytes(job, plan, gemms)
    norms = timer.stream("norms and activation", traffic, ratio * STREAM_KERNELS_FORWARD)
    return pass_time((*products, *attention, norms), launches)


def layer_passes(timer: Timer) -> tuple[PassTime, PassTime]:
    """Forward and backward pass of one layer."""
    return forward_pass(timer), backward_pass(timer)


def head_shapes(job: TrainingJob, plan: Plan, dtype: str) -> list[tuple[str, GemmShape]]:
    """Products of the output head: forward, input gradient, weight gradient."""
    gemm, width = head_gemm(job, plan), ELEMENT_BYTES[dtype]
    return [
        ("output head", gemm.forward(width, width)),
        ("output head, input gradient", gemm.input_gradient(width, width)),
        ("output head, weight gradient", gemm.weight_gradient(width)),
    ]


def head_passes(timer: Timer) -> tuple[PassTime, PassTime]:
    """Forward and backward of final norm, output head and loss on the last stage."""
    job, plan, dtype = timer.job, timer.plan, timer.device.core_dtype
    gemm = head_gemm(job, plan)
    shapes = head_shapes(job, plan, dtype)
    logits, *gradients = timer.once(("head", plan.tp, gemm.m), lambda: timer.gemms(shapes, dtype))
    operations = job.framework.operations
    if operations is not None:
        first = timer.operations(operations.step, "fwd")
        last = timer.operations(operations.head_backward, "bwd")
        around = timer.operations(operations.head_forward, "fwd")
        return (
            pass_time((logits, *first, *around), NO_LAUNCHES),
            pass_time((*gradients, *last), NO_LAUNCHES),
        )
    loss_bytes = job.framework.traffic.logit_bytes * gemm.m * gemm.n
    accumulation = accumulation_traffic_bytes(job, (gemm,))
    forward = (logits, timer.stream("loss", 0.5 * loss_bytes, 2.0))
    backward = (*gradients, timer.stream("loss", 0.5 * loss_bytes + accumulation, 2.0))
    return pass_time(forward, NO_LAUNCHES), pass_time(backward, NO_LAUNCHES)
