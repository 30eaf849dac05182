"""The parallel plan and the batches of a published run, with what it leaves open filled in."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hardware_profiles.errors import TweelingError
from twin.training.plan import Attention, Plan, Recompute
from twin.validation.framework_defaults import FrameworkDefaults
from twin.validation.runs_table import PublishedRun

__all__ = ["RunPlan", "UnstatedError", "run_plan"]

FEWEST_LAYERS_PER_CHUNK = 2
EMBEDDING_AND_LOSS_LAYERS = 2
"""Where layers do not divide over the stages, embedding and loss count as one layer each: the
126 layers of Llama 3.1 405B are 128 less 2. [1]"""

RECOMPUTE: dict[str, Recompute] = {"none": "none", "selective": "selective", "full": "full"}


class UnstatedError(TweelingError):
    """A run leaves out, or contradicts, something without which it cannot be predicted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """Plan of a run and the sizes that go with it."""

    plan: Plan
    global_batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sizes:
    tp: int
    pp: int
    cp: int
    dp: int


def run_plan(
    run: PublishedRun, *, defaults: FrameworkDefaults, framework: str, devices_per_node: int
) -> RunPlan:
    """Plan of a run; raises `UnstatedError` where it neither states nor implies a part of it."""
    stage = _zero_stage(run, defaults)
    sizes = _sizes(run)
    micro_batch, global_batch = _batches(run, dp=sizes.dp)
    recompute = _recompute(run, defaults)
    # torchtitan keeps gathered parameters through a pipelined step, or it would gather them
    # again for every micro-batch: ZeRO-2 in effect.
    is_kept = framework.startswith("torchtitan") and sizes.pp > 1
    n_micro_batches = global_batch // (sizes.dp * micro_batch)
    plan = Plan(
        tp=sizes.tp,
        pp=sizes.pp,
        vpp=run.vpp or _unstated_vpp(run, defaults, pp=sizes.pp, n_micro_batches=n_micro_batches),
        cp=sizes.cp,
        dp=sizes.dp,
        zero=min(stage, 2) if is_kept else stage,
        shard_group=_shard_group(run, sizes, devices_per_node=devices_per_node),
        micro_batch=micro_batch,
        sequence_parallel=sizes.tp > 1 and _sequence_parallel(run, defaults),
        recompute=recompute,
        recompute_layers=run.n_recompute_layers if recompute == "full" else None,
        attention=_attention(run, defaults),
    )
    return RunPlan(plan=plan, global_batch=global_batch)


def _zero_stage(run: PublishedRun, defaults: FrameworkDefaults) -> int:
    text = run.sharding.lower()
    stated = re.search(r"zero-?([0-3])", text)
    if stated:
        return int(stated[1])
    if "fsdp" in text or "hsdp" in text:
        return 3
    if "megatron" in text:
        return defaults.replicated_zero
    if text in ("ddp", "none"):
        return 0
    msg = f'sharding "{run.sharding}": the ZeRO stage is not known'
    raise UnstatedError(msg)


def _shard_group(run: PublishedRun, sizes: _Sizes, *, devices_per_node: int) -> int | None:
    """Ranks that share a copy of the states; None for all data-parallel ranks. [1]

    Hybrid sharding stays in the node; InternEvo's tables name the ranks of a group.
    """
    group = re.search(r"groups of (\d+)", run.sharding)
    if "hsdp" in run.sharding.lower():
        n_shards = max(1, devices_per_node // sizes.tp)
    elif group:
        n_shards = int(group[1])
    else:
        return None
    n_ranks = sizes.dp * sizes.cp
    return n_shards if n_shards < n_ranks and n_ranks % n_shards == 0 else None


def _sizes(run: PublishedRun) -> _Sizes:
    # Pure data parallelism has no other sizes to state.
    is_data_parallel = "megatron" not in run.sharding and "tp" not in run.sharding
    unstated = 1 if is_data_parallel else None
    tp, pp, cp = run.tp or unstated, run.pp or unstated, run.cp or 1
    if tp is None or pp is None:
        msg = "tensor- and pipeline-parallel sizes are not stated"
        raise UnstatedError(msg)
    dp, rest = divmod(run.n_devices or 0, tp * pp * cp)
    if rest or dp == 0 or (run.dp is not None and run.dp != dp):
        sizes = f"tp={tp} pp={pp} cp={cp} dp={run.dp or 'unstated'}"
        msg = f"{sizes} does not make {run.n_devices} devices"
        raise UnstatedError(msg)
    return _Sizes(tp=tp, pp=pp, cp=cp, dp=dp)


def _batches(run: PublishedRun, *, dp: int) -> tuple[int, int]:
    """Micro-batch and global batch, one from the other where the accumulation is stated."""
    steps = run.n_micro_batches
    global_batch, micro_batch = run.global_batch, run.micro_batch
    if global_batch is None:
        if micro_batch is None or steps is None:
            msg = "the global batch is not stated"
            raise UnstatedError(msg)
        global_batch = micro_batch * dp * steps
    if micro_batch is None:
        if steps is None or global_batch % (dp * steps):
            msg = "the micro-batch is not stated"
            raise UnstatedError(msg)
        micro_batch = global_batch // (dp * steps)
    return micro_batch, global_batch


def _unstated_vpp(
    run: PublishedRun, defaults: FrameworkDefaults, *, pp: int, n_micro_batches: int
) -> int:
    """Chunks per stage where the run names none: silence of a tuned recipe is not plain 1F1B.

    A run that says it interleaves and not how much has the fewest chunks that it can.
    """
    says_so = "interleaved" in run.notes.lower()
    if pp == 1 or n_micro_batches % pp or (defaults.interleaving == "none" and not says_so):
        return 1
    n_layers = run.n_layers or 0
    if n_layers % pp:
        n_layers += EMBEDDING_AND_LOSS_LAYERS
    most = n_layers // (pp * FEWEST_LAYERS_PER_CHUNK)
    possible = [v for v in range(1, most + 1) if n_layers % (pp * v) == 0]
    if says_so:
        return min((v for v in possible if v > 1), default=1)
    return max(possible, default=1)


def _sequence_parallel(run: PublishedRun, defaults: FrameworkDefaults) -> bool:
    stated = run.has_sequence_parallel
    return defaults.sequence_parallel if stated is None else stated


def _recompute(run: PublishedRun, defaults: FrameworkDefaults) -> Recompute:
    if not run.recompute:
        return defaults.recompute
    if run.recompute not in RECOMPUTE:
        msg = f'recompute "{run.recompute}"; expected {", ".join(RECOMPUTE)}'
        raise UnstatedError(msg)
    return RECOMPUTE[run.recompute]


def _attention(run: PublishedRun, defaults: FrameworkDefaults) -> Attention:
    if run.has_flash_attention is None:
        return defaults.attention
    return "flash" if run.has_flash_attention else "unfused"
