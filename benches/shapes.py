"""Which kernels are benched: those of layers that are really trained, and sweeps.

Shapes follow from the model catalogue: Llama 3 8B and 70B and GPT-3 175B at several tensor-parallel
degrees, with 8192 tokens in a micro-batch. On the host the same layers are benched with fewer
tokens: their number is halved until one call is small enough (`HOST_LIMITS`); what is too large
with the fewest tokens is left to a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from kernels.benched.case import (
    KernelCase,
    attention_case,
    collective_case,
    gemm_case,
    operation_case,
    stream_case,
)
from kernels.survey.shapes import AttentionShape, GemmShape, LayerShape, gemm_of, linear_layers
from twin.workload.catalogue import ModelCatalogue
from twin.workload.parameters import layer_parameters
from twin.workload.transformer import Transformer

MODELS = ("llama-3-8b", "llama-3-70b", "gpt3-175b")
TOKENS = 8192
"""Tokens of a micro-batch on one device. [token]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLimit:
    """How far tokens are halved on the host."""

    least_tokens: int
    flop: float = float("inf")
    bytes: float = float("inf")

    def allows(self, case: KernelCase, *, share: float = 1.0) -> bool:
        """Whether one call is small enough, within a share of the limit."""
        size = case.shape.get("message_bytes", case.traffic_bytes)
        return case.flop <= share * self.flop and size <= share * self.bytes


HOST_LIMITS = {
    "gemm": HostLimit(least_tokens=16, flop=2.5e9),
    "attention": HostLimit(least_tokens=128, flop=2e9),
    "ops": HostLimit(least_tokens=16, bytes=64e6),
    "collectives": HostLimit(least_tokens=1, bytes=2.0**22),
}
"""Largest call of each family on two cores: tens of milliseconds."""

QUICK_SHARE = 0.25
"""Work of a quick selection's calls on the host, over those limits. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """How much is benched, and where."""

    is_host: bool
    is_quick: bool

    @property
    def tp_degrees(self) -> tuple[int, ...]:
        """Tensor-parallel degrees of the models' layers. [1]"""
        if self.is_quick:
            return (8,)
        return (1, 8) if self.is_host else (1, 2, 4, 8)

    @property
    def dtype(self) -> str:
        """What training computes in: bf16, and fp32 on the host, which has nothing narrower."""
        return "fp32" if self.is_host else "bf16"

    def fitted(self, make: Callable[[int], KernelCase]) -> KernelCase | None:
        """The case at its full number of tokens, or at what the host's limit leaves of it."""
        case = make(TOKENS)
        if not self.is_host:
            return case
        limit, tokens = HOST_LIMITS[case.family], TOKENS
        share = QUICK_SHARE if self.is_quick else 1.0
        while not limit.allows(case, share=share):
            tokens //= 2
            if tokens < limit.least_tokens:
                return None
            case = make(tokens)
        return case


def models() -> tuple[Transformer, ...]:
    """The models, from the catalogue."""
    catalogue = ModelCatalogue()
    return tuple(catalogue.model(name) for name in MODELS)


def layer_shape(model: Transformer) -> LayerShape:
    """A model of the catalogue as the survey's shapes see it."""
    return LayerShape(
        name=model.name,
        hidden=model.hidden,
        ffn_hidden=model.ffn_hidden,
        n_heads=model.n_heads,
        n_kv_heads=model.n_kv_heads,
        head_dim=model.head_dim,
        vocabulary=model.vocabulary,
        is_gated=model.is_gated_mlp,
        source=model.source,
    )


def distinct(cases: Iterable[KernelCase | None]) -> list[KernelCase]:
    """Cases without those that measure the same again; the first role stays."""
    found: dict[str, KernelCase] = {}
    for case in cases:
        if case is not None:
            layout = case.details.get("layout", "")
            found.setdefault(f"{case.name}{layout}", case)
    return list(found.values())


def gemm_cases(selection: Selection) -> list[KernelCase]:
    """Products of the layers and of the output head, and square ones of several formats."""
    return distinct([*_layer_gemms(selection), *_square_gemms(selection)])


def _layer_gemms(selection: Selection) -> Iterator[KernelCase | None]:
    for model in models():
        for tp in selection.tp_degrees:
            for linear in linear_layers(layer_shape(model), tp=tp):
                for direction in _directions(selection, model):
                    role = f"{model.name}/tp{tp}/{linear.name}"

                    def make(tokens: int, of=linear, way=direction, name=role) -> KernelCase:
                        shape = gemm_of(of, tokens=tokens, direction=way, role=name)
                        return gemm_case(shape, dtype=selection.dtype)

                    yield selection.fitted(make)


def _directions(selection: Selection, model: Transformer) -> tuple[str, ...]:
    """All three passes on a GPU; on the host those of the smallest model."""
    if selection.is_quick:
        return ("fwd",)
    if selection.is_host and model.name != MODELS[0]:
        return ("fwd",)
    return ("fwd", "dgrad", "wgrad")


def _square_gemms(selection: Selection) -> Iterator[KernelCase]:
    if selection.is_host:
        sizes, dtypes = ((256, 512, 1024), ("fp32", "fp64"))
    else:
        sizes, dtypes = ((1024, 2048, 4096, 8192, 16384), ("bf16", "fp16", "tf32", "fp32"))
    if selection.is_quick:
        sizes, dtypes = (sizes[-2:-1], dtypes[:1])
    for dtype in dtypes:
        for size in sizes:
            shape = GemmShape(m=size, n=size, k=size, layout="NN", role="sweep")
            yield gemm_case(shape, dtype=dtype)


def attention_cases(selection: Selection) -> list[KernelCase]:
    """Causal attention of the models' layers, and sweeps over lengths, head widths and masks."""
    return distinct([*_layer_attention(selection), *_attention_sweep(selection)])


def _layer_attention(selection: Selection) -> Iterator[KernelCase | None]:
    for model in models():
        for tp in selection.tp_degrees:
            for direction in ("fwd", "bwd"):

                def make(tokens: int, of=model, ranks=tp, way=direction) -> KernelCase:
                    # Learned positions bound the length of a sequence.
                    length = min(tokens, of.n_learned_positions or tokens)
                    batch = 1 if selection.is_host else tokens // length
                    shape = AttentionShape(
                        batch=batch,
                        heads_q=of.n_heads // ranks,
                        heads_kv=max(1, of.n_kv_heads // ranks),
                        seq=length,
                        head_dim=of.head_dim,
                        is_causal=True,
                        role=f"{of.name}/tp{ranks}",
                    )
                    return attention_case(shape, direction=way, dtype=selection.dtype)

                yield selection.fitted(make)


def _attention_sweep(selection: Selection) -> Iterator[KernelCase]:
    if selection.is_quick:
        return
    lengths = (256, 512, 1024) if selection.is_host else (1024, 2048, 4096, 8192, 16384, 32768)
    base = AttentionShape(
        batch=1, heads_q=4, heads_kv=4, seq=0, head_dim=128, is_causal=True, role="sweep"
    )
    if not selection.is_host:
        base = replace(base, heads_q=16, heads_kv=16)
    shapes = [replace(base, seq=length) for length in lengths]
    middle = replace(base, seq=lengths[len(lengths) // 2])
    shapes += [replace(middle, head_dim=64), replace(middle, is_causal=False)]
    shapes += [] if selection.is_host else [replace(middle, head_dim=256)]
    for direction in ("fwd", "bwd"):
        for shape in shapes:
            yield attention_case(shape, direction=direction, dtype=selection.dtype)
        window = middle.seq // 4
        yield attention_case(middle, direction=direction, dtype=selection.dtype, window=window)
    if not selection.is_host:
        # CuPy's products know fp16 alone: the unfused form runs in it.
        yield attention_case(replace(base, seq=4096), direction="fwd", dtype="fp16")


def operation_cases(selection: Selection) -> list[KernelCase]:
    """Norms, activations, loss and optimizer step of the models' layers."""
    return distinct(_layer_operations(selection))


def _layer_operations(selection: Selection) -> Iterator[KernelCase | None]:
    for model in models():
        degrees = selection.tp_degrees[-1:] if selection.is_host else selection.tp_degrees
        for tp in degrees:
            activation = "swiglu" if model.is_gated_mlp else "gelu"
            sizes = (
                (model.norm, model.hidden, ("fwd", "bwd")),
                (activation, model.ffn_hidden // tp, ("fwd", "bwd")),
                ("cross_entropy", model.vocabulary // tp, ("fwd", "bwd")),
                ("adamw", model.hidden, ("fwd",)),
            )
            for op, cols, directions in sizes:
                for direction in directions[: 1 if selection.is_quick else 2]:
                    role = f"{model.name}/tp{tp}"
                    dtype = "fp32" if op == "adamw" else selection.dtype
                    yield selection.fitted(_operation_maker(op, direction, dtype, cols, role))


def _operation_maker(op, direction, dtype, cols, role) -> Callable[[int], KernelCase]:
    def make(tokens: int) -> KernelCase:
        return operation_case(
            op, direction=direction, dtype=dtype, rows=tokens, cols=cols, role=role
        )

    return make


def stream_cases(selection: Selection) -> list[KernelCase]:
    """Copies and triads from sizes that a cache holds to those that none does."""
    if selection.is_host:
        powers, dtype = (range(20, 28, 2), "fp64")
    else:
        powers, dtype = (range(20, 32, 2), "bf16")
    chosen = list(powers)[-1:] if selection.is_quick else powers
    return [
        stream_case(op, dtype=dtype, vector_bytes=2**power)
        for op in ("copy", "triad")
        for power in chosen
    ]


def collective_cases(selection: Selection, *, n_ranks: int) -> list[KernelCase]:
    """Messages of tensor, data and pipeline parallelism of the models, and sweeps.

    Tensor parallelism reduces or gathers the activations of a micro-batch, data parallelism the
    gradients of a layer in fp32, a pipeline sends the activations on.
    """
    layers = (_layer_collectives(selection, model, n_ranks=n_ranks) for model in models())
    found = [case for cases in layers for case in cases]
    powers = range(10, 25, 2) if selection.is_host else range(10, 31, 2)
    if selection.is_quick:
        powers = list(powers)[::3]
    for operation in ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "point_to_point"):
        chosen = powers if operation == "all_reduce" else list(powers)[::3]
        found += [_message(selection, operation, n_ranks, 2**power, "sweep") for power in chosen]
    return distinct(found)


def _layer_collectives(
    selection: Selection, model: Transformer, *, n_ranks: int
) -> Iterator[KernelCase | None]:
    activation_bytes = 2 * model.hidden
    gradient_bytes = 4 * layer_parameters(model) // n_ranks
    wanted = (
        ("all_reduce", activation_bytes, "activations"),
        ("all_gather", activation_bytes, "activations"),
        ("reduce_scatter", gradient_bytes / TOKENS, "gradients"),
        ("point_to_point", activation_bytes / n_ranks, "pipeline"),
    )
    for operation, bytes_per_token, what in wanted[: 2 if selection.is_quick else 4]:
        role = f"{model.name}/tp{n_ranks}/{what}"

        def make(tokens: int, name=operation, each=bytes_per_token, words=role) -> KernelCase:
            # Whole 512-byte lines for every rank, as NCCL's equal shards need them.
            step = 512 * n_ranks
            message_bytes = max(step, int(tokens * each) // step * step)
            return _message(selection, name, n_ranks, message_bytes, words)

        yield selection.fitted(make)


def _message(selection, operation, n_ranks, message_bytes, role) -> KernelCase:
    return collective_case(
        operation,
        dtype="fp32" if selection.is_host else "fp16",
        n_ranks=n_ranks,
        message_bytes=message_bytes,
        link="shared memory" if selection.is_host else "",
        role=role,
    )
