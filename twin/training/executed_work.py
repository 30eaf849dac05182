"""Work that one step executes on the mean device, repeated work included."""

from __future__ import annotations

from collections.abc import Callable

from twin.training.job import TrainingJob
from twin.training.layer_time import KernelTime, PassTime
from twin.training.plan import Plan
from twin.training.step import Step, recompute_share

__all__ = ["executed_work"]


def _sum(passes: PassTime, amount: Callable[[KernelTime], float]) -> float:
    return sum(amount(kernel) for kernel in passes.kernels)


def executed_work(
    job: TrainingJob, plan: Plan, step: Step, amount: Callable[[KernelTime], float]
) -> tuple[float, float]:
    """Sum an amount over all kernels of a step on the mean device.

    Parameters
    ----------
    job, plan, step
        The prediction.
    amount
        What to sum of a kernel: flop, weighted flop, bytes.

    Returns
    -------
    tuple of float
        What is done once, and what recomputation repeats, in the unit of the amount.
    """
    compute = step.compute
    layers = step.n_micro_batches * job.model.n_layers / plan.pp
    heads = step.n_micro_batches / plan.pp
    forward = _sum(compute.forward, amount)
    once = layers * (forward + _sum(compute.backward, amount))
    once += heads * (_sum(compute.head_forward, amount) + _sum(compute.head_backward, amount))
    share = recompute_share(job, plan)
    repeated = share * forward
    if plan.recompute == "selective" and plan.attention == "unfused":
        attention = sum(amount(k) for k in compute.forward.kernels if k.kind == "attention")
        repeated += (1.0 - share) * attention
    return once, layers * repeated
