"""From a published run to what the predictor needs, or the reason why it cannot be had."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from twin.training.plan import Attention, Plan, Recompute
from twin.validation.framework_defaults import (
    FRAMEWORK_DEFAULTS,
    FrameworkDefaults,
    framework_key,
)
from twin.validation.link_text import inter_node_bandwidth_bytes_per_s
from twin.validation.runs_table import PublishedRun
from twin.workload.transformer import ModelError, Transformer

__all__ = ["RunRequest", "Unsupported", "dense_core_rows", "run_request"]

FALLBACK_VOCABULARY = 50_257
"""Where a source states none: the byte-pair vocabulary that Megatron examples use. [token]"""

MINIMUM_LAYERS_PER_CHUNK = 2
"""Chunks of this many layers at least, where a framework interleaves as much as it can. [1]"""

SIXTEEN_BIT = ("bf16", "fp16")

PRECISIONS = {
    "bf16": "bf16",
    "fp16": "fp16",
    "amp": "fp16",
    "fp8": "fp8",
    "mxfp8": "fp8",
    "bf16+fp8": "fp8",
    "fp16 or bf16": "bf16",
    "not stated (fp16 or bf16)": "bf16",
}
"""Precision as a source names it to the one that is predicted."""

RACK_DEVICES = ("GB200", "GB300")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One run, ready to be predicted."""

    run_id: str
    source_id: str
    accelerator: str
    """Name or alias of the device's profile."""
    n_devices: int
    devices_per_node: int | None
    inter_node_bandwidth_bytes_per_s_per_node: float | None
    transformer: Transformer
    seq_len: int
    global_batch: int
    precision: str
    framework: str
    plan: Plan
    has_stated_layout: bool
    """tp, pp, micro-batch, sequence, batch and layers all stand in the source."""
    has_stated_precision: bool
    measured_step_time_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsupported:
    """Why a run cannot be predicted."""

    why: str


class _CannotPredictError(Exception):
    """A run lacks what a prediction needs; the text is the reason."""


def _refuse_what_is_not_modelled(run: PublishedRun) -> None:
    if run.n_experts:
        reason = "mixture of experts"
    elif run.task == "lora" or "lora" in run.model_name.lower():
        reason = "LoRA fine-tuning"
    elif run.consistency.upper().startswith("FLAG"):
        reason = "the source contradicts itself (FLAG)"
    elif "offload" in run.sharding.lower() or run.n_cpu_offload_layers:
        reason = "offload to the host"
    elif run.attention_type == "mla":
        reason = "latent attention"
    else:
        return
    raise _CannotPredictError(reason)


def _precision(run: PublishedRun, defaults: FrameworkDefaults) -> str:
    stated = run.precision.strip().lower()
    if not stated:
        return defaults.precision or "bf16"
    if stated not in PRECISIONS:
        reason = f"precision {stated}"
        raise _CannotPredictError(reason)
    return PRECISIONS[stated]


def _zero(run: PublishedRun, defaults: FrameworkDefaults) -> int:
    """ZeRO stage from the sharding as the source words it. [1]"""
    words = run.sharding.lower()
    if "shard_grad_op" in words or "zero2" in words:
        return 2
    if "fsdp" in words or "hsdp" in words or "zero3" in words:
        return 3
    if "zero1" in words:
        return 1
    if words in ("ddp", "none"):
        return 0
    if words.startswith("megatron"):
        return defaults.replicated_zero
    reason = f"sharding {run.sharding or 'not stated'}"
    raise _CannotPredictError(reason)


def _size(value: int | None, *, name: str, is_implied: bool) -> int:
    """A parallel size, 1 where the sharding leaves no other."""
    if value is not None:
        return value
    if is_implied:
        return 1
    reason = f"{name} not stated"
    raise _CannotPredictError(reason)


def _micro_batch(run: PublishedRun, dp: int) -> int:
    if run.micro_batch is not None:
        return run.micro_batch
    if run.n_micro_batches and run.global_batch:
        per_rank, rest = divmod(run.global_batch, dp * run.n_micro_batches)
        if rest == 0 and per_rank > 0:
            return per_rank
    reason = "micro-batch not stated"
    raise _CannotPredictError(reason)


def _chunks(run: PublishedRun, defaults: FrameworkDefaults, *, pp: int, n_layers: int) -> int:
    if run.vpp is not None or pp == 1:
        return run.vpp or 1
    if defaults.interleaving == "none":
        return 1
    fitting = [
        v
        for v in range(1, n_layers + 1)
        if n_layers % (pp * v) == 0 and n_layers // (pp * v) >= MINIMUM_LAYERS_PER_CHUNK
    ]
    return max(fitting, default=1)


def _recompute(run: PublishedRun, defaults: FrameworkDefaults) -> Recompute:
    stated = run.recompute.strip().lower()
    if not stated:
        return defaults.recompute
    if stated == "none":
        return "none"
    if stated == "selective":
        return "selective"
    if stated == "full":
        return "full"
    reason = f"recompute {stated}"
    raise _CannotPredictError(reason)


def _attention(run: PublishedRun, defaults: FrameworkDefaults) -> Attention:
    if run.has_flash_attention is None:
        return defaults.attention
    return "flash" if run.has_flash_attention else "unfused"


def _transformer(run: PublishedRun, defaults: FrameworkDefaults, *, tp: int) -> Transformer:
    needed = {"layers": run.n_layers, "hidden": run.hidden, "heads": run.n_heads}
    missing = [name for name, value in needed.items() if value is None]
    if missing or run.n_layers is None or run.hidden is None or run.n_heads is None:
        reason = f"{', '.join(missing)} not stated"
        raise _CannotPredictError(reason)
    multiple = defaults.vocabulary_multiple * (tp if defaults.vocabulary_multiple > 1 else 1)
    vocabulary = run.vocabulary or FALLBACK_VOCABULARY
    try:
        return Transformer(
            schema_version=1,
            kind="model",
            name=run.model_name or run.run_id,
            title=run.model_name,
            n_layers=run.n_layers,
            hidden=run.hidden,
            ffn_hidden=run.ffn_hidden or 4 * run.hidden,
            n_heads=run.n_heads,
            n_kv_heads=run.n_kv_heads or run.n_heads,
            head_dim=run.head_dim or run.hidden // run.n_heads,
            vocabulary=-(-vocabulary // multiple) * multiple,
            is_gated_mlp=bool(run.is_gated_mlp),
            has_tied_embeddings=False,
        )
    except ModelError as refusal:
        raise _CannotPredictError(str(refusal)) from refusal


def _plan(run: PublishedRun, defaults: FrameworkDefaults, n_devices: int) -> Plan:
    zero = _zero(run, defaults)
    is_data_parallel_only = zero >= 2 and "tp" not in run.sharding and "pp" not in run.sharding
    is_implied = is_data_parallel_only or run.sharding.lower() in ("ddp", "none")
    tp = _size(run.tp, name="tp", is_implied=is_implied)
    pp = _size(run.pp, name="pp", is_implied=is_implied or zero >= 2)
    cp = run.cp or 1
    dp, rest = divmod(n_devices, tp * pp * cp)
    if rest or dp == 0:
        reason = f"tp·pp·cp={tp * pp * cp} does not divide {n_devices} devices"
        raise _CannotPredictError(reason)
    sequence_parallel = run.has_sequence_parallel
    if sequence_parallel is None:
        sequence_parallel = defaults.sequence_parallel
    return Plan(
        tp=tp,
        pp=pp,
        vpp=_chunks(run, defaults, pp=pp, n_layers=run.n_layers or 1),
        cp=cp,
        dp=dp,
        zero=zero,
        micro_batch=_micro_batch(run, dp),
        sequence_parallel=sequence_parallel and tp > 1,
        recompute=_recompute(run, defaults),
        recompute_layers=run.n_recompute_layers,
        attention=_attention(run, defaults),
    )


def _request(run: PublishedRun) -> RunRequest:
    _refuse_what_is_not_modelled(run)
    measured_s = run.measured_step_time_s
    if measured_s is None:
        reason = "neither a step time nor tokens per second with a batch"
        raise _CannotPredictError(reason)
    if run.n_devices is None or run.seq_len is None or run.global_batch is None:
        reason = "devices, sequence or global batch not stated"
        raise _CannotPredictError(reason)
    key = framework_key(run.framework, source_id=run.source_id)
    defaults = FRAMEWORK_DEFAULTS[key]
    plan = _plan(run, defaults, run.n_devices)
    per_node = run.n_devices_per_node
    stated = (run.tp, run.pp, run.micro_batch, run.seq_len, run.global_batch, run.n_layers)
    return RunRequest(
        run_id=run.run_id,
        source_id=run.source_id,
        accelerator=run.device,
        n_devices=run.n_devices,
        devices_per_node=per_node,
        inter_node_bandwidth_bytes_per_s_per_node=inter_node_bandwidth_bytes_per_s(
            run.interconnect_inter, devices_per_node=per_node or 8
        ),
        transformer=_transformer(run, defaults, tp=plan.tp),
        seq_len=run.seq_len,
        global_batch=run.global_batch,
        precision=_precision(run, defaults),
        framework=key,
        plan=plan,
        has_stated_layout=None not in stated,
        has_stated_precision=bool(run.precision),
        measured_step_time_s=measured_s,
    )


def run_request(run: PublishedRun) -> RunRequest | Unsupported:
    """Everything the predictor needs of a run, or why it cannot be predicted.

    What a source leaves out is filled by the rules of its framework, the same for all its runs.
    """
    try:
        return _request(run)
    except _CannotPredictError as refusal:
        return Unsupported(why=str(refusal))


def dense_core_rows(requests: Iterable[RunRequest]) -> list[RunRequest]:
    """Dense runs that state their layout, in 16 bits, without context parallelism, not on racks.

    These leave nothing to assume but the framework's constants, so their error is the one that
    says most about the model of the step.
    """
    return [
        request
        for request in requests
        if request.has_stated_layout
        and request.precision in SIXTEEN_BIT
        and request.plan.cp == 1
        and request.accelerator not in RACK_DEVICES
    ]
