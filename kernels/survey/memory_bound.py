"""Memory-bound operations of training: norms, activations, loss, optimizer, accumulation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kernels.measurements import OperationMeasurement
from kernels.survey.case import Case
from kernels.survey.setting import Setting
from kernels.survey.torch_device import Tensor, TorchDevice

__all__ = ["OPERATIONS", "memory_bound_cases"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation on a matrix of rows by cols, and its least traffic per element."""

    make: Callable[[TorchDevice, int, int], Callable[[], tuple[Tensor, tuple[Tensor, ...]]]]
    """Allocates, and returns a function that gives the output and what to differentiate by."""
    forward_bytes: float
    """Bytes per element of the matrix, forward. [byte]"""
    backward_bytes: float = 0.0
    """The same, backward; 0 where there is no backward pass. [byte]"""
    dtype: str = "bf16"


Forward = Callable[[], tuple[Tensor, tuple[Tensor, ...]]]


def _matrix(device: TorchDevice, rows: int, cols: int) -> Tensor:
    return device.normal(rows, cols, dtype="bf16").requires_grad_(True)


def _vector(device: TorchDevice, cols: int) -> Tensor:
    return device.normal(cols, dtype="bf16").requires_grad_(True)


def _rmsnorm(device: TorchDevice, rows: int, cols: int) -> Forward:
    x, weight = _matrix(device, rows, cols), _vector(device, cols)
    norm = device.torch.nn.functional.rms_norm
    return lambda: (norm(x, (cols,), weight), (x, weight))


def _layernorm(device: TorchDevice, rows: int, cols: int) -> Forward:
    x, weight, bias = _matrix(device, rows, cols), _vector(device, cols), _vector(device, cols)
    norm = device.torch.nn.functional.layer_norm
    return lambda: (norm(x, (cols,), weight, bias), (x, weight, bias))


def _swiglu(device: TorchDevice, rows: int, cols: int) -> Forward:
    gate, value = _matrix(device, rows, cols), _matrix(device, rows, cols)
    silu = device.torch.nn.functional.silu
    return lambda: (silu(gate) * value, (gate, value))


def _gelu(device: TorchDevice, rows: int, cols: int) -> Forward:
    x = _matrix(device, rows, cols)
    gelu = device.torch.nn.functional.gelu
    return lambda: (gelu(x, approximate="tanh"), (x,))


def _softmax(device: TorchDevice, rows: int, cols: int) -> Forward:
    x = _matrix(device, rows, cols)
    return lambda: (device.torch.softmax(x, dim=-1), (x,))


def _residual_add(device: TorchDevice, rows: int, cols: int) -> Forward:
    x, y = device.normal(rows, cols, dtype="bf16"), device.normal(rows, cols, dtype="bf16")
    out = device.empty(rows, cols, dtype="bf16")
    return lambda: (device.torch.add(x, y, out=out), ())


def _cross_entropy(device: TorchDevice, rows: int, cols: int) -> Forward:
    logits = _matrix(device, rows, cols)
    target = device.torch.randint(0, cols, (rows,), device=device.name)
    loss = device.torch.nn.functional.cross_entropy
    return lambda: (loss(logits, target), (logits,))


def _cross_entropy_fp32(device: TorchDevice, rows: int, cols: int) -> Forward:
    logits = _matrix(device, rows, cols)
    target = device.torch.randint(0, cols, (rows,), device=device.name)
    loss = device.torch.nn.functional.cross_entropy
    return lambda: (loss(logits.float(), target), (logits,))


def _grad_accumulate(device: TorchDevice, rows: int, cols: int) -> Forward:
    total = device.zeros(rows, cols, dtype="fp32")
    gradient = device.normal(rows, cols, dtype="bf16")
    return lambda: (total.add_(gradient), ())


def _adamw(device: TorchDevice, rows: int, cols: int) -> Forward:
    weight = device.normal(rows, cols, dtype="fp32").requires_grad_(True)
    weight.grad = device.normal(rows, cols, dtype="fp32")
    optimizer = device.torch.optim.AdamW([weight], lr=1e-4, fused=True)

    def step() -> tuple[Tensor, tuple[Tensor, ...]]:
        optimizer.step()
        return weight, ()

    return step


def _cast(device: TorchDevice, rows: int, cols: int) -> Forward:
    source, target = device.normal(rows, cols, dtype="fp32"), device.empty(rows, cols, dtype="bf16")
    return lambda: (target.copy_(source), ())


OPERATIONS: dict[str, Operation] = {
    # Backward reads the input and the output's gradient and writes the input's gradient.
    "rmsnorm": Operation(make=_rmsnorm, forward_bytes=4, backward_bytes=6),
    "layernorm": Operation(make=_layernorm, forward_bytes=4, backward_bytes=6),
    "swiglu": Operation(make=_swiglu, forward_bytes=6, backward_bytes=10),
    "gelu": Operation(make=_gelu, forward_bytes=4, backward_bytes=6),
    "softmax": Operation(make=_softmax, forward_bytes=4, backward_bytes=6),
    "residual_add": Operation(make=_residual_add, forward_bytes=6),
    "cross_entropy": Operation(make=_cross_entropy, forward_bytes=2, backward_bytes=4),
    "cross_entropy_fp32": Operation(make=_cross_entropy_fp32, forward_bytes=2, backward_bytes=4),
    "grad_accumulate": Operation(make=_grad_accumulate, forward_bytes=10, dtype="fp32"),
    # Weight and both moments are read and written, the gradient is read: seven times four bytes.
    "adamw": Operation(make=_adamw, forward_bytes=28, dtype="fp32"),
    "cast": Operation(make=_cast, forward_bytes=6, dtype="fp32"),
}

PASSES = {
    "residual_add": ("fwd",),
    "grad_accumulate": ("fwd",),
    "adamw": ("fwd",),
    "cast": ("fwd",),
}
BOTH = ("fwd", "bwd")
HELD_COPIES = 6
"""Matrices of the operation's size that one set holds at most, autograd's included. [1]"""


def operation_call(forward: Forward, direction: str, device: TorchDevice) -> Callable[[], object]:
    """Return the pass of an operation as a call; backward works on an output computed once."""
    torch = device.torch
    if direction == "fwd":

        def run_forward() -> object:
            with torch.no_grad():
                return forward()

        return run_forward
    out, inputs = forward()
    gradient = torch.ones_like(out)
    return lambda: torch.autograd.grad(out, inputs, gradient, retain_graph=True)


def run_operation(
    choice: tuple[str, str, int, int], *, key: str, on: tuple[Setting, TorchDevice]
) -> list[OperationMeasurement]:
    """Measure one pass of one operation."""
    name, direction, rows, cols = choice
    setting, torch_device = on
    operation = OPERATIONS[name]
    per_element = operation.forward_bytes if direction == "fwd" else operation.backward_bytes
    n_bytes = int(per_element * rows * cols)
    held = HELD_COPIES * 4 * rows * cols
    n_sets = min(16, torch_device.n_sets(held))
    calls = [
        operation_call(operation.make(torch_device, rows, cols), direction, torch_device)
        for _ in range(n_sets)
    ]
    _timing, columns = setting.timed(lambda i: calls[i % n_sets](), timer=torch_device.timer)
    row = OperationMeasurement(
        **setting.base(key, f"{torch_device.library}:eager"),
        **columns,
        op=name,
        direction=direction,
        dtype=operation.dtype,
        rows=rows,
        cols=cols,
        bytes=n_bytes,
    )
    return [row]


def memory_bound_cases(setting: Setting, torch_device: TorchDevice) -> list[Case]:
    """Cases of the memory-bound family."""
    cases: dict[str, Case] = {}
    for priority, name, rows, cols in _choices(is_gpu=torch_device.is_gpu):
        for direction in PASSES.get(name, BOTH):
            key = f"{name}/{direction}/{rows}x{cols}"
            choice = (name, direction, rows, cols)
            cases.setdefault(key, _case((setting, torch_device), key, choice, priority))
    return list(cases.values())


def _case(
    on: tuple[Setting, TorchDevice], key: str, choice: tuple[str, str, int, int], priority: int
) -> Case:
    def run() -> list[OperationMeasurement]:
        return run_operation(choice, key=key, on=on)

    return Case(key=key, family="memory_bound", priority=priority, run=run)


def _choices(*, is_gpu: bool) -> Iterator[tuple[int, str, int, int]]:
    if not is_gpu:
        yield from ((0, name, 64, 256) for name in OPERATIONS)
        return
    for name in OPERATIONS:
        if name.startswith("cross_entropy"):
            yield 0, name, 4096, 128256
        elif name in {"adamw", "grad_accumulate", "cast"}:
            yield 0, name, 8192, 16384
        else:
            yield 0, name, 8192, 14336 if name in {"swiglu", "gelu"} else 4096
    for cols in (4096, 8192, 12288, 16384):
        for rows in (2048, 8192, 32768):
            yield from ((1, n, rows, cols) for n in ("rmsnorm", "layernorm", "residual_add"))
    for cols in (3584, 7168, 14336, 28672):
        for rows in (2048, 8192, 32768):
            yield from ((1, name, rows, cols) for name in ("swiglu", "gelu"))
    for rows, cols in ((2048, 128256), (8192, 128256), (8192, 32000), (8192, 16032)):
        yield from ((1, name, rows, cols) for name in ("cross_entropy", "cross_entropy_fp32"))
    for cols in (1024, 4096, 65536):
        yield from ((1, n, 4096, cols) for n in ("adamw", "grad_accumulate", "cast"))
    for rows, cols in ((65536, 2048), (65536, 4096)):
        yield 1, "softmax", rows, cols
