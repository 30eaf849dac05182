"""Loads that can be sustained: single kernels and the mixture of a layer, as calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kernels.survey.attention import attention_call
from kernels.survey.bandwidth import N_VECTORS, stream_call
from kernels.survey.gemm import gemm_bytes, gemm_call
from kernels.survey.memory_bound import OPERATIONS, Operand, operation_call
from kernels.survey.shapes import AttentionShape, GemmShape, gemm_of, layer_shapes, linear_layers
from kernels.survey.torch_device import TorchDevice

__all__ = ["Load", "Work", "cpu_loads", "gpu_loads"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a load does again and again."""

    call: Callable[[int], object]
    flop: float
    """Arithmetic of one call. [flop]"""
    n_bytes: float
    """Least memory traffic of one call. [byte]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A sustained load before it is allocated."""

    workload: str
    dtype: str
    shape: str
    make: Callable[[TorchDevice], Work] | None
    """None: the device idles."""
    duty: float = 1.0
    """Share of the time that the device is given work. [1]"""
    priority: int = 0
    library: str = ""
    """Implementation, where there are several."""


def gemm_work(shape: GemmShape, *, dtype: str, data: str) -> Callable[[TorchDevice], Work]:
    """One product, again and again."""

    def make(device: TorchDevice) -> Work:
        n_bytes = gemm_bytes(shape, dtype)
        n_sets = min(4, device.n_sets(n_bytes))
        product = gemm_call(device, shape, dtype=dtype, data=data, n_sets=n_sets)
        return Work(call=product.call, flop=shape.flop, n_bytes=n_bytes)

    return make


def attention_work(
    shape: AttentionShape, direction: str, *, library: str = "sdpa-flash"
) -> Callable[[TorchDevice], Work]:
    """One pass of attention, again and again."""

    def make(device: TorchDevice) -> Work:
        calls = attention_call(device, shape, library=library, dtype="bf16", n_sets=2)
        if direction == "bwd":
            n_bytes = 4.0 * shape.n_elements
            return Work(call=calls.backward, flop=shape.backward_flop, n_bytes=n_bytes)
        return Work(call=calls.forward, flop=shape.flop, n_bytes=2.0 * shape.n_elements)

    return make


def stream_work(op: str, *, vector_bytes: int) -> Callable[[TorchDevice], Work]:
    """One stream through memory, again and again."""

    def make(device: TorchDevice) -> Work:
        call = stream_call(device, op, n_elements=vector_bytes // 2, n_sets=1)
        return Work(call=call, flop=0.0, n_bytes=float(N_VECTORS[op] * vector_bytes))

    return make


def layer_work(name: str, *, tp: int, tokens: int) -> Callable[[TorchDevice], Work]:
    """All products of a layer, forward and backward, with attention, norms and activation.

    The mixture of a training step on one device, without its communication.
    """
    model = next(layer for layer in layer_shapes() if layer.name == name)

    def make(device: TorchDevice) -> Work:
        parts = list(_layer_parts(device, tp, tokens))

        def call(index: int) -> None:
            for part in parts:
                part.call(index)

        return Work(
            call=call,
            flop=sum(part.flop for part in parts),
            n_bytes=sum(part.n_bytes for part in parts),
        )

    def _layer_parts(device: TorchDevice, tp: int, tokens: int) -> Iterator[Work]:
        for linear in linear_layers(model, tp=tp)[:-1]:
            for direction in ("fwd", "dgrad", "wgrad"):
                shape = gemm_of(linear, tokens=tokens, direction=direction)
                yield gemm_work(shape, dtype="bf16", data="normal")(device)
        attention = AttentionShape(
            batch=1,
            heads_q=model.n_heads // tp,
            heads_kv=max(1, model.n_kv_heads // tp),
            seq=tokens,
            head_dim=model.head_dim,
            is_causal=True,
        )
        for direction in ("fwd", "bwd"):
            yield attention_work(attention, direction)(device)
            yield operation_work("rmsnorm", direction, tokens, model.hidden)(device)
            yield operation_work("rmsnorm", direction, tokens, model.hidden)(device)
            yield operation_work("swiglu", direction, tokens, model.ffn_hidden // tp)(device)

    return make


def operation_work(
    name: str, direction: str, rows: int, cols: int
) -> Callable[[TorchDevice], Work]:
    """One pass of a memory-bound operation, again and again."""
    operation = OPERATIONS[name]
    per_element = operation.forward_bytes if direction == "fwd" else operation.backward_bytes

    def make(device: TorchDevice) -> Work:
        run = operation_call(
            operation.make(device, Operand(rows=rows, cols=cols)), direction, device
        )
        return Work(call=lambda _index: run(), flop=0.0, n_bytes=per_element * rows * cols)

    return make


SQUARE = GemmShape(m=8192, n=8192, k=8192, layout="TN")
HEADS = AttentionShape(batch=2, heads_q=32, heads_kv=32, seq=8192, head_dim=128, is_causal=True)
HEADS_NAME = "b2_s8192_hq32_hkv32_d128"
STREAM_BYTES = 2**31


def _gemm(dtype: str, *, data: str = "normal", duty: float = 1.0, priority: int = 0) -> Load:
    return Load(
        workload="gemm" if data == "normal" else f"gemm_{data}",
        dtype=dtype,
        shape=f"{SQUARE.m}x{SQUARE.n}x{SQUARE.k}",
        make=gemm_work(SQUARE, dtype=dtype, data=data),
        duty=duty,
        priority=priority,
    )


def _attention(direction: str, library: str, *, priority: int = 0) -> Load:
    return Load(
        workload=f"attention_{direction}_causal",
        dtype="bf16",
        shape=HEADS_NAME,
        make=attention_work(HEADS, direction, library=library),
        priority=priority,
        library=library,
    )


def _layer(name: str, *, tp: int, duty: float = 1.0, priority: int = 0) -> Load:
    return Load(
        workload="layer",
        dtype="bf16",
        shape=f"{name}_tp{tp}_t8192",
        make=layer_work(name, tp=tp, tokens=8192),
        duty=duty,
        priority=priority,
    )


def _stream(op: str, *, priority: int = 0) -> Load:
    make = stream_work(op, vector_bytes=STREAM_BYTES)
    return Load(workload=op, dtype="bf16", shape=str(STREAM_BYTES), make=make, priority=priority)


def _operation(name: str, direction: str, rows: int, cols: int) -> Load:
    return Load(
        workload=f"{name}_{direction}",
        dtype="bf16",
        shape=f"{rows}x{cols}",
        make=operation_work(name, direction, rows, cols),
        priority=2,
    )


def gpu_loads(*, has_cudnn: bool) -> tuple[Load, ...]:
    """Return the loads of a GPU, the most telling first.

    Where cuDNN's attention is there, it is the one that training would use.
    """
    usual, other = ("sdpa-cudnn", "sdpa-flash") if has_cudnn else ("sdpa-flash", None)
    return (
        _gemm("bf16"),
        _attention("bwd", usual),
        _layer("llama-3-8b", tp=1),
        _attention("fwd", usual),
        _stream("copy"),
        _gemm("bf16", data="zeros"),
        _gemm("fp8"),
        Load(workload="idle", dtype="", shape="", make=None),
        *(_attention(direction, other, priority=1) for direction in ("bwd", "fwd") if other),
        _layer("llama-3-8b", tp=1, duty=0.5, priority=1),
        _layer("llama-3-8b", tp=1, duty=0.8, priority=1),
        _layer("llama-3-70b", tp=8, priority=1),
        _gemm("bf16", duty=0.5, priority=1),
        _gemm("bf16", duty=0.25, priority=1),
        _gemm("fp16", priority=1),
        _gemm("tf32", priority=1),
        _stream("read", priority=1),
        _gemm("fp32", priority=2),
        _operation("rmsnorm", "bwd", 8192, 8192),
        _operation("swiglu", "fwd", 8192, 14336),
    )


def cpu_loads() -> tuple[Load, ...]:
    """Return loads small enough for a host."""
    square = GemmShape(m=256, n=256, k=256, layout="TN")
    make = gemm_work(square, dtype="fp32", data="normal")
    return (
        Load(workload="gemm", dtype="fp32", shape="256x256x256", make=make),
        Load(workload="idle", dtype="", shape="", make=None),
        Load(workload="gemm", dtype="fp32", shape="256x256x256", make=make, duty=0.5, priority=1),
    )
