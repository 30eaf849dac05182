"""Memory of the fullest device, by component.

Parameters, gradients and optimizer states as the framework stores and shards them; activations of
the micro-batches in flight (`activation_memory`); buffers of the fuller of two moments, the loss
and the backward pass of a layer; and what the allocator and the driver add. docs/memory.md has the
formulas in one place.

References
----------
V. Korthikanti et al., Reducing Activation Recomputation in Large Transformer Models, 2022,
section 4 (in-flight micro-batches, interleaving surcharge).
S. Rajbhandari et al., ZeRO, SC20, section 3 (what each stage shards).
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from twin.prediction import MemoryUse
from twin.training.activation_memory import (
    LayerActivations,
    is_low_precision,
    layer_activations,
)
from twin.training.job import TrainingJob
from twin.training.operations import micro_batch_tokens
from twin.training.plan import Plan, Recompute, States
from twin.training.stages import distributed, stage_parameters, stages_of
from twin.workload.parameters import (
    head_matrix_parameters,
    layer_matrix_parameters,
    layer_parameters,
)

__all__ = ["MemoryCache", "memory_use"]

GATHERED_LAYERS = 2.0
"""Layers whose full parameters are present at once under ZeRO-3: current and prefetched. [1]"""

MASTER_BYTES = 4.0
"""Width of the master copy of the weights. [byte]"""

TRANSPOSE_BYTES = 1.0
"""An 8-bit weight in transposed order. [byte]"""

MOST_STAGES_WITHOUT_MIDDLE = 2

ZERO_SHARDS_OPTIMIZER, ZERO_SHARDS_GRADIENTS, ZERO_SHARDS_PARAMETERS = 1, 2, 3


class _Layer(NamedTuple):
    """Parameters of one layer on one tensor-parallel rank."""

    parameters: float
    matrices: float
    """Of its matrix products alone. [1]"""


class _Stage(NamedTuple):
    """What one pipeline stage holds."""

    parameters: float
    """Of one tensor-parallel rank, embedding and head included. [1]"""
    n_layers: int
    i_stage: int
    has_head: bool


class _Held(NamedTuple):
    """Bytes of one stage that no activation has a part in: many plans share them."""

    n_layers: int
    i_stage: int
    has_head: bool
    weights_bytes: float
    gradients_bytes: float
    optimizer_bytes: float
    states_bytes: float
    """Sum of these three. [byte]"""
    standing_bytes: float
    """Buffers of both moments: gathered parameters, placeholders of gradients. [byte]"""
    reduced_bytes: float
    """Buffers of a layer's backward pass. [byte]"""


class _Flowing(NamedTuple):
    """Bytes of one micro-batch: activations of a layer, and the loss."""

    activations: LayerActivations
    loss_bytes: float


class _StageUse(NamedTuple):
    """What one stage needs under one plan."""

    total_bytes: float
    held: _Held
    activations_bytes: float
    buffers_bytes: float
    fragmentation_bytes: float


def _in_flight(pp: int, vpp: int, n_micro_batches: int, i_stage: int) -> float:
    """Micro-batches in flight on a stage: p - i for 1F1B; interleaving keeps more chunks. [1]"""
    after = pp - i_stage - 1
    kept = float(after + 1) if vpp == 1 else ((vpp - 1) * pp + 2 * after + 1) / vpp
    return min(kept, float(n_micro_batches))


def _n_micro_batches(job: TrainingJob, plan: Plan) -> int:
    return job.global_batch // (plan.dp * plan.micro_batch)


def _stages(job: TrainingJob, plan: Plan, layer: _Layer) -> list[_Stage]:
    """First, second and last stage: one of them is the fullest."""
    first, last = stage_parameters(job.model, plan)
    layers = stages_of(job.model, plan)

    def stage(i_stage: int, parameters: float, n_layers: int) -> _Stage:
        return _Stage(parameters, n_layers, i_stage, has_head=i_stage == plan.pp - 1)

    found = [stage(0, first, layers.first_layers)]
    if plan.pp > MOST_STAGES_WITHOUT_MIDDLE:
        n_layers = layers.middle_layers
        found.append(stage(1, n_layers * layer.parameters, n_layers))
    if plan.pp > 1:
        found.append(stage(plan.pp - 1, last, layers.last_layers))
    return found


def _weights_bytes(job: TrainingJob, plan: Plan, stage: _Stage, layer: _Layer) -> float:
    """Weights as stored, sharded under ZeRO-3; 8-bit copies and transposes included. [byte]

    A framework whose stored weights are the fp32 ones computes with a narrower copy: gathered
    layer by layer under ZeRO-3 (see `_gathered_bytes`), whole under ZeRO-1 and ZeRO-2.
    """
    rules, width = job.framework.memory, job.activation_bytes
    shards = plan.n_shards
    stored = max(rules.weight_bytes, width)
    weights = stage.parameters * stored
    if is_low_precision(job):
        per_weight = rules.fp8_weight_bytes - stored
        if job.machine.accelerator.architecture in rules.fp8_transposes_on:
            per_weight += TRANSPOSE_BYTES
        weights += stage.n_layers * layer.matrices * per_weight
    if plan.zero >= ZERO_SHARDS_PARAMETERS:
        return weights / shards
    if stored > width and plan.zero >= ZERO_SHARDS_OPTIMIZER:
        return weights / shards + stage.parameters * width
    return weights


def _gradients_bytes(job: TrainingJob, plan: Plan, stage: _Stage) -> float:
    """Accumulated gradients. [byte]

    ZeRO-2 keeps shards of them where they are reduced in each micro-batch. Who reduces once per
    step accumulates them whole until then, a pipelined step always does
    (pytorch/pytorch torch/distributed/pipelining/stage.py, backward_maybe_with_nosync).
    """
    rules, shards = job.framework.memory, plan.n_shards
    is_half = job.precision == "fp16"
    width = rules.fp16_gradient_buffer_bytes if is_half else rules.gradient_buffer_bytes
    whole = stage.parameters * width
    is_once = plan.pp > 1 or not job.framework.reduces_every_micro_batch
    accumulates = is_once and _n_micro_batches(job, plan) > 1
    if plan.zero == ZERO_SHARDS_PARAMETERS:
        return whole / shards
    if plan.zero < ZERO_SHARDS_GRADIENTS:
        return whole
    if not accumulates:
        return whole / shards
    # The reduced shard stands beside the buffer only where the framework makes a new tensor of it.
    return whole + (whole / shards if job.framework.reduces_every_micro_batch else 0.0)


def _optimizer_bytes(job: TrainingJob, plan: Plan, stage: _Stage) -> float:
    """Master copy and moments; weights in fp32 are their own master copy. [byte]"""
    rules = job.framework.memory
    state = rules.optimizer_state_bytes
    if job.activation_bytes >= MASTER_BYTES and rules.weight_bytes < MASTER_BYTES:
        state -= MASTER_BYTES
    shards = plan.n_shards if plan.zero >= ZERO_SHARDS_OPTIMIZER else 1
    return stage.parameters * state / shards


def _gathered_bytes(job: TrainingJob, plan: Plan, stage: _Stage, layer: _Layer) -> float:
    """Full parameters present at once under ZeRO-3. [byte]"""
    if plan.zero < ZERO_SHARDS_PARAMETERS:
        return 0.0
    gathered = min(GATHERED_LAYERS, stage.n_layers) * layer.parameters
    if job.framework.memory.keeps_ends_gathered:
        gathered += max(0.0, stage.parameters - stage.n_layers * layer.parameters)
    return gathered * job.activation_bytes


def _loss_bytes(job: TrainingJob, plan: Plan) -> float:
    """Logits with what the loss makes of them, and the gradient of the head. [byte]"""
    rules = job.framework.memory
    per_logit = rules.sharded_logit_bytes if plan.tp > 1 else rules.logit_bytes
    logits = micro_batch_tokens(job, plan) * job.model.vocabulary / plan.tp
    head = head_matrix_parameters(job.model) / plan.tp
    return logits * per_logit + head * rules.placeholder_gradient_bytes


def _reduced_bytes(job: TrainingJob, plan: Plan, layer: _Layer) -> float:
    """Under ZeRO-3, the whole gradient of one layer before and in its reduction. [byte]"""
    if plan.zero < ZERO_SHARDS_PARAMETERS:
        return 0.0
    return (job.activation_bytes + job.framework.gradient_reduce_bytes) * layer.parameters


def _held(job: TrainingJob, plan: Plan) -> tuple[_Held, ...]:
    """What first, second and last stage hold.

    Libraries that add weight gradients to their buffer inside the product hand the framework a
    placeholder of each weight's shape, and keep one per shape: the matrices of one layer.
    """
    layer = _Layer(
        layer_parameters(job.model) / plan.tp, layer_matrix_parameters(job.model) / plan.tp
    )
    placeholders_bytes = job.framework.memory.placeholder_gradient_bytes * layer.matrices
    found = []
    for stage in _stages(job, plan, layer):
        weights_bytes = _weights_bytes(job, plan, stage, layer)
        gradients_bytes = _gradients_bytes(job, plan, stage)
        optimizer_bytes = _optimizer_bytes(job, plan, stage)
        held = _Held(
            n_layers=stage.n_layers,
            i_stage=stage.i_stage,
            has_head=stage.has_head,
            weights_bytes=weights_bytes,
            gradients_bytes=gradients_bytes,
            optimizer_bytes=optimizer_bytes,
            states_bytes=weights_bytes + gradients_bytes + optimizer_bytes,
            standing_bytes=_gathered_bytes(job, plan, stage, layer) + placeholders_bytes,
            reduced_bytes=_reduced_bytes(job, plan, layer),
        )
        found.append(held)
    return tuple(found)


class MemoryCache:
    """Memory of one job under any plan, keeping what plans share: a search asks for thousands."""

    def __init__(self, job: TrainingJob) -> None:
        self.job = job
        self._held: dict[tuple[object, ...], tuple[_Held, ...]] = {}
        self._flowing: dict[tuple[object, ...], _Flowing] = {}

    def use(self, plan: Plan) -> MemoryUse:
        """Memory of the fullest device.

        The first stage keeps most micro-batches, the last one has the logits, and one between
        holds more layers where embedding and head are counted as layers; the fullest of them
        counts.
        """
        stages = self._stages(plan, States(plan.zero, plan.recompute))
        fullest = max(stages, key=lambda stage: stage.total_bytes)
        return MemoryUse(
            weights_bytes=fullest.held.weights_bytes,
            gradients_bytes=fullest.held.gradients_bytes,
            optimizer_bytes=fullest.held.optimizer_bytes,
            activations_bytes=fullest.activations_bytes,
            buffers_bytes=fullest.buffers_bytes,
            fragmentation_bytes=fullest.fragmentation_bytes,
            overhead_bytes=self.job.framework.memory.fixed_overhead_bytes,
        )

    def total_bytes(self, plan: Plan, states: States | None = None) -> float:
        """Sum of all components on the fullest device. [byte]

        Parameters
        ----------
        plan
            How the job is laid out.
        states
            Stand in for the plan's: a search asks for thousands, and has no plan for each.
        """
        stages = self._stages(plan, states or States(plan.zero, plan.recompute))
        return max(stage.total_bytes for stage in stages)

    def kept_bytes(self, plan: Plan, recompute: Recompute) -> float:
        """What a layer keeps of one micro-batch; stages and ZeRO have no part in it. [byte]"""
        return self._flowing_of(plan, recompute).activations.kept_bytes

    def n_kept(self, pp: int, vpp: int, n_micro_batches: int) -> float:
        """Layers times micro-batches that the first stage keeps: no device needs less for them."""
        n_layers = distributed(self.job.model.n_layers, pp, vpp).first_layers
        return n_layers * _in_flight(pp, vpp, n_micro_batches, 0)

    def _stages(self, plan: Plan, states: States) -> list[_StageUse]:
        """What stages need, with the buffers of the fuller of two moments.

        These are the loss, and the backward pass of one layer.
        """
        rules = self.job.framework.memory
        n_micro_batches = _n_micro_batches(self.job, plan)
        activations, loss_bytes = self._flowing_of(plan, states.recompute)
        boundary_bytes = activations.boundary_bytes * plan.vpp
        stages = []
        for held in self._held_of(plan, states.zero, n_micro_batches):
            kept_bytes = activations.kept_bytes * held.n_layers + boundary_bytes
            in_flight_bytes = kept_bytes * _in_flight(
                plan.pp, plan.vpp, n_micro_batches, held.i_stage
            )
            backward_bytes = activations.working_bytes + held.reduced_bytes
            moment_bytes = max(loss_bytes, backward_bytes) if held.has_head else backward_bytes
            buffers_bytes = held.standing_bytes + moment_bytes
            unused_bytes = rules.fragmentation_fraction * (in_flight_bytes + buffers_bytes)
            # Added up in the order of `MemoryUse.total_bytes`, to the last bit.
            total_bytes = held.states_bytes + in_flight_bytes + buffers_bytes + unused_bytes
            total_bytes += rules.fixed_overhead_bytes
            stages.append(
                _StageUse(total_bytes, held, in_flight_bytes, buffers_bytes, unused_bytes)
            )
        return stages

    def _held_of(self, plan: Plan, zero: int, n_micro_batches: int) -> tuple[_Held, ...]:
        """What stages hold depends on shards, and on whether gradients are accumulated at all."""
        layers = stages_of(self.job.model, plan)
        sharding = (zero, plan.n_shards, n_micro_batches > 1)
        key = (plan.tp, plan.pp, layers.first_layers, layers.middle_layers, *sharding)
        found = self._held.get(key)
        if found is None:
            found = self._held[key] = _held(self.job, replace(plan, zero=zero))
        return found

    def _flowing_of(self, plan: Plan, recompute: Recompute) -> _Flowing:
        sizes = (plan.tp, plan.cp, plan.micro_batch, plan.pp > 1)
        kept = (plan.sequence_parallel, plan.attention, recompute, plan.recompute_layers)
        key = (*sizes, *kept)
        found = self._flowing.get(key)
        if found is None:
            activations = layer_activations(self.job, plan, recompute)
            found = self._flowing[key] = _Flowing(activations, _loss_bytes(self.job, plan))
        return found


def memory_use(job: TrainingJob, plan: Plan) -> MemoryUse:
    """Memory of the fullest device under one plan."""
    return MemoryCache(job).use(plan)
