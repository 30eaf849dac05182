"""The best plan for a job: exhaustive over what the user left open.

Every candidate keeps the rules of `plan_rules`. Candidates that do not fit in memory are dropped
before their time is computed; when none fits, the one that needs least memory is returned, so
that the answer can say by how much it misses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar, get_args

from twin.scenario.scenario import PlanRequest
from twin.training.job import TrainingJob
from twin.training.memory import memory_use
from twin.training.plan import Attention, Plan, PlanError, Recompute
from twin.training.plan_rules import check_plan, divisors
from twin.training.predictor import StepPredictor

__all__ = ["choose_plan"]

Choice = TypeVar("Choice", bound=str)

SHORTEST_CONTEXT_SHARE = 4_096
"""Context ranks are not given less of a sequence than this unless asked. [token]"""

COMFORTABLE_SHARE = 0.95
"""Plans are sought within this share of memory; fuller ones only when nothing else fits. [1]"""

LARGEST_MICRO_BATCH = 16
MOST_STAGES = 64
MOST_CHUNKS = 8
LARGEST_CONTEXT = 16


@dataclass(frozen=True, slots=True)
class _Open:
    """Candidate values of each field of a plan."""

    tp: list[int]
    pp: list[int]
    cp: list[int]
    zero: list[int]
    recompute: list[Recompute]
    attention: Attention


def _one_of(option: str, value: str, choices: tuple[Choice, ...]) -> Choice:
    for choice in choices:
        if choice == value:
            return choice
    msg = f"--{option} {value}: expected one of {', '.join(str(choice) for choice in choices)}"
    raise PlanError(msg)


def _powers_of_two(limit: int) -> list[int]:
    return [2**e for e in range(limit.bit_length()) if 2**e <= limit]


def _tensor_sizes(job: TrainingJob) -> list[int]:
    node = job.machine.node
    domain = min(node.intra_node.domain_n_devices or node.n_devices, node.n_devices)
    tiles = divisors(min(domain, job.n_devices))
    return [d for d in divisors(job.model.n_heads) if d in tiles]


def _stage_counts(job: TrainingJob) -> list[int]:
    most = min(job.model.n_layers, MOST_STAGES)
    return [size for size in divisors(job.n_devices) if size <= most]


def _recompute_choices(
    job: TrainingJob, request: PlanRequest, attention: Attention
) -> list[Recompute]:
    if request.recompute is not None:
        return [_one_of("recompute", request.recompute, get_args(Recompute))]
    helps = attention == "unfused" or job.framework.selective_recompute_fraction > 0
    return ["none", "selective", "full"] if helps else ["none", "full"]


def _open_fields(job: TrainingJob, request: PlanRequest) -> _Open:
    attention: Attention = _one_of("attention", request.attention or "flash", get_args(Attention))
    most_ranks = max(1, min(LARGEST_CONTEXT, job.seq_len // SHORTEST_CONTEXT_SHARE))
    contexts = _powers_of_two(most_ranks)
    return _Open(
        tp=[request.tp] if request.tp is not None else _tensor_sizes(job),
        pp=[request.pp] if request.pp is not None else _stage_counts(job),
        cp=[request.cp] if request.cp is not None else contexts,
        zero=[request.zero] if request.zero is not None else list(job.framework.zero_choices),
        recompute=_recompute_choices(job, request, attention),
        attention=attention,
    )


def _chunk_counts(job: TrainingJob, request: PlanRequest, pp: int) -> list[int]:
    if request.vpp is not None:
        return [request.vpp]
    if pp == 1:
        return [1]
    layers = job.model.n_layers
    return [
        v
        for v in range(1, MOST_CHUNKS + 1)
        if layers % (pp * v) == 0 or (v > 1 and (layers + 2) % (pp * v) == 0) or v == 1
    ]


def _micro_batches(job: TrainingJob, request: PlanRequest, dp: int) -> list[int]:
    if request.micro_batch is not None:
        return [request.micro_batch]
    per_rank = job.global_batch // dp
    sizes = [b for b in divisors(per_rank) if b <= LARGEST_MICRO_BATCH]
    return sizes if job.global_batch % dp == 0 else [1]


def _sequence_choices(job: TrainingJob, request: PlanRequest, tp: int, cp: int) -> list[bool]:
    if request.sequence_parallel is not None:
        return [request.sequence_parallel]
    divides = job.seq_len % (tp * cp) == 0
    return (
        [True, False] if tp > 1 and job.framework.default_sequence_parallel and divides else [False]
    )


def _sizes(job: TrainingJob, request: PlanRequest) -> Iterator[tuple[int, int, int, int]]:
    """Tensor, pipeline, context and data sizes that fill the devices."""
    fields = _open_fields(job, request)
    is_pinned = any(size is not None for size in (request.tp, request.pp, request.cp))
    for tp in fields.tp:
        for pp in fields.pp:
            if pp == 1 and request.pp is None and (request.vpp or 1) > 1:
                continue
            for cp in fields.cp:
                dp = max(1, job.n_devices // (tp * pp * cp))
                # A pinned size that does not divide is refused by its rule, with the reason.
                if tp * pp * cp * dp == job.n_devices or is_pinned:
                    yield tp, pp, cp, dp


def _shapes(job: TrainingJob, request: PlanRequest) -> Iterator[Plan]:
    """Candidates up to zero and recompute."""
    attention = _open_fields(job, request).attention
    for tp, pp, cp, dp in _sizes(job, request):
        for vpp in _chunk_counts(job, request, pp):
            for micro_batch in _micro_batches(job, request, dp):
                for sequence_parallel in _sequence_choices(job, request, tp, cp):
                    yield Plan(
                        tp=tp,
                        pp=pp,
                        vpp=vpp,
                        cp=cp,
                        ep=request.ep or 1,
                        dp=dp,
                        micro_batch=micro_batch,
                        sequence_parallel=sequence_parallel,
                        attention=attention,
                        shard_group=request.shard_group,
                        recompute_layers=request.recompute_layers,
                    )


def _candidates(job: TrainingJob, request: PlanRequest) -> Iterator[Plan]:
    fields = _open_fields(job, request)
    for shape in _shapes(job, request):
        for zero in fields.zero:
            if request.zero is None and zero and shape.dp * shape.cp == 1 and len(fields.zero) > 1:
                continue
            if request.zero is None and zero > 1 and shape.pp > 1:
                continue
            for recompute in fields.recompute:
                yield replace(shape, zero=zero, recompute=recompute)


def _valid(job: TrainingJob, request: PlanRequest) -> list[Plan]:
    """Candidates that keep the rules; the first breach is raised when none does."""
    valid: list[Plan] = []
    first_breach: PlanError | None = None
    for plan in _candidates(job, request):
        try:
            check_plan(job, plan)
        except PlanError as breach:
            first_breach = first_breach or breach
            continue
        valid.append(plan)
    if valid:
        return valid
    if first_breach is not None:
        raise first_breach
    msg = (
        f"no plan for devices={job.n_devices}, global-batch={job.global_batch} and "
        f"{job.model.name}; use a number of devices that tp·pp can divide and a global batch "
        "that is a multiple of the data-parallel size"
    )
    raise PlanError(msg)


def choose_plan(predictor: StepPredictor, request: PlanRequest) -> Plan:
    """The fastest plan that fits, among those that keep what the user pinned.

    Raises
    ------
    PlanError
        No candidate keeps the rules; the message is the first rule broken.
    """
    job = predictor.job
    plans = _valid(job, request)
    if len(plans) == 1:
        return plans[0]
    capacity = job.machine.accelerator.memory.capacity_bytes
    needed = {plan: memory_use(job, plan).total_bytes for plan in plans}
    comfortable = [plan for plan in plans if needed[plan] <= COMFORTABLE_SHARE * capacity]
    fitting = comfortable or [plan for plan in plans if needed[plan] <= capacity]
    return _fastest(predictor, fitting) or min(plans, key=lambda plan: needed[plan])


def _fastest(predictor: StepPredictor, plans: list[Plan]) -> Plan | None:
    """The fastest of some plans: those with the lowest bounds first, until none can win."""
    bounds = {plan: predictor.least_time_s(plan) for plan in plans}
    best, best_s = None, float("inf")
    for plan in sorted(plans, key=lambda plan: bounds[plan]):
        if bounds[plan] >= best_s:
            break
        time_s = predictor.step(plan).time_s
        if time_s < best_s:
            best, best_s = plan, time_s
    return best
