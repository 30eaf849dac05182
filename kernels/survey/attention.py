"""Attention forward, and backward by itself, with every implementation that torch has."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from kernels.measurements import AttentionMeasurement
from kernels.survey.case import Case, SkipError
from kernels.survey.setting import Setting
from kernels.survey.shapes import AttentionShape, attention_shapes
from kernels.survey.torch_device import Tensor, TorchDevice

__all__ = ["AttentionCall", "attention_call", "attention_cases", "implementations"]

SDPA_BACKENDS = {
    "sdpa-flash": "FLASH_ATTENTION",
    "sdpa-cudnn": "CUDNN_ATTENTION",
    "sdpa-efficient": "EFFICIENT_ATTENTION",
    "sdpa-math": "MATH",
}
PACKAGES = {"flash_attn": "flash_attn", "flash_attn_interface": "flash_attn_interface"}
"""FlashAttention 2, and 3 where it is built for this device, by library name."""

MATH_SCORES_MAX = 2**31
"""Scores of the unfused form that are still worth materialising. [1]"""
TOLERANCE = 2e-2
"""Largest relative error of a 16-bit implementation against the unfused form in fp32. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionCall:
    """Attention on rotating sets of heads, that can be called forward or backward."""

    forward: Callable[[int], Tensor]
    backward: Callable[[int], object]
    """Backward pass alone, on outputs that were computed once."""


def implementations(torch_device: TorchDevice) -> tuple[str, ...]:
    """Names of what may be able to run here; some refuse some shapes only when called."""
    if not torch_device.is_gpu:
        return ("sdpa-flash", "sdpa-math")
    found = tuple(name for name, module in PACKAGES.items() if importlib.util.find_spec(module))
    return (*SDPA_BACKENDS, *found)


def attention_call(
    torch_device: TorchDevice, shape: AttentionShape, *, library: str, dtype: str, n_sets: int
) -> AttentionCall:
    """Allocate heads in the order (batch, sequence, head, dim) and return both passes as calls."""
    torch = torch_device.torch
    function = _function(torch_device, shape, library)
    sets = [_heads(torch_device, shape, dtype) for _ in range(n_sets)]
    outputs: dict[int, tuple[Tensor, Tensor]] = {}

    def forward(index: int) -> Tensor:
        with torch.no_grad():
            return function(*sets[index % n_sets])

    def backward(index: int) -> object:
        i = index % n_sets
        if i not in outputs:
            out = function(*sets[i])
            outputs[i] = (out, torch.randn_like(out))
        out, gradient = outputs[i]
        return torch.autograd.grad(out, sets[i], gradient, retain_graph=True)

    return AttentionCall(forward=forward, backward=backward)


def _heads(torch_device: TorchDevice, shape: AttentionShape, dtype: str) -> tuple[Tensor, ...]:
    counts = (shape.heads_q, shape.heads_kv, shape.heads_kv)
    return tuple(
        torch_device.normal(
            shape.batch, shape.seq, heads, shape.head_dim, dtype=dtype
        ).requires_grad_(True)
        for heads in counts
    )


def _function(
    torch_device: TorchDevice, shape: AttentionShape, library: str
) -> Callable[..., Tensor]:
    """Attention of q, k and v in (batch, sequence, head, dim) by one implementation."""
    if library in PACKAGES:
        package = importlib.import_module(PACKAGES[library])
        return lambda q, k, v: _first(package.flash_attn_func(q, k, v, causal=shape.is_causal))
    torch = torch_device.torch
    attention = torch.nn.attention
    backend = getattr(attention.SDPBackend, SDPA_BACKENDS[library], None)
    if backend is None:
        msg = f"this torch has no {library}"
        raise SkipError(msg)
    grouped = {"enable_gqa": True} if shape.heads_q != shape.heads_kv else {}

    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with attention.sdpa_kernel([backend]):
            return torch.nn.functional.scaled_dot_product_attention(
                q.transpose(1, 2),
                k.transpose(1, 2),
                v.transpose(1, 2),
                is_causal=shape.is_causal,
                **grouped,
            ).transpose(1, 2)

    return call


def _first(answer: Tensor) -> Tensor:
    """Output of a function that may return the logarithmic sums too."""
    return answer[0] if isinstance(answer, tuple) else answer


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warnings why a backend refuses; the error itself says enough."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def check_attention(torch_device: TorchDevice, *, library: str, dtype: str, head_dim: int) -> None:
    """Compare an implementation with the unfused form in fp32 on a small shape; raise if wrong."""
    shape = AttentionShape(
        batch=1, heads_q=4, heads_kv=4, seq=256, head_dim=head_dim, is_causal=True
    )
    heads = _heads(torch_device, shape, dtype)
    plain = [head.detach().float() for head in heads]
    truth = _function(torch_device, shape, "sdpa-math")(*plain)
    result = _function(torch_device, shape, library)(*heads).detach().float()
    error = float((result - truth).norm() / truth.norm())
    if not error <= TOLERANCE:
        msg = f"wrong result: relative error {error:.2g}, tolerance {TOLERANCE:g}"
        raise SkipError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One attention case before it has a setting."""

    priority: int
    library: str
    direction: str
    shape: AttentionShape
    dtype: str = "bf16"

    @property
    def key(self) -> str:
        """Name of the case."""
        s = self.shape
        mask = "causal" if s.is_causal else "full"
        size = f"b{s.batch}_s{s.seq}_hq{s.heads_q}_hkv{s.heads_kv}_d{s.head_dim}"
        return f"{self.library}/{self.direction}/{self.dtype}/{size}/{mask}"


def run_attention(
    choice: Choice, setting: Setting, torch_device: TorchDevice
) -> list[AttentionMeasurement]:
    """Measure one pass of one implementation."""
    shape = choice.shape
    scores = shape.batch * shape.heads_q * shape.seq**2
    if choice.library == "sdpa-math" and scores > MATH_SCORES_MAX:
        msg = "the unfused form would hold too many scores"
        raise SkipError(msg)
    # Forward needs Q, K, V and O; backward their gradients too.
    n_bytes = 2 * shape.n_elements * (2 if choice.direction == "bwd" else 1)
    n_sets = min(8, torch_device.n_sets(n_bytes + (20 * scores if "math" in choice.library else 0)))
    with _quiet():
        check_attention(
            torch_device, library=choice.library, dtype=choice.dtype, head_dim=shape.head_dim
        )
        calls = attention_call(
            torch_device, shape, library=choice.library, dtype=choice.dtype, n_sets=n_sets
        )
        call = calls.backward if choice.direction == "bwd" else calls.forward
        for index in range(n_sets):
            call(index)
        _timing, columns = setting.timed(call, timer=torch_device.timer)
    row = AttentionMeasurement(
        **setting.base(choice.key, _library(torch_device, choice.library)),
        **columns,
        dtype=choice.dtype,
        batch=shape.batch,
        heads_q=shape.heads_q,
        heads_kv=shape.heads_kv,
        seq_q=shape.seq,
        seq_kv=shape.seq,
        head_dim=shape.head_dim,
        causal=shape.is_causal,
        direction=choice.direction,
    )
    return [row]


def _library(torch_device: TorchDevice, name: str) -> str:
    if name not in PACKAGES:
        return f"{torch_device.library}:{name}"
    version = getattr(importlib.import_module(PACKAGES[name]), "__version__", "unknown")
    return f"{name}-{version}"


def attention_cases(setting: Setting, torch_device: TorchDevice) -> list[Case]:
    """Cases of the attention family; backward comes before forward."""
    cases: dict[str, Case] = {}
    for choice in _choices(torch_device):
        cases.setdefault(choice.key, _case(choice, setting, torch_device))
    return list(cases.values())


def _case(choice: Choice, setting: Setting, torch_device: TorchDevice) -> Case:
    return Case(
        key=choice.key,
        family="attention",
        priority=choice.priority,
        run=lambda: run_attention(choice, setting, torch_device),
    )


def _choices(torch_device: TorchDevice) -> Iterator[Choice]:
    libraries = implementations(torch_device)
    if not torch_device.is_gpu:
        small = AttentionShape(batch=1, heads_q=4, heads_kv=4, seq=256, head_dim=64, is_causal=True)
        for priority, shape in (
            (0, small),
            (1, replace(small, heads_kv=2)),
            (1, replace(small, is_causal=False)),
        ):
            yield from _both(priority, libraries, shape)
        return
    for priority, shape in _gpu_shapes():
        fused = tuple(name for name in libraries if name not in {"sdpa-math", "sdpa-efficient"})
        if priority == 0:
            yield from _both(0, fused, shape)
        yield from _both(max(1, priority), libraries, shape)


def _both(priority: int, libraries: tuple[str, ...], shape: AttentionShape) -> Iterator[Choice]:
    for direction in ("bwd", "fwd"):
        for library in libraries:
            yield Choice(priority=priority, library=library, direction=direction, shape=shape)


def _gpu_shapes() -> Iterator[tuple[int, AttentionShape]]:
    """Shapes with priorities: grouped and multi-head, both masks, all lengths and head dims."""
    llama = AttentionShape(
        batch=2, heads_q=32, heads_kv=8, seq=8192, head_dim=128, is_causal=True, role="llama-3-8b"
    )
    many = replace(llama, heads_kv=32, role="")
    for seq in (8192, 4096, 2048, 16384, 32768):
        yield 0, replace(llama, seq=seq, batch=max(1, 16384 // seq))
    yield 0, many
    yield 0, replace(many, seq=2048, batch=8)
    yield 0, replace(many, is_causal=False)
    yield 0, replace(many, head_dim=64)
    yield 0, replace(many, head_dim=256, heads_q=16, heads_kv=16)
    yield 0, replace(many, head_dim=96)
    yield 0, replace(llama, batch=1, heads_q=8, heads_kv=1)
    for shape in attention_shapes(tp_degrees=(1, 8), lengths=(8192, 4096)):
        yield 1, shape
    for head_dim in (64, 128, 256):
        for seq in (1024, 2048, 4096, 8192, 16384, 32768, 65536):
            for is_causal in (True, False):
                yield (
                    1,
                    replace(
                        many,
                        heads_q=16,
                        heads_kv=16,
                        head_dim=head_dim,
                        seq=seq,
                        batch=max(1, 16384 // seq),
                        is_causal=is_causal,
                    ),
                )
    yield 1, replace(llama, seq=65536, batch=1)
    for shape in attention_shapes():
        yield 2, shape
    for batch in (1, 4, 16):
        for seq in (512, 1024, 2048, 4096):
            yield 2, replace(llama, seq=seq, batch=batch)
