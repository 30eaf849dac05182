"""Training frameworks: the constants of the software between the plan and the kernels.

One TOML file per framework in ``frameworks/``; `extends` names the files that supply whatever is
left out, the last one named winning. A file whose name begins with an underscore is no framework
but a set of constants that several share. A constant here is a property of the software, the same
for every run of it.
"""

from __future__ import annotations

import difflib
import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from hardware_profiles.errors import TweelingError
from twin.prediction import MemoryFigure

__all__ = [
    "Constants",
    "Counts",
    "Framework",
    "FrameworkError",
    "framework",
    "framework_names",
    "home_of",
]

Constants = Mapping[tuple[str, str], float]
"""Values that stand in for those of files: (file, dotted key) to value."""

_FOLDER = Path(__file__).parent / "frameworks"


class FrameworkError(TweelingError):
    """A framework is unknown or its file is wrong."""


class HostTimes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the host spends between kernels."""

    forward_kernels_per_layer: float
    """Kernels that one layer launches forward. [1]"""
    backward_kernels_ratio: float
    """Kernels of a layer's backward pass over its forward pass. [1]"""
    tensor_parallel_kernels: float
    """Kernels added per layer and direction by tensor parallelism. [1]"""
    unfused_attention_kernels: float
    """Kernels added per layer and direction by unfused attention. [1]"""
    separate_softmax_kernels: float
    """Kernels added to those where the fused softmax does not take the scores. [1]"""
    kernel_host_s: float
    """Host time per kernel, framework included. [s]"""
    join_exponent: float
    """Of the power mean of a pass's kernels and launches: large where the host runs ahead through
    the whole pass, less where short kernels drain its queue while others are long. [1]"""
    step_s: float
    """Host work per optimizer step: norms, scalar synchronisation, logging. [s]"""


class MemoryTraffic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Passes over activations outside matrix products and attention, one direction."""

    hidden_passes: float
    """Over [tokens, hidden]: norms, residuals, dropout. [1]"""
    ffn_passes: float
    """Over [tokens, ffn_hidden]: activation. [1]"""
    qkv_passes: float
    """Over queries, keys and values: rotary embedding, layout. [1]"""
    backward_ratio: float
    """Traffic of the backward pass over the forward pass. [1]"""
    score_passes: float
    """Over the score matrix of unfused attention, forward, outside its products. [1]"""
    score_backward_passes: float
    """The same, backward. [1]"""
    fused_softmax_multiple: int
    """Heads of a rank times its sequences must be a multiple of this for the fused softmax. [1]"""
    separate_softmax_passes: float
    """Passes over the score matrix added in each direction where they are not. [1]"""
    logit_bytes: float
    """Bytes per logit over the loss, forward and backward. [byte]"""
    optimizer_bytes_per_parameter: float
    """Optimizer step: states read and written, 16-bit copy written, clip. [byte]"""
    gradient_accumulation_bytes: float
    """Bytes per parameter and micro-batch to add a gradient to its buffer; 0 if fused. [byte]"""


class Overlap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What communication hides behind compute, and what that costs."""

    tensor_parallel_fraction: float
    """Share of the other tensor-parallel traffic that runs behind compute. [1]"""
    tensor_backward_behind_weights: bool
    """The reduction that follows a column-parallel layer's input gradient runs behind its weight
    gradient: all of the backward traffic, half of it with sequence parallelism."""
    unordered_architectures: tuple[str, ...]
    """Families of devices where launches are not forced into order, so that neither these
    reductions nor the repeated gathers get behind weight gradients."""
    gradient_fraction: float
    """Share of the last backward pass that gradient reduction can hide in. [1]"""
    parameter_fraction: float
    """Share of the first forward pass that parameter gathers can hide in. [1]"""
    sharded_fraction: float
    """Share of a layer's compute that gathers of sharded parameters can hide in. [1]"""
    slowdown_fraction: float
    """Hidden communication time that comes back as slower compute. [1]"""
    pipeline_exposed_fraction: float
    """Share of point-to-point sends that the 1F1B schedule exposes. [1]"""
    interleaved_exposed_fraction: float
    """The same with interleaved chunks. [1]"""
    straggler_fraction_per_doubling: float
    """Slower slowest device per doubling of devices beyond one node. [1]"""


class MemoryUseRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the framework keeps in device memory."""

    weight_bytes: float
    """Stored width of a weight: 2 beside a master copy, 4 where fp32 weights are alone. [byte]"""
    fp8_weight_bytes: float
    """The same for weights of 8-bit products, each copy in natural order counted. [byte]"""
    fp8_transposes_on: tuple[str, ...]
    """Architectures whose 8-bit products need the weights in transposed order too."""
    fp8_input_bytes: float
    """Kept of the input of a linear layer in 8-bit training. [byte]"""
    fp8_activation_input_bytes: float
    """Kept of the input of the MLP's activation in 8-bit training. [byte]"""
    gradient_buffer_bytes: float
    """Bytes per parameter of the accumulated gradient. [byte]"""
    fp16_gradient_buffer_bytes: float
    """The same in fp16 training. [byte]"""
    placeholder_gradient_bytes: float
    """Per weight of one layer and of the head: gradients that only stand for those added to the
    buffer inside the product; 0 if there are none. [byte]"""
    optimizer_state_bytes: float
    """Bytes per parameter of moments, with the master copy where weights are apart. [byte]"""
    has_dropout: bool
    """Dropout masks are kept."""
    selective_keeps: Literal["all_but_scores", "every_second_product"]
    """What selective recomputation spares."""
    n_boundary_copies: float
    """Tensors of a stage's output kept per micro-batch in flight: outputs, and buffers that wait
    for activations and gradients of other stages. [1]"""
    keeps_ends_gathered: bool
    """Under ZeRO-3, embedding and head stay gathered through the step."""
    logit_bytes: float
    """Per logit at the fullest moment of the loss. [byte]"""
    sharded_logit_bytes: float
    """The same with the vocabulary split over tensor-parallel ranks. [byte]"""
    fixed_overhead_bytes: float
    """Driver context, libraries, communication buffers: outside the allocator. [byte]"""
    fragmentation_fraction: float
    """Memory that the allocator holds unused, over activations and buffers. [1]"""
    reported_figure: MemoryFigure
    """Which of the three figures its logs and tables give."""


Counts = dict[str, dict[str, float]]
"""Calls by operation and width of the matrix: {operation: {width: calls}}."""


class OperationCounts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Memory-bound operations, each a call of its own; see `twin.training.operation_time`."""

    forward: Counts
    """Of one layer."""
    backward: Counts
    head_forward: Counts
    head_backward: Counts
    step: Counts
    """Once for each micro-batch, outside the layers: the embedding."""


class Framework(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One framework's constants and defaults."""

    name: str
    title: str
    source: str
    host: HostTimes
    traffic: MemoryTraffic
    overlap: Overlap
    memory: MemoryUseRules
    attention_implementations: tuple[str, ...]
    """Fused attention, most wanted first; the first that the device has is used."""
    gradient_reduce_bytes: float
    """Bytes per parameter on the wire when gradients are reduced. [byte]"""
    zero_choices: tuple[int, ...]
    """ZeRO stages that a plan left open may take. [1]"""
    default_sequence_parallel: bool
    parameter_gather: Literal["all_gather", "broadcast"]
    """How updated parameters reach the ranks that share them: one collective, or one broadcast
    after another from each rank that owns a part."""
    low_precision_gather_bytes: float
    """Bytes per parameter of a layer gathered for products in 8 bits or fewer. [byte]"""
    context_balanced: bool
    """Context ranks get chunks from both ends of the sequence, so that all see the same share of
    the causal triangle; without it the rank with the last chunk sets the pace."""
    selective_recompute_fraction: float
    """Forward work that selective recomputation repeats, beside unfused attention. [1]"""
    reduces_every_micro_batch: bool
    """Sharded gradients: reduced in each micro-batch instead of once per step."""
    low_precision_casts: float
    """Passes over each GEMM input to convert it below 16 bits. [1]"""
    low_precision_gemm_ratio: float
    """Time of a product below 16 bits over that of the serving libraries which device models were
    calibrated on. [1]"""
    relative_spread_fraction: float
    """Standard deviation of log(measured / predicted) of step times, beyond what kernels and links
    account for; from published runs, see `twin.fitting.spread`. [1]"""
    operations: OperationCounts | None = None
    """What memory-bound work is, where it is known call by call; none: passes of `traffic`."""


def framework_names() -> list[str]:
    """Names of all frameworks, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("[!_]*.toml"))


@functools.cache
def _file(name: str) -> dict[str, object]:
    with (_FOLDER / f"{name}.toml").open("rb") as file:
        return tomllib.load(file)


def _merged(base: dict[str, object], document: Mapping[str, object]) -> dict[str, object]:
    merged = dict(base)
    for key, value in document.items():
        inherited = merged.get(key)
        if isinstance(value, dict) and isinstance(inherited, dict):
            merged[key] = {**inherited, **value}
        else:
            merged[key] = value
    return merged


def _with_constants(
    document: dict[str, object], constants: Mapping[str, float]
) -> dict[str, object]:
    for dotted, value in constants.items():
        table, _, key = dotted.rpartition(".")
        document = _merged(document, {table: {key: value}} if table else {key: value})
    return document


def _document(name: str, constants: Constants) -> dict[str, object]:
    document = dict(_file(name))
    bases = document.pop("extends", [])
    merged: dict[str, object] = {}
    for base in [bases] if isinstance(bases, str) else bases:  # type: ignore[attr-defined]
        merged = _merged(merged, _document(str(base), constants))
    own = {key: value for (file, key), value in constants.items() if file == name}
    return _with_constants(_merged(merged, document), own)


def home_of(name: str, key: str) -> str:
    """File that states a key of the first level for a framework: its own, or the one it inherits.

    Raises
    ------
    KeyError
        No file states it.
    """
    document = _file(name)
    if key in document:
        return name
    bases = document.get("extends", [])
    for base in reversed([bases] if isinstance(bases, str) else bases):  # type: ignore[call-overload]
        try:
            return home_of(str(base), key)
        except KeyError:
            continue
    raise KeyError(key)


def framework(name: str, constants: Constants | None = None) -> Framework:
    """Constants of one framework.

    Parameters
    ----------
    name
        A name of `framework_names`.
    constants
        Values that stand in for those of the files, as a fit or a validation wants them.

    Raises
    ------
    FrameworkError
        Unknown name: the nearest ones are listed.
    """
    names = framework_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3) or names
        msg = f"--framework {name}: unknown framework; nearest: {', '.join(near)}"
        raise FrameworkError(msg)
    return _shipped(name) if not constants else _converted(name, constants)


@functools.cache
def _shipped(name: str) -> Framework:
    return _converted(name, {})


def _converted(name: str, constants: Constants) -> Framework:
    return msgspec.convert(_document(name, constants), Framework)
