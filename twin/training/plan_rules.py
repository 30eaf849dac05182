"""Rules that a plan must keep; a breach says which rule, which values and what would be valid."""

from __future__ import annotations

from twin.training.job import TrainingJob
from twin.training.plan import Plan, PlanError

__all__ = ["check_layout", "check_plan", "check_states", "divisors"]

MAXIMUM_ZERO = 3


def divisors(number: int) -> list[int]:
    """All divisors, ascending."""
    small = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})


def _list(values: list[int]) -> str:
    shown = [str(value) for value in values[:12]]
    if len(values) > len(shown):
        shown.append("…")
    return ", ".join(shown)


def _check_tensor(job: TrainingJob, plan: Plan) -> None:
    model = job.model
    if model.n_heads % plan.tp or model.hidden % plan.tp:
        valid = [d for d in divisors(model.n_heads) if model.hidden % d == 0]
        msg = f"tp={plan.tp} does not divide n_heads={model.n_heads}; use {_list(valid)}"
        raise PlanError(msg)
    if plan.tp > job.n_devices:
        valid = [d for d in divisors(model.n_heads) if d <= job.n_devices]
        msg = f"tp={plan.tp} exceeds devices={job.n_devices}; use {_list(valid)}"
        raise PlanError(msg)
    if model.ffn_hidden % plan.tp:
        valid = [d for d in divisors(model.n_heads) if model.ffn_hidden % d == 0]
        msg = f"tp={plan.tp} does not divide ffn_hidden={model.ffn_hidden}; use {_list(valid)}"
        raise PlanError(msg)
    if plan.sequence_parallel and job.seq_len % (plan.cp * plan.tp):
        msg = (
            f"sequence-parallel with tp={plan.tp} and cp={plan.cp} does not divide "
            f"seq-len={job.seq_len}; switch it off or use a multiple of {plan.cp * plan.tp}"
        )
        raise PlanError(msg)
    if max(model.n_kv_heads, plan.tp) % min(model.n_kv_heads, plan.tp):
        valid = [
            d
            for d in divisors(model.n_heads)
            if max(model.n_kv_heads, d) % min(model.n_kv_heads, d) == 0
        ]
        msg = f"tp={plan.tp} does not fit n_kv_heads={model.n_kv_heads}; use {_list(valid)}"
        raise PlanError(msg)


def _check_pipeline(job: TrainingJob, plan: Plan) -> None:
    layers = job.model.n_layers
    if plan.pp > layers:
        msg = f"pp={plan.pp} exceeds n_layers={layers}; use {_list(divisors(layers))}"
        raise PlanError(msg)
    if plan.vpp > 1 and plan.pp == 1:
        msg = f"vpp={plan.vpp} needs pp > 1; with pp=1 use vpp=1"
        raise PlanError(msg)
    chunks = plan.pp * plan.vpp
    if plan.vpp > 1 and layers % chunks and (layers + 2) % chunks:
        valid = [v for v in range(1, layers // plan.pp + 1) if layers % (plan.pp * v) == 0]
        msg = (
            f"vpp={plan.vpp} with pp={plan.pp} does not divide n_layers={layers}; "
            f"use vpp {_list(valid) or '1'}"
        )
        raise PlanError(msg)


def _check_data(job: TrainingJob, plan: Plan) -> None:
    model_parallel = plan.tp * plan.pp * plan.cp
    if plan.n_devices != job.n_devices:
        valid = [d for d in divisors(job.n_devices) if d <= job.n_devices]
        msg = (
            f"tp·pp·cp={model_parallel} does not divide devices={job.n_devices}; "
            f"use a product among {_list(valid)}"
        )
        raise PlanError(msg)
    per_step = plan.dp * plan.micro_batch
    if job.global_batch % per_step:
        valid = [d for d in divisors(job.global_batch) if job.global_batch % (d * plan.dp) == 0]
        expected = (
            f"use micro-batch {_list(valid)}"
            if valid
            else f"use a global batch that is a multiple of dp={plan.dp}"
        )
        msg = (
            f"dp·micro-batch={plan.dp}·{plan.micro_batch}={per_step} does not divide "
            f"global-batch={job.global_batch}; {expected}"
        )
        raise PlanError(msg)
    if job.seq_len % (2 * plan.cp) and plan.cp > 1:
        msg = f"cp={plan.cp}: seq-len={job.seq_len} must be a multiple of 2·cp={2 * plan.cp}"
        raise PlanError(msg)


def _check_sizes(plan: Plan) -> None:
    sizes = (plan.tp, plan.pp, plan.vpp, plan.cp, plan.ep, plan.dp, plan.micro_batch)
    if min(sizes) >= 1:
        return
    names = ("tp", "pp", "vpp", "cp", "ep", "dp", "micro-batch")
    name, value = next((name, size) for name, size in zip(names, sizes, strict=True) if size < 1)
    msg = f"{name}={value}; expected a whole number of at least 1"
    raise PlanError(msg)


def _check_zero(plan: Plan) -> None:
    if not 0 <= plan.zero <= MAXIMUM_ZERO:
        msg = f"zero={plan.zero}; expected 0, 1, 2 or 3"
        raise PlanError(msg)


def _check_choices(plan: Plan) -> None:
    if plan.sequence_parallel and plan.tp == 1:
        msg = "sequence-parallel needs tp > 1; with tp=1 switch it off"
        raise PlanError(msg)
    if plan.ep != 1:
        msg = f"ep={plan.ep}; expert parallelism needs a mixture-of-experts model: use 1"
        raise PlanError(msg)


def _check_recomputation(job: TrainingJob, plan: Plan) -> None:
    if plan.recompute_layers is None:
        return
    if plan.recompute != "full":
        msg = f"recompute-layers={plan.recompute_layers} needs recompute full"
        raise PlanError(msg)
    if plan.recompute_layers > job.model.n_layers:
        msg = (
            f"recompute-layers={plan.recompute_layers} exceeds n_layers={job.model.n_layers}; "
            "use fewer, or leave it out to recompute all"
        )
        raise PlanError(msg)


def _check_schedule(job: TrainingJob, plan: Plan) -> None:
    """Interleaved chunks run in rounds of pp micro-batches."""
    n_micro_batches = job.global_batch // (plan.dp * plan.micro_batch)
    if plan.vpp > 1 and n_micro_batches % plan.pp:
        msg = (
            f"vpp={plan.vpp} with pp={plan.pp} needs a multiple of pp micro-batches and has "
            f"{n_micro_batches}; use vpp=1, a smaller micro-batch or a larger global batch"
        )
        raise PlanError(msg)


def _check_sharding(job: TrainingJob, plan: Plan) -> None:
    shards_gradients_only = plan.zero > 1 and plan.zero != MAXIMUM_ZERO
    if shards_gradients_only and plan.pp > 1 and not job.framework.reduces_every_micro_batch:
        msg = (
            f"zero={plan.zero} with pp={plan.pp}; {job.framework.name} keeps gradients whole in a "
            "pipeline: use 0, 1 or 3"
        )
        raise PlanError(msg)
    if plan.shard_group is None:
        return
    if plan.zero == 0:
        msg = (
            f"shard-group={plan.shard_group} with zero=0, which shards nothing; use zero 1, 2 or 3"
        )
        raise PlanError(msg)
    if plan.shard_group < 1 or plan.n_gradient_ranks % plan.shard_group:
        msg = (
            f"shard-group={plan.shard_group} does not divide dp·cp={plan.n_gradient_ranks}; "
            f"use {_list(divisors(plan.n_gradient_ranks))}"
        )
        raise PlanError(msg)


def _check_layers(job: TrainingJob, plan: Plan) -> None:
    _check_tensor(job, plan)
    _check_pipeline(job, plan)
    _check_data(job, plan)
    _check_schedule(job, plan)


def check_layout(job: TrainingJob, plan: Plan) -> None:
    """The rules that neither the ZeRO stage nor recomputation has a part in.

    Raises
    ------
    PlanError
        As `check_plan` does.
    """
    _check_sizes(plan)
    _check_choices(plan)
    _check_layers(job, plan)


def check_states(job: TrainingJob, plan: Plan) -> None:
    """The other rules: they see no more of a layout than its stages and gradient ranks.

    Raises
    ------
    PlanError
        As `check_plan` does.
    """
    _check_zero(plan)
    _check_recomputation(job, plan)
    _check_sharding(job, plan)


def check_plan(job: TrainingJob, plan: Plan) -> None:
    """Refuse a plan that no framework could run.

    Raises
    ------
    PlanError
        Names the rule, the values, and the valid ones.
    """
    _check_sizes(plan)
    _check_zero(plan)
    _check_choices(plan)
    _check_recomputation(job, plan)
    _check_layers(job, plan)
    _check_sharding(job, plan)
