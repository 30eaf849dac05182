"""Time of one training step: a few dozen small formulas, added up here.

The step is the slowest pipeline stage times the micro-batches, plus what the pipeline fills and
drains, plus what data-parallel traffic, optimizer and host leave exposed. Every second of it has
a cause; the causes sum to the step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from twin.training.communication import DataTraffic, LayerTraffic, data_traffic, layer_traffic
from twin.training.device_model import DeviceModel
from twin.training.job import TrainingJob
from twin.training.layer_compute import KernelCache, LayerCompute
from twin.training.layer_time import PassTime
from twin.training.operation_time import OperationCall, operation_call_time_s
from twin.training.pipeline_time import n_micro_batches_of, pace_of, pipeline_seconds, send_bytes
from twin.training.plan import Plan, Recompute
from twin.training.stages import Stages, parameters_per_rank, stages_of

__all__ = [
    "CAUSES",
    "Step",
    "optimizer_bytes",
    "optimizer_s",
    "predict_step",
    "recompute_layer_s",
    "recompute_share",
    "straggler_fraction",
]

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


def recompute_share(job: TrainingJob, plan: Plan, recompute: Recompute | None = None) -> float:
    """Share of a layer's forward pass that is computed again, averaged over layers. [1]

    Selective recomputation repeats unfused attention (counted apart) and what the framework
    names; full recomputation repeats everything in the layers it covers. Recomputation is the
    plan's, or the one that is named.
    """
    what = recompute or plan.recompute
    if what == "none":
        return 0.0
    if what == "selective":
        return job.framework.selective_recompute_fraction
    if plan.recompute_layers is None:
        return 1.0
    return min(1.0, plan.recompute_layers / job.model.n_layers)


def recompute_layer_s(
    job: TrainingJob, plan: Plan, compute: LayerCompute, traffic: LayerTraffic
) -> float:
    """Seconds per layer and micro-batch, averaged over layers. [s]"""
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


def optimizer_bytes(job: TrainingJob, plan: Plan) -> float:
    """Memory traffic of the optimizer step on this rank's shard. [byte]"""
    shards = plan.n_shards if plan.zero >= 1 else 1
    parameters = parameters_per_rank(job.model, plan) / shards
    return job.framework.traffic.optimizer_bytes_per_parameter * parameters


def optimizer_s(job: TrainingJob, plan: Plan, device: DeviceModel) -> float:
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


def predict_step(plan: Plan, cache: KernelCache) -> Step:
    """Predict one step of a checked plan.

    Parameters
    ----------
    plan
        How the job is laid out; `check_plan` has accepted it.
    cache
        The job with its device, and layer times that are already known.

    Returns
    -------
    Step
        Times by cause, exposed and hidden.
    """
    job, device = cache.job, cache.device
    compute = cache.layer_compute(plan)
    communicators = cache.communicators(plan)
    traffic = layer_traffic(job, plan, communicators, compute.forward, compute.backward)
    stages = stages_of(job.model, plan)
    n_micro_batches = n_micro_batches_of(job, plan)
    recompute_s = recompute_layer_s(job, plan, compute, traffic)
    layer_s = compute.layer_s + recompute_s + traffic.exposed_s + traffic.slowdown_s
    pace = pace_of(job, plan, layer_s, compute.head_s)
    send_s = communicators.pipeline_send_s(send_bytes(job, plan))
    bubble_s, send_total_s = pipeline_seconds(job, plan, pace, send_s)
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
    breakdown["optimizer"] = optimizer_s(job, plan, device)
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
