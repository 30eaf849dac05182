"""Candidates of a search: every plan that the rules allow among what the user left open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar, get_args

from twin.scenario.scenario import PlanRequest
from twin.training.job import TrainingJob
from twin.training.plan import Attention, Plan, PlanError, Recompute, States
from twin.training.plan_rules import check_layout, check_plan, check_states, divisors

__all__ = ["Layout", "Sizes", "candidates", "first_breach", "layouts"]

Choice = TypeVar("Choice", bound=str)

SHORTEST_CONTEXT_SHARE = 4_096
"""Context ranks are not given less of a sequence than this unless asked. [token]"""

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


class Sizes(NamedTuple):
    """How a layout divides devices, layers and batch; a search goes through a thousand of them."""

    tp: int
    pp: int
    vpp: int
    cp: int
    dp: int
    micro_batch: int
    sequence_parallel: bool


class Layout(NamedTuple):
    """Plans that differ in their states alone; states keep the rules, sizes may break one."""

    sizes: Sizes
    states: tuple[States, ...]
    request: PlanRequest
    attention: Attention

    def with_states(self, states: States) -> Plan:
        """One of the plans."""
        sizes, request = self.sizes, self.request
        return Plan(
            tp=sizes.tp,
            pp=sizes.pp,
            vpp=sizes.vpp,
            cp=sizes.cp,
            ep=request.ep or 1,
            dp=sizes.dp,
            zero=states.zero,
            shard_group=request.shard_group,
            micro_batch=sizes.micro_batch,
            sequence_parallel=sizes.sequence_parallel,
            recompute=states.recompute,
            recompute_layers=request.recompute_layers,
            attention=self.attention,
        )

    def unsharded_plan(self, job: TrainingJob) -> Plan | None:
        """One of the plans, or of those with nothing sharded; None where sizes break a rule."""
        plan = self.with_states(States(0, self.states[0].recompute))
        return plan if _keeps(check_layout, job, plan) else None


def _all_sizes(job: TrainingJob, request: PlanRequest) -> Iterator[Sizes]:
    for tp, pp, cp, dp in _sizes(job, request):
        for vpp in _chunk_counts(job, request, pp):
            for micro_batch in _micro_batches(job, request, dp):
                for sequence_parallel in _sequence_choices(job, request, tp, cp):
                    yield Sizes(tp, pp, vpp, cp, dp, micro_batch, sequence_parallel)


def _state_choices(
    fields: _Open, request: PlanRequest, pp: int, n_gradient_ranks: int
) -> Iterator[States]:
    for zero in fields.zero:
        if request.zero is None and zero and n_gradient_ranks == 1 and len(fields.zero) > 1:
            continue
        if request.zero is None and zero > 1 and pp > 1:
            continue
        for recompute in fields.recompute:
            yield States(zero, recompute)


def candidates(job: TrainingJob, request: PlanRequest) -> Iterator[Plan]:
    """Every combination of what was left open, whether or not the rules allow it."""
    fields = _open_fields(job, request)
    for sizes in _all_sizes(job, request):
        layout = Layout(sizes, (), request, fields.attention)
        for states in _state_choices(fields, request, sizes.pp, sizes.dp * sizes.cp):
            yield layout.with_states(states)


def _keeps(rules: Callable[[TrainingJob, Plan], None], job: TrainingJob, plan: Plan) -> bool:
    try:
        rules(job, plan)
    except PlanError:
        return False
    return True


def layouts(job: TrainingJob, request: PlanRequest) -> list[Layout]:
    """Layouts with the states that the rules allow, in the order of `candidates`.

    Rules for sizes are left to `Layout.unsharded_plan`: most layouts are never looked at.
    """
    fields = _open_fields(job, request)
    allowed: dict[tuple[int, int], tuple[States, ...]] = {}
    found: list[Layout] = []
    for sizes in _all_sizes(job, request):
        key = (sizes.pp, sizes.dp * sizes.cp)
        states = allowed.get(key)
        if states is None:
            one = Layout(sizes, (), request, fields.attention)
            states = allowed[key] = tuple(
                choice
                for choice in _state_choices(fields, request, *key)
                if _keeps(check_states, job, one.with_states(choice))
            )
        if states:
            found.append(Layout(sizes, states, request, fields.attention))
    return found


def first_breach(job: TrainingJob, request: PlanRequest) -> PlanError:
    """Why no candidate keeps the rules: the first rule that is broken."""
    for plan in candidates(job, request):
        try:
            check_plan(job, plan)
        except PlanError as breach:
            return breach
    msg = (
        f"no plan for devices={job.n_devices}, global-batch={job.global_batch} and "
        f"{job.model.name}; use a number of devices that tp·pp can divide and a global batch "
        "that is a multiple of the data-parallel size"
    )
    return PlanError(msg)
