"""Lower bounds of a step, so that a search passes over plans that cannot win.

Both leave out what they do not know and never what they do: every cause of a step is at least
zero, and neither pace nor bubble falls when a layer takes longer. Sums are taken in another order
than in the step, so a bound may exceed it by rounding; `ROUNDING_FRACTION` is far above that.
"""

from __future__ import annotations

from twin.training.layer_compute import KernelCache
from twin.training.pipeline_time import n_micro_batches_of, pace_of, pipeline_seconds, send_bytes
from twin.training.plan import Plan
from twin.training.step import (
    optimizer_s,
    recompute_layer_s,
    recompute_share,
    straggler_fraction,
)

__all__ = ["ROUNDING_FRACTION", "StepBounds"]

ROUNDING_FRACTION = 1e-9
"""Share of a step by which a bound of it is distrusted. [1]"""


class StepBounds:
    """Bounds of the steps of one job."""

    def __init__(self, cache: KernelCache) -> None:
        self._cache = cache
        self._slower = 1.0 + straggler_fraction(cache.job)

    def cheap_s(self, plan: Plan) -> float:
        """Compute, traffic of tensor and context ranks and bubble, from `LayerRoof`. [s]

        The ZeRO stage is not looked at.
        """
        roof = self._cache.layer_roof(plan)
        share = recompute_share(self._cache.job, plan)
        layer_s = roof.kernels_s(share) + roof.traffic_s
        if plan.recompute == "full":
            layer_s += share * roof.forward_traffic_s
        return self._step_s(plan, layer_s, roof.head_s)

    def unsharded_s(self, plan: Plan) -> float:
        """The step but for traffic among replicas and of sharded states. [s]"""
        cache, job = self._cache, self._cache.job
        compute = cache.layer_compute(plan)
        traffic = cache.unsharded_traffic(plan)
        recompute_s = recompute_layer_s(job, plan, compute, traffic)
        layer_s = compute.layer_s + recompute_s + traffic.exposed_s + traffic.slowdown_s
        send_s = cache.communicators(plan).pipeline_send_s(send_bytes(job, plan))
        rest_s = optimizer_s(job, plan, cache.device)
        return self._step_s(plan, layer_s, compute.head_s, send_s=send_s, rest_s=rest_s)

    def _step_s(
        self,
        plan: Plan,
        layer_s: float,
        head_s: float,
        *,
        send_s: float = 0.0,
        rest_s: float = 0.0,
    ) -> float:
        job = self._cache.job
        pace = pace_of(job, plan, layer_s, head_s)
        bubble_s, sends_s = pipeline_seconds(job, plan, pace, send_s)
        computing_s = n_micro_batches_of(job, plan) * pace.slowest_s
        return self._slower * (
            computing_s + bubble_s + sends_s + rest_s + job.framework.host.step_s
        )
