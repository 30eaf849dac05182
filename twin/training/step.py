"""Time of one training step: a few dozen small formulas, added up here.

The step is the slowest pipeline stage times the micro-batches, plus what the pipeline fills and
drains, plus what data-parallel traffic, optimizer and host leave exposed. Every second of it has
a cause; the causes sum to the step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from twin.energy.clock import (
    ComputeWork,
    PowerMachine,
    operand_energy_ratio,
    sustained_clock,
)
from twin.training.communication import DataTraffic, LayerTraffic, data_traffic, layer_traffic
from twin.training.device_model import DeviceModel
from twin.training.groups import Communicators
from twin.training.job import TrainingJob
from twin.training.layer_time import PassTime, head_passes, layer_passes
from twin.training.operation_time import OperationCall, operation_call_time_s
from twin.training.operations import micro_batch_tokens
from twin.training.plan import Plan
from twin.training.stages import Stages, parameters_per_rank, stages_of
from twin.training.traffic_bytes import layer_link_bytes

__all__ = ["CAUSES", "KernelCache", "LayerCompute", "Step", "predict_step"]

CAUSES = (
    "gemm_forward",
    "gemm_backward",
    "attention_forward",
    "attention_backward",
    "memory_bound",
    "host_launch",
    "head_and_loss",
    "recompute",
    "tp_communication",
    "cp_communication",
    "fsdp_communication",
    "overlap_slowdown",
    "pp_bubble",
    "pp_communication",
    "dp_communication",
    "optimizer",
    "host_step",
    "stragglers",
)
"""Causes of time, in the order of the step."""

ONE_SERVER_DEVICES = 8.0
"""Stragglers are counted per doubling of devices beyond one server. [1]"""


@dataclass(frozen=True, slots=True)
class LayerCompute:
    """Kernels of one layer and of the head at the clock that the power cap leaves."""

    forward: PassTime
    backward: PassTime
    head_forward: PassTime
    head_backward: PassTime
    clock_fraction: float
    work: ComputeWork
    """Work of one layer's forward and backward pass."""

    @property
    def layer_s(self) -> float:
        """Forward and backward of one layer. [s]"""
        return self.forward.time_s + self.backward.time_s

    @property
    def head_s(self) -> float:
        """Forward and backward of head and loss. [s]"""
        return self.head_forward.time_s + self.head_backward.time_s


class KernelCache:
    """Layer times by what they depend on, so that a search over plans evaluates each once."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], LayerCompute] = {}

    def layer_compute(
        self, job: TrainingJob, plan: Plan, device: DeviceModel, power: PowerMachine
    ) -> LayerCompute:
        """Kernels of a layer under a plan; only sharding of a layer and its tokens matter."""
        key = (plan.tp, plan.cp, plan.micro_batch, plan.sequence_parallel, plan.attention)
        found = self._known.get(key)
        if found is None:
            found = _layer_compute(job, plan, device, power)
            self._known[key] = found
        return found


def _layer_work(
    job: TrainingJob,
    plan: Plan,
    device: DeviceModel,
    passes: tuple[PassTime, PassTime],
    power: PowerMachine,
) -> ComputeWork:
    """What a layer does to the chip, its traffic with tensor and context ranks included.

    Traffic between replicas and stages comes in longer pauses and is left out.
    """
    forward, backward = passes
    weighted = 0.0
    for kernel in (*forward.kernels, *backward.kernels):
        weighted += kernel.flop * operand_energy_ratio(kernel.dtype, power)
    launches_s = forward.time_s - forward.device_s + backward.time_s - backward.device_s
    work = ComputeWork(weighted, forward.hbm_bytes + backward.hbm_bytes, launches_s)
    if plan.tp * plan.cp == 1:
        return work
    inner = replace(plan, zero=0)
    communicators = Communicators(job=job, plan=inner, device=device)
    traffic = layer_traffic(job, inner, communicators, forward, backward)
    return work._replace(
        communicating_s=traffic.tp_exposed_s + traffic.cp_exposed_s,
        link_bytes=layer_link_bytes(job, plan),
    )


def _layer_compute(
    job: TrainingJob, plan: Plan, device: DeviceModel, power: PowerMachine
) -> LayerCompute:
    forward, backward = layer_passes(job, plan, device, 1.0)
    work = _layer_work(job, plan, device, (forward, backward), power)

    def layer_time_s(clock_fraction: float) -> float:
        if clock_fraction == 1.0:
            return forward.device_s + backward.device_s
        slow_forward, slow_backward = layer_passes(job, plan, device, clock_fraction)
        return slow_forward.device_s + slow_backward.device_s

    clock = sustained_clock(work, layer_time_s, power_cap_w=job.power_cap_w, machine=power)
    if clock < 1.0:
        forward, backward = layer_passes(job, plan, device, clock)
    head_forward, head_backward = head_passes(job, plan, device, clock)
    return LayerCompute(forward, backward, head_forward, head_backward, clock, work)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One predicted step with everything it is made of."""

    compute: LayerCompute
    traffic: LayerTraffic
    data: DataTraffic
    stages: Stages
    n_micro_batches: int
    n_layers_slowest: float
    """Layers on the stage that sets the pace. [1]"""
    n_heads_slowest: float
    """1 if the stage that sets the pace holds head and loss, else 0."""
    recomputed_layers_slowest: float
    send_s: float
    breakdown: dict[str, float]
    """Cause to exposed seconds. [s]"""
    hidden: dict[str, float]
    """Cause to seconds behind compute. [s]"""

    @property
    def time_s(self) -> float:
        """Sum of all causes. [s]"""
        return sum(self.breakdown.values())


def recompute_share(job: TrainingJob, plan: Plan) -> float:
    """Share of a layer's forward pass that is computed again, averaged over layers. [1]

    Selective recomputation repeats unfused attention (counted apart) and what the framework
    names; full recomputation repeats everything in the layers it covers.
    """
    if plan.recompute == "none":
        return 0.0
    if plan.recompute == "selective":
        return job.framework.selective_recompute_fraction
    if plan.recompute_layers is None:
        return 1.0
    return min(1.0, plan.recompute_layers / job.model.n_layers)


def _recompute_layer_s(
    job: TrainingJob, plan: Plan, compute: LayerCompute, traffic: LayerTraffic
) -> float:
    share = recompute_share(job, plan)
    time_s = share * compute.forward.time_s
    if plan.recompute == "full":
        time_s += share * traffic.forward_exposed_s
    if plan.recompute == "selective" and plan.attention == "unfused":
        time_s += (1.0 - share) * compute.forward.kind_s("attention")
    return time_s


def _split_pass(passes: PassTime, direction: str, scale: float) -> dict[str, float]:
    """Kernel seconds of a pass by cause; the host's excess over the device is its own cause."""
    device_s = passes.device_s
    return {
        f"gemm_{direction}": scale * passes.kind_s("gemm"),
        f"attention_{direction}": scale * passes.kind_s("attention"),
        "memory_bound": scale * passes.kind_s("stream"),
        "host_launch": scale * (passes.time_s - device_s),
    }


def _add(target: dict[str, float], extra: dict[str, float]) -> None:
    for cause, seconds in extra.items():
        target[cause] += seconds


@dataclass(frozen=True, slots=True)
class _Pace:
    """Seconds of one micro-batch on the stage that sets the pace, and of the mean stage."""

    slowest_s: float
    mean_s: float
    n_layers: float
    n_heads: float


def _pace(job: TrainingJob, plan: Plan, stages: Stages, layer_s: float, head_s: float) -> _Pace:
    if plan.pp == 1:
        total_s = stages.first_layers * layer_s + head_s
        return _Pace(total_s, total_s, stages.first_layers, 1.0)
    middle_s = stages.middle_layers * layer_s
    last_s = stages.last_layers * layer_s + head_s
    mean_s = (job.model.n_layers * layer_s + head_s) / plan.pp
    if last_s >= middle_s:
        return _Pace(last_s, mean_s, stages.last_layers, 1.0)
    return _Pace(middle_s, mean_s, stages.middle_layers, 0.0)


def _pipeline_seconds(
    job: TrainingJob, plan: Plan, pace: _Pace, send_s: float, n_micro_batches: int
) -> tuple[float, float]:
    """Bubble and exposed sends of the pipeline schedule.

    Returns
    -------
    tuple of float
        Fill and drain (p-1)/v of the mean stage; sends that the schedule exposes. [s]

    References
    ----------
    D. Narayanan et al., SC21, section 2.2 (bubble of 1F1B and of interleaved chunks).
    """
    if plan.pp == 1:
        return 0.0, 0.0
    overlap = job.framework.overlap
    bubble_s = (plan.pp - 1) / plan.vpp * pace.mean_s
    exposed = overlap.pipeline_exposed_fraction
    if plan.vpp > 1:
        exposed = overlap.interleaved_exposed_fraction
    sends = 2.0 * plan.vpp * n_micro_batches * exposed + 2.0 * (plan.pp - 1)
    return bubble_s, sends * send_s


def _send_bytes(job: TrainingJob, plan: Plan) -> float:
    """Activations between stages; tensor-parallel ranks each send their part. [byte]"""
    tokens = micro_batch_tokens(job, plan)
    return tokens * job.model.hidden * job.activation_bytes / plan.tp


def optimizer_bytes(job: TrainingJob, plan: Plan) -> float:
    """Memory traffic of the optimizer step on this rank's shard. [byte]"""
    shards = plan.n_shards if plan.zero >= 1 else 1
    parameters = parameters_per_rank(job.model, plan) / shards
    return job.framework.traffic.optimizer_bytes_per_parameter * parameters


def _optimizer_s(job: TrainingJob, plan: Plan, device: DeviceModel) -> float:
    """Optimizer step on this rank's shard, streaming its states. [s]"""
    if job.framework.operations is not None:
        n_weights = parameters_per_rank(job.model, plan)
        n_columns = float(job.model.hidden)
        call = OperationCall("adamw-fwd", 1.0, n_weights / n_columns, n_columns)
        return operation_call_time_s(call, device)
    stream = device.stream()
    bandwidth = stream.bandwidth_efficiency_fraction * stream.memory_bandwidth_bytes_per_s
    return optimizer_bytes(job, plan) / bandwidth


def straggler_fraction(job: TrainingJob) -> float:
    """What the slowest of many devices adds to a step. [1]"""
    doublings = max(0.0, math.log2(job.n_devices / ONE_SERVER_DEVICES))
    return job.framework.overlap.straggler_fraction_per_doubling * doublings


def predict_step(
    job: TrainingJob,
    plan: Plan,
    *,
    device: DeviceModel,
    power: PowerMachine,
    cache: KernelCache,
) -> Step:
    """Predict one step of a checked plan.

    Parameters
    ----------
    job, plan
        What is trained, and how it is laid out; `check_plan` has accepted the pair.
    device
        The accelerator's kernel models.
    power
        Its power model, which sets the clock under the job's cap.
    cache
        Layer times already known for this job.

    Returns
    -------
    Step
        Times by cause, exposed and hidden.
    """
    compute = cache.layer_compute(job, plan, device, power)
    communicators = Communicators(job=job, plan=plan, device=device)
    traffic = layer_traffic(job, plan, communicators, compute.forward, compute.backward)
    stages = stages_of(job.model, plan)
    n_micro_batches = job.global_batch // (plan.dp * plan.micro_batch)
    recompute_s = _recompute_layer_s(job, plan, compute, traffic)
    layer_s = compute.layer_s + recompute_s + traffic.exposed_s + traffic.slowdown_s
    pace = _pace(job, plan, stages, layer_s, compute.head_s)
    send_s = communicators.pipeline_send_s(_send_bytes(job, plan))
    bubble_s, send_total_s = _pipeline_seconds(job, plan, pace, send_s, n_micro_batches)
    data = data_traffic(job, plan, communicators, compute, n_layers=pace.n_layers)

    breakdown = dict.fromkeys(CAUSES, 0.0)
    layers = n_micro_batches * pace.n_layers
    _add(breakdown, _split_pass(compute.forward, "forward", layers))
    _add(breakdown, _split_pass(compute.backward, "backward", layers))
    breakdown["head_and_loss"] = n_micro_batches * pace.n_heads * compute.head_s
    breakdown["recompute"] = layers * recompute_s
    breakdown["tp_communication"] = layers * traffic.tp_exposed_s
    breakdown["cp_communication"] = layers * traffic.cp_exposed_s
    breakdown["fsdp_communication"] = layers * traffic.fsdp_exposed_s
    breakdown["overlap_slowdown"] = layers * traffic.slowdown_s + data.slowdown_s
    breakdown["pp_bubble"] = bubble_s
    breakdown["pp_communication"] = send_total_s
    breakdown["dp_communication"] = data.exposed_s
    breakdown["optimizer"] = _optimizer_s(job, plan, device)
    breakdown["host_step"] = job.framework.host.step_s
    breakdown["stragglers"] = straggler_fraction(job) * sum(breakdown.values())
    hidden = {
        "tp_communication": layers * traffic.tp_hidden_s,
        "cp_communication": layers * traffic.cp_hidden_s,
        "fsdp_communication": layers * traffic.fsdp_hidden_s,
        "dp_communication": data.hidden_s,
    }
    return Step(
        compute=compute,
        traffic=traffic,
        data=data,
        stages=stages,
        n_micro_batches=n_micro_batches,
        n_layers_slowest=pace.n_layers,
        n_heads_slowest=pace.n_heads,
        recomputed_layers_slowest=recompute_share(job, plan) * pace.n_layers,
        send_s=send_s,
        breakdown=breakdown,
        hidden=hidden,
    )
