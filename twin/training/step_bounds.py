"""Lower bounds of a step, so that a search passes over plans that cannot win.

All leave out what they do not know and never what they do: every cause of a step is at least
zero, and neither pace nor bubble falls when a layer takes longer. Traffic that hides comes back as
slower compute, so some of it counts however well it hides. Sums are taken in another order than in
the step, so a bound may exceed it by rounding; `ROUNDING_FRACTION` is far above that.
"""

from __future__ import annotations

from typing import NamedTuple

from twin.energy.clock import ComputeWork
from twin.training.communication import data_traffic, layer_traffic
from twin.training.launches import NO_LAUNCHES
from twin.training.layer_compute import KernelCache, LayerCompute, layer_key
from twin.training.layer_roofline import FOREVER_S, LayerRoof
from twin.training.layer_time import PassTime
from twin.training.pipeline_time import n_micro_batches_of, pace_of, pipeline_seconds, send_bytes
from twin.training.plan import Plan, Recompute
from twin.training.stages import stages_of
from twin.training.step import (
    optimizer_s,
    recompute_layer_s,
    recompute_share,
    straggler_fraction,
)

__all__ = ["ROUNDING_FRACTION", "StepBounds"]

ROUNDING_FRACTION = 1e-9
"""Share of a step by which a bound of it is distrusted. [1]"""

ENDLESS = PassTime((), launches=NO_LAUNCHES, device_s=FOREVER_S, time_s=FOREVER_S)
ENDLESS_COMPUTE = LayerCompute(
    ENDLESS, ENDLESS, ENDLESS, ENDLESS, clock_fraction=1.0, work=ComputeWork(0.0, 0.0)
)
"""Compute behind which traffic among replicas hides as far as it ever can."""


class _Rest(NamedTuple):
    """What a plan costs at least besides its kernels and the traffic between them."""

    layer_s: float
    """Sharded states, in each layer. [s]"""
    send_s: float
    """One send between stages. [s]"""
    step_s: float
    """Optimizer and traffic among replicas, once a step. [s]"""


NO_REST = _Rest(0.0, 0.0, 0.0)


class StepBounds:
    """Bounds of the steps of one job."""

    def __init__(self, cache: KernelCache) -> None:
        self._cache = cache
        self._slower = 1.0 + straggler_fraction(cache.job)
        self._layers: dict[tuple[object, ...], tuple[float, float]] = {}
        self._rests: dict[Plan, _Rest] = {}
        self._sharded: dict[tuple[object, ...], float] = {}

    def balanced_s(self, plan: Plan, recompute: Recompute) -> float:
        """As `cheap_s`, for any number of stages and chunks: all stages busy all the time. [s]"""
        job = self._cache.job
        layer_s, head_s = self._layer_roof(plan, recompute)
        computing_s = n_micro_batches_of(job, plan) * (job.model.n_layers * layer_s + head_s)
        return self._slower * (computing_s / plan.pp + job.framework.host.step_s)

    def cheap_s(self, plan: Plan, recompute: Recompute | None = None) -> float:
        """Compute, traffic of tensor and context ranks and bubble, from `LayerRoof`. [s]

        The ZeRO stage is not looked at. Recomputation is the plan's, or the one that is named:
        without a plan for each, thousands are bounded sooner.
        """
        layer_s, head_s = self._layer_roof(plan, recompute or plan.recompute)
        return self._step_s(plan, layer_s, head_s)

    def sharded_s(self, plan: Plan) -> float:
        """The same, with optimizer, sends between stages and what replicas cost at least. [s]"""
        layer_s, head_s = self._layer_roof(plan, plan.recompute)
        return self._whole_step_s(plan, layer_s, head_s)

    def sampled_s(self, plan: Plan) -> float:
        """The same, from kernels at two clocks and the clock that these leave. [s]"""
        roof = self._cache.sampled_roof(plan)
        layer_s = self._layer_s(plan, plan.recompute, roof)
        # Of clocks far below both samples the first bounds say more.
        return max(self.sharded_s(plan), self._whole_step_s(plan, layer_s, roof.head_s))

    def close_s(self, plan: Plan) -> float:
        """The same, with kernels at their clock and the layer's traffic behind them. [s]"""
        cache = self._cache
        compute = cache.layer_compute(plan)
        traffic = cache.unsharded_traffic(plan)
        recompute_s = recompute_layer_s(cache.job, plan, compute, traffic)
        layer_s = compute.layer_s + recompute_s + traffic.exposed_s + traffic.slowdown_s
        return self._whole_step_s(plan, layer_s, compute.head_s)

    def _layer_roof(self, plan: Plan, recompute: Recompute) -> tuple[float, float]:
        """Least seconds of a layer and of the head. [s]"""
        key = (*layer_key(plan), recompute, plan.recompute_layers)
        found = self._layers.get(key)
        if found is None:
            roof = self._cache.layer_roof(plan)
            found = self._layers[key] = self._layer_s(plan, recompute, roof), roof.head_s
        return found

    def _layer_s(self, plan: Plan, recompute: Recompute, roof: LayerRoof) -> float:
        share = recompute_share(self._cache.job, plan, recompute)
        layer_s = roof.kernels_s(share) + roof.traffic_s
        return layer_s + share * roof.forward_traffic_s if recompute == "full" else layer_s

    def _whole_step_s(self, plan: Plan, layer_s: float, head_s: float) -> float:
        rest = self._rests.get(plan)
        if rest is None:
            rest = self._rests[plan] = self._new_rest(plan)
        return self._step_s(plan, layer_s + rest.layer_s, head_s, rest)

    def _new_rest(self, plan: Plan) -> _Rest:
        cache, job = self._cache, self._cache.job
        communicators = cache.communicators(plan)
        stages = stages_of(job.model, plan)
        fullest = max(stages.first_layers, stages.middle_layers, stages.last_layers)
        data = data_traffic(job, plan, communicators, ENDLESS_COMPUTE, n_layers=fullest)
        return _Rest(
            layer_s=self._sharded_layer_s(plan),
            send_s=communicators.pipeline_send_s(send_bytes(job, plan)),
            step_s=optimizer_s(job, plan, cache.device) + data.exposed_s + data.slowdown_s,
        )

    def _sharded_layer_s(self, plan: Plan) -> float:
        """What gathers and scatters of a layer's sharded states cost it at least. [s]"""
        if plan.zero < 2:
            return 0.0
        key = (plan.tp, plan.n_gradient_ranks, plan.n_shards, plan.zero)
        found = self._sharded.get(key)
        if found is None:
            job, communicators = self._cache.job, self._cache.communicators(plan)
            traffic = layer_traffic(job, plan, communicators, ENDLESS, ENDLESS)
            slowdown_s = traffic.slowdown_fraction * traffic.fsdp_hidden_s
            found = self._sharded[key] = traffic.fsdp_exposed_s + slowdown_s
        return found

    def _step_s(self, plan: Plan, layer_s: float, head_s: float, rest: _Rest = NO_REST) -> float:
        job = self._cache.job
        pace = pace_of(job, plan, layer_s, head_s)
        bubble_s, sends_s = pipeline_seconds(job, plan, pace, rest.send_s)
        computing_s = n_micro_batches_of(job, plan) * pace.slowest_s
        rest_s = rest.step_s + job.framework.host.step_s
        return self._slower * (computing_s + bubble_s + sends_s + rest_s)
