"""From a published run to what the predictor needs, or the reason why it cannot be predicted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hardware_profiles.errors import TweelingError
from twin.training.job import PRECISIONS
from twin.training.plan import Plan
from twin.validation.framework_defaults import FRAMEWORK_DEFAULTS, FrameworkDefaults, framework_key
from twin.validation.link_text import inter_node_bandwidth_bytes_per_s, n_inter_node_links
from twin.validation.measured_servers import server_accelerator
from twin.validation.run_model import run_transformer
from twin.validation.run_plan import UnstatedError, run_plan
from twin.validation.runs_table import PublishedRun
from twin.workload.transformer import Transformer

__all__ = [
    "RunRequest",
    "Unsupported",
    "dense_core_rows",
    "is_dense_core",
    "is_dense_stated",
    "run_request",
]

TRAY_OF_FOUR = re.compile(r"^(?:GB200|GB300|GH200)")
"""Superchips stand four to a tray; all other servers of the collection hold eight devices."""

WITHOUT_BF16 = re.compile(r"^(?:V100|P100|T4)")
SIXTEEN_BIT = frozenset(("bf16", "fp16"))
MIXED_WITH_FP8 = "bf16+fp8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsupported:
    """A run that is not predicted."""

    run_id: str
    source_id: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A published run in the words of the predictor."""

    run_id: str
    source_id: str
    accelerator: str
    """The source's name of the device, which aliases of the profiles resolve, or the profile of its
    own server where it has published the kernels of that."""
    n_devices: int
    devices_per_node: int
    inter_node_bandwidth_bytes_per_s_per_node: float | None
    """None where the source states none. [byte/s]"""
    n_network_cards: int | None
    """Cards of a node, where the source counts them. [1]"""
    transformer: Transformer
    seq_len: int
    global_batch: int
    precision: str
    framework: str
    """Key of `FRAMEWORK_DEFAULTS`."""
    plan: Plan
    sharding: str
    """As the source names it."""
    task: str
    cuda_graph: str | None
    """None where it is not known."""
    software_release: str | None
    is_moe: bool
    has_stated_layout: bool
    """Whether the run itself gives tp, pp, micro-batch, sequence, batch and layers."""
    is_dense_core: bool
    """See the function of that name."""
    measured_step_time_s: float
    measured_memory_bytes: float | None


def run_request(run: PublishedRun) -> RunRequest | Unsupported:
    """Turn a published run into a request for a prediction.

    What the run leaves open is filled by `FRAMEWORK_DEFAULTS` of its framework, by the same rules
    for every run; nothing is read from the measured result except the step time itself.
    """
    reasons = (reason(run) for reason in EXCLUSIONS)
    why = next((reason for reason in reasons if reason is not None), None)
    if why is None:
        try:
            return _request(run)
        except TweelingError as error:
            why = str(error)
    return Unsupported(run_id=run.run_id, source_id=run.source_id, why=why)


def is_dense_core(run: PublishedRun) -> bool:
    """Whether every predictor of dense training should cover a run, on this collection 322.

    Measured and free of contradiction; dense, all weights trained; tp, pp, micro-batch, sequence,
    batch and layers stated; 16-bit or unstated precision; no context parallelism; not on GB200,
    whose link domain spans servers.
    """
    is_dense = _is_expert_model(run) is None and _is_lora(run) is None
    is_measured = run.measured_step_time_s is not None and _is_flagged(run) is None
    is_sixteen_bit = run.precision in SIXTEEN_BIT or _is_precision_open(run)
    is_plain = run.cp in (None, 1) and not run.device.startswith("GB200")
    return is_dense and is_measured and is_sixteen_bit and is_plain and _has_stated_layout(run)


def is_dense_stated(run: PublishedRun) -> bool:
    """Whether a dense run states enough to be predicted, on this collection 494.

    Free of contradiction; dense, all weights trained; tp, pp and layers stated; a step time, or a
    rate with a batch.
    """
    is_dense = _is_expert_model(run) is None and _is_lora(run) is None
    is_measured = run.measured_step_time_s is not None and _is_flagged(run) is None
    return is_dense and is_measured and None not in (run.tp, run.pp, run.n_layers)


def dense_core_rows(requests: Iterable[RunRequest]) -> tuple[RunRequest, ...]:
    """Requests of dense core runs; see `is_dense_core`."""
    return tuple(request for request in requests if request.is_dense_core)


def _request(run: PublishedRun) -> RunRequest:
    key = framework_key(run.framework, source_id=run.source_id, notes=run.notes)
    defaults = FRAMEWORK_DEFAULTS[key]
    per_node = run.n_devices_per_node or (4 if TRAY_OF_FOUR.match(run.device) else 8)
    laid_out = run_plan(run, defaults=defaults, framework=key, devices_per_node=per_node)
    bandwidth = inter_node_bandwidth_bytes_per_s(run.interconnect_inter, devices_per_node=per_node)
    return RunRequest(
        run_id=run.run_id,
        source_id=run.source_id,
        accelerator=server_accelerator(run.source_id, run.device),
        n_devices=laid_out.plan.n_devices,
        devices_per_node=per_node,
        inter_node_bandwidth_bytes_per_s_per_node=bandwidth,
        n_network_cards=n_inter_node_links(run.interconnect_inter),
        transformer=run_transformer(run, vocabulary_multiple=defaults.padding(laid_out.plan.tp)),
        seq_len=run.seq_len or 0,
        global_batch=laid_out.global_batch,
        precision=_precision(run, defaults),
        framework=key,
        plan=laid_out.plan,
        sharding=run.sharding,
        task=run.task or "pretrain",
        cuda_graph=run.cuda_graph or None,
        software_release=run.software_release or None,
        is_moe=False,
        has_stated_layout=_has_stated_layout(run),
        is_dense_core=is_dense_core(run),
        measured_step_time_s=_step_time_s(run, global_batch=laid_out.global_batch),
        measured_memory_bytes=run.memory_bytes,
    )


def _step_time_s(run: PublishedRun, *, global_batch: int) -> float:
    """Measured step time; a batch that follows from the accumulation counts as stated."""
    rate = run.tokens_per_s_per_device or run.derived_tokens_per_s_per_device
    if run.measured_step_time_s is not None:
        return run.measured_step_time_s
    if rate is None or run.seq_len is None or run.n_devices is None:
        msg = "neither a step time nor tokens per second"
        raise UnstatedError(msg)
    return global_batch * run.seq_len / (rate * run.n_devices)


def _is_expert_model(run: PublishedRun) -> str | None:
    is_expert = bool(run.n_experts) or run.n_active_parameters is not None
    return "mixture of experts is not modelled yet" if is_expert else None


def _is_lora(run: PublishedRun) -> str | None:
    # The notes count only where no task is stated: MLPerf notes name LoRA beside other tasks.
    text = run.task or f"{run.model_name} {run.notes}"
    return "low-rank adapters (LoRA) are not modelled yet" if "lora" in text.lower() else None


def _is_offloaded(run: PublishedRun) -> str | None:
    if "offload" in run.sharding.lower():
        return "optimizer states are offloaded to the host, which is not modelled"
    if run.n_cpu_offload_layers:
        n_layers = run.n_cpu_offload_layers
        return f"activations of {n_layers} layers are offloaded to the host, which is not modelled"
    return None


def _is_flagged(run: PublishedRun) -> str | None:
    return "the source contradicts itself (FLAG)" if run.consistency == "FLAG" else None


def _lacks_shape(run: PublishedRun) -> str | None:
    named = {
        "the number of layers": run.n_layers,
        "the hidden width": run.hidden,
        "the number of heads": run.n_heads,
        "the number of devices": run.n_devices,
        "the sequence length": run.seq_len,
    }
    missing = [name for name, value in named.items() if value is None]
    return f"{missing[0]} is not stated" if missing else None


EXCLUSIONS: tuple[Callable[[PublishedRun], str | None], ...] = (
    _is_expert_model,
    _is_lora,
    _is_offloaded,
    _is_flagged,
    _lacks_shape,
)


def _precision(run: PublishedRun, defaults: FrameworkDefaults) -> str:
    """Precision of the matrix products."""
    if run.precision in PRECISIONS:
        return run.precision
    if run.precision == MIXED_WITH_FP8:
        return "fp8"
    if not _is_precision_open(run):
        msg = f'precision "{run.precision}" is not known'
        raise UnstatedError(msg)
    return defaults.precision or ("fp16" if WITHOUT_BF16.match(run.device) else "bf16")


def _is_precision_open(run: PublishedRun) -> bool:
    """Some 16-bit format, but which one is not said: blank, ``amp`` or ``fp16 or bf16``."""
    return run.precision in ("", "amp") or "fp16 or bf16" in run.precision


def _has_stated_layout(run: PublishedRun) -> bool:
    stated = (run.tp, run.pp, run.micro_batch, run.seq_len, run.global_batch, run.n_layers)
    return all(value is not None for value in stated)
