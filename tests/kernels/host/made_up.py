"""A made-up thread: its calls take the time that formulas with known constants give them."""

from __future__ import annotations

import functools
import io
from dataclasses import replace

from kernels.host.case import ATTENTION, GEMM, OPERATIONS
from kernels.host.formulas import (
    HostFigures,
    attention_time_s,
    gemm_time_s,
    operation_time_of_case_s,
)
from kernels.host.measure import Measuring
from kernels.host.plan import QUICK, HostPlan, host_plan
from kernels.survey.runner import Progress

FIGURES = HostFigures(50e9, 8e9, 2e9, 1e6)

BLAS = {
    "tensor_efficiency_fraction": 1.0,
    "launch_s": 1e-6,
    "fill_depth": 20.0,
    "pack_a_s": 4e-10,
    "pack_b_s": 9e-10,
    "cached_pack_ratio": 5.0,
    "cached_fill_ratio": 6.0,
    "cached_transposed_ratio": 1.5,
    "pack_cache_ratio": 4.0,
    "transposed_a_ratio": 1.5,
    "transposed_b_ratio": 1.2,
}
NUMBA = {
    "rate_ratio": 0.5,
    "fill_ratio": 2.0,
    "pack_a_ratio": 2.0,
    "pack_b_ratio": 3.0,
    "own_cached_pack_ratio": 0.8,
    "own_transposed_a_ratio": 0.8,
    "own_transposed_b_ratio": 0.9,
    "overhead_s": 8e-6,
}
FORWARD = {
    "matrix_efficiency_fraction": 0.6,
    "exponentials_per_clock_per_unit": 0.5,
    "block_latency_s": 1e-6,
    "item_latency_s": 1e-5,
    "diagonal_blocks": 0.5,
    "launch_s": 2e-5,
}
BACKWARD = {
    "backward_matrix_efficiency_fraction": 0.5,
    "backward_latency_ratio": 3.0,
    "backward_side_ratio": 2.0,
    "backward_launch_s": 5e-5,
}
OPERATION = {
    "traffic_ratio": 2.0,
    "launch_s": 6e-6,
    "cached_bandwidth_ratio": 1.2,
    "cache_bytes": 4e6,
    "row_s": 3e-8,
}
STREAM = {**OPERATION, "traffic_ratio": 1.0, "cached_bandwidth_ratio": 3.0, "row_s": 0.0}


def true_time_s(case) -> float:
    if case.family == GEMM:
        return gemm_time_s(case, FIGURES, BLAS if case.part == "blas" else BLAS | NUMBA)
    if case.family == ATTENTION:
        return attention_time_s(case, FIGURES, FORWARD | BACKWARD)
    values = STREAM if case.part in {"copy-fwd", "residual_add-fwd"} else OPERATION
    return operation_time_of_case_s(case, FIGURES, values)


class MadeUpTimer:
    """Time by formula; the anchors take what they take."""

    def intervals_s(self, call, *, first, n_intervals, n_inner):
        time_s = call(first)
        return [time_s if isinstance(time_s, float) else 1e-4] * n_intervals


def measuring(*, after=None) -> Measuring:
    """How a made-up thread is measured; `after` visits it is interrupted."""
    made = []

    def make_call(case, _pool):
        made.append(case)
        if after is not None and len(made) > after:
            raise KeyboardInterrupt
        return lambda: true_time_s(case)

    progress = Progress(io.StringIO())
    return Measuring(timer=MadeUpTimer(), make_call=make_call, progress=progress, pool_bytes=2**10)


MOST_FITTED = 10
"""Sizes of each part that a fit may see here: fewer are fitted sooner. [1]"""


@functools.cache
def small_plan() -> HostPlan:
    """The quick plan in two rounds, with one operation besides streams."""
    plan = host_plan(is_quick=True)
    kept = ("copy-fwd", "residual_add-fwd", "rmsnorm-fwd")
    cases = []
    for case in plan.cases:
        n_alike = sum(not one.is_heldout and one.part == case.part for one in cases)
        is_wanted = case.is_heldout or n_alike < MOST_FITTED
        if is_wanted and (case.family != OPERATIONS or case.part in kept):
            cases.append(case)
    return HostPlan(cases=tuple(cases), effort=replace(QUICK, n_rounds=2))
