"""Kernels of one layer and of the head at the clock that the power cap leaves.

The clock comes from the layer's times at two clocks, which plans share to a large part; only then
the layer is evaluated at its own clock, which no other plan has. A search therefore asks first for
`LayerRoof`, what can be said without evaluating any kernel.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

from twin.energy.clock import (
    PROBE_CLOCK_FRACTION,
    ComputeWork,
    PowerMachine,
    operand_energy_ratio,
    sustained_clock,
)
from twin.training.communication import LayerTraffic, layer_traffic
from twin.training.device_model import ClockedDevice, DeviceModel
from twin.training.groups import Communicators, KnownTimes
from twin.training.job import TrainingJob
from twin.training.layer_roofline import LayerRoof, LayerRoofs, sampled_pass_s
from twin.training.layer_time import (
    KnownKernels,
    PassTime,
    Timer,
    head_passes,
    layer_passes,
)
from twin.training.plan import Plan, unsharded
from twin.training.traffic_bytes import layer_link_bytes

__all__ = ["KernelCache", "LayerCompute", "layer_key"]

FULL_CLOCK_FRACTION = 1.0

Passes = tuple[PassTime, PassTime]


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


class _Clocked(NamedTuple):
    """What is known of a layer once its clock is."""

    full: Passes
    """At the boost clock."""
    probed: Passes | None
    """At the second clock; None where the cap leaves the boost clock."""
    clock_fraction: float
    work: ComputeWork


class KernelCache:
    """Layer times of one job by what they depend on, so that a search evaluates each once.

    Parameters
    ----------
    job, device, power
        What is trained, and on which device.
    sampled
        Kernels at the two clocks that every plan is sampled at, of `KernelMemory`.
    """

    def __init__(
        self,
        job: TrainingJob,
        device: DeviceModel,
        power: PowerMachine,
        sampled: KnownKernels | None = None,
    ) -> None:
        self.job = job
        self.device = device
        self.power = power
        self._devices: dict[float, ClockedDevice] = {}
        self._kernels: KnownKernels = {}
        self._sampled = {} if sampled is None else sampled
        self._collectives: KnownTimes = {}
        self._clocked: dict[tuple[object, ...], _Clocked] = {}
        self._roofs_by_key: dict[tuple[object, ...], LayerRoof] = {}
        self._sampled_roofs: dict[tuple[object, ...], LayerRoof] = {}
        self._computes: dict[tuple[object, ...], LayerCompute] = {}
        self._traffic: dict[tuple[object, ...], LayerTraffic] = {}

    def with_job(self, job: TrainingJob) -> KernelCache:
        """The same kernels for a job that differs in its network only."""
        other = KernelCache(job, self.device, self.power, self._sampled)
        other._kernels = self._kernels
        return other

    @functools.cached_property
    def _roofs(self) -> LayerRoofs:
        """Made where a search asks: a plan that is given needs none."""
        return LayerRoofs(self._boosted, self.communicators, self.power)

    def layer_compute(self, plan: Plan) -> LayerCompute:
        """Kernels of a layer under a plan; only sharding of a layer and its tokens matter."""
        key = layer_key(plan)
        found = self._computes.get(key)
        if found is None:
            found = self._computes[key] = self._new_compute(plan)
        return found

    def layer_roof(self, plan: Plan) -> LayerRoof:
        """What the plan's layer and head take at least, without evaluating a kernel."""
        key = layer_key(plan)
        found = self._roofs_by_key.get(key)
        if found is None:
            found = self._roofs_by_key[key] = self._roofs.of(plan)
        return found

    def sampled_roof(self, plan: Plan) -> LayerRoof:
        """The same once its clock is known, from its kernels at two others."""
        key = layer_key(plan)
        found = self._sampled_roofs.get(key)
        if found is None:
            found = self._sampled_roofs[key] = self._new_sampled_roof(plan)
        return found

    def unsharded_traffic(self, plan: Plan) -> LayerTraffic:
        """Tensor- and context-parallel traffic of a layer: what sharded states add is left out."""
        key = layer_key(plan)
        found = self._traffic.get(key)
        if found is None:
            compute = self.layer_compute(plan)
            found = self._new_traffic(plan, (compute.forward, compute.backward))
            self._traffic[key] = found
        return found

    def communicators(self, plan: Plan) -> Communicators:
        """Communicators of a plan, which share what they know."""
        return Communicators(job=self.job, plan=plan, device=self.device, known=self._collectives)

    def _timer(self, plan: Plan, clock_fraction: float) -> Timer:
        clocked = self._devices.get(clock_fraction)
        if clocked is None:
            clocked = self._devices[clock_fraction] = ClockedDevice(self.device, clock_fraction)
        is_sampled = clock_fraction in (FULL_CLOCK_FRACTION, PROBE_CLOCK_FRACTION)
        return Timer(self.job, plan, clocked, self._sampled if is_sampled else self._kernels)

    def _boosted(self, plan: Plan) -> Timer:
        return self._timer(plan, FULL_CLOCK_FRACTION)

    def _new_traffic(self, plan: Plan, passes: Passes) -> LayerTraffic:
        whole = unsharded(plan)
        return layer_traffic(self.job, whole, self.communicators(whole), *passes)

    def _new_compute(self, plan: Plan) -> LayerCompute:
        clocked = self._clocked_layer(plan)
        clock = clocked.clock_fraction
        timer = self._timer(plan, clock)
        forward, backward = layer_passes(timer) if clock < 1.0 else clocked.full
        return LayerCompute(forward, backward, *head_passes(timer), clock, clocked.work)

    def _new_sampled_roof(self, plan: Plan) -> LayerRoof:
        roof, clocked = self.layer_roof(plan), self._clocked_layer(plan)
        forward_s, backward_s = (passes.device_s for passes in clocked.full)
        if clocked.probed is not None:
            passes = zip(clocked.full, clocked.probed, roof.joined_s, strict=True)
            forward_s, backward_s = (
                sampled_pass_s(full, probed, clocked.clock_fraction, joined_s)
                for full, probed, joined_s in passes
            )
        return roof._replace(both_s=(forward_s + backward_s,), forward_s=(forward_s,))

    def _clocked_layer(self, plan: Plan) -> _Clocked:
        key = layer_key(plan)
        found = self._clocked.get(key)
        if found is None:
            found = self._clocked[key] = self._new_clocked(plan)
        return found

    def _new_clocked(self, plan: Plan) -> _Clocked:
        full = layer_passes(self._boosted(plan))
        work = self._layer_work(plan, full)
        sampled = {FULL_CLOCK_FRACTION: full}

        def layer_time_s(clock_fraction: float) -> float:
            if clock_fraction not in sampled:
                sampled[clock_fraction] = layer_passes(self._timer(plan, clock_fraction))
            forward, backward = sampled[clock_fraction]
            return forward.device_s + backward.device_s

        clock = sustained_clock(
            work, layer_time_s, power_cap_w=self.job.power_cap_w, machine=self.power
        )
        return _Clocked(full, sampled.get(PROBE_CLOCK_FRACTION), clock, work)

    def _layer_work(self, plan: Plan, passes: Passes) -> ComputeWork:
        """What a layer does to the chip, its traffic with tensor and context ranks included.

        Traffic between replicas and stages comes in longer pauses and is left out.
        """
        forward, backward = passes
        weighted = 0.0
        for kernel in (*forward.kernels, *backward.kernels):
            weighted += kernel.flop * operand_energy_ratio(kernel.dtype, self.power)
        launches_s = forward.time_s - forward.device_s + backward.time_s - backward.device_s
        work = ComputeWork(weighted, forward.hbm_bytes + backward.hbm_bytes, launches_s)
        if plan.tp * plan.cp == 1:
            return work
        traffic = self._new_traffic(plan, passes)
        return work._replace(
            communicating_s=traffic.tp_exposed_s + traffic.cp_exposed_s,
            link_bytes=layer_link_bytes(self.job, plan),
        )


def layer_key(plan: Plan) -> tuple[object, ...]:
    """What the kernels of a layer depend on: how it and its tokens are divided."""
    return (plan.tp, plan.cp, plan.micro_batch, plan.sequence_parallel, plan.attention)
