"""Memory-bound operations of training: norms, activations, loss, optimizer, accumulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kernels.measurements import OperationMeasurement
from kernels.survey.case import Case
from kernels.survey.operation_sizes import operation_sizes
from kernels.survey.setting import Setting
from kernels.survey.torch_device import Tensor, TorchDevice

__all__ = ["OPERATIONS", "Operand", "memory_bound_cases"]

ITEMSIZE_BYTES = {"bf16": 2, "fp32": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """The matrix that an operation works on."""

    rows: int
    cols: int
    dtype: str = "bf16"

    @property
    def n_elements(self) -> int:
        """Elements of the matrix. [1]."""
        return self.rows * self.cols


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation on a matrix of rows by cols, and its least traffic per element."""

    make: Callable[[TorchDevice, Operand], Callable[[], tuple[Tensor, tuple[Tensor, ...]]]]
    """Allocates, and returns a function that gives the output and what to differentiate by."""
    forward_bytes: float
    """Bytes per element of the matrix in the operation's usual type, forward. [byte]"""
    backward_bytes: float = 0.0
    """The same, backward; 0 where there is no backward pass. [byte]"""
    dtype: str = "bf16"
    """The usual type."""


Forward = Callable[[], tuple[Tensor, tuple[Tensor, ...]]]


def _matrix(device: TorchDevice, on: Operand) -> Tensor:
    return device.normal(on.rows, on.cols, dtype=on.dtype).requires_grad_(True)


def _vector(device: TorchDevice, on: Operand) -> Tensor:
    return device.normal(on.cols, dtype=on.dtype).requires_grad_(True)


def _rmsnorm(device: TorchDevice, on: Operand) -> Forward:
    x, weight = _matrix(device, on), _vector(device, on)
    norm = device.torch.nn.functional.rms_norm
    return lambda: (norm(x, (on.cols,), weight), (x, weight))


def _layernorm(device: TorchDevice, on: Operand) -> Forward:
    x, weight, bias = _matrix(device, on), _vector(device, on), _vector(device, on)
    norm = device.torch.nn.functional.layer_norm
    return lambda: (norm(x, (on.cols,), weight, bias), (x, weight, bias))


def _swiglu(device: TorchDevice, on: Operand) -> Forward:
    gate, value = _matrix(device, on), _matrix(device, on)
    silu = device.torch.nn.functional.silu
    return lambda: (silu(gate) * value, (gate, value))


def _gelu(device: TorchDevice, on: Operand) -> Forward:
    x = _matrix(device, on)
    gelu = device.torch.nn.functional.gelu
    return lambda: (gelu(x, approximate="tanh"), (x,))


def _softmax(device: TorchDevice, on: Operand) -> Forward:
    x = _matrix(device, on)
    return lambda: (device.torch.softmax(x, dim=-1), (x,))


def _residual_add(device: TorchDevice, on: Operand) -> Forward:
    x, y = (device.normal(on.rows, on.cols, dtype=on.dtype) for _ in range(2))
    out = device.empty(on.rows, on.cols, dtype=on.dtype)
    return lambda: (device.torch.add(x, y, out=out), ())


def _cross_entropy(device: TorchDevice, on: Operand) -> Forward:
    logits = _matrix(device, on)
    target = device.torch.randint(0, on.cols, (on.rows,), device=device.name)
    loss = device.torch.nn.functional.cross_entropy
    return lambda: (loss(logits, target), (logits,))


def _cross_entropy_fp32(device: TorchDevice, on: Operand) -> Forward:
    logits = _matrix(device, on)
    target = device.torch.randint(0, on.cols, (on.rows,), device=device.name)
    loss = device.torch.nn.functional.cross_entropy
    return lambda: (loss(logits.float(), target), (logits,))


def _grad_accumulate(device: TorchDevice, on: Operand) -> Forward:
    total = device.zeros(on.rows, on.cols, dtype="fp32")
    gradient = device.normal(on.rows, on.cols, dtype="bf16")
    return lambda: (total.add_(gradient), ())


def _adamw(device: TorchDevice, on: Operand) -> Forward:
    weight = device.normal(on.rows, on.cols, dtype="fp32").requires_grad_(True)
    weight.grad = device.normal(on.rows, on.cols, dtype="fp32")
    optimizer = device.torch.optim.AdamW([weight], lr=1e-4, fused=True)

    def step() -> tuple[Tensor, tuple[Tensor, ...]]:
        optimizer.step()
        return weight, ()

    return step


def _cast(device: TorchDevice, on: Operand) -> Forward:
    source = device.normal(on.rows, on.cols, dtype="fp32")
    target = device.empty(on.rows, on.cols, dtype="bf16")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One pass of one operation on one matrix."""

    name: str
    direction: str
    operand: Operand

    @property
    def bytes_per_element(self) -> float:
        """Least traffic; another type than the usual one scales all of it. [byte]."""
        operation = OPERATIONS[self.name]
        usual = operation.forward_bytes if self.direction == "fwd" else operation.backward_bytes
        return usual * ITEMSIZE_BYTES[self.operand.dtype] / ITEMSIZE_BYTES[operation.dtype]


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
    choice: Choice, *, key: str, on: tuple[Setting, TorchDevice]
) -> list[OperationMeasurement]:
    """Measure one pass of one operation."""
    setting, torch_device = on
    operation, operand = OPERATIONS[choice.name], choice.operand
    n_bytes = int(choice.bytes_per_element * operand.n_elements)
    held = HELD_COPIES * 4 * operand.n_elements
    n_sets = min(16, torch_device.n_sets(held))
    calls = [
        operation_call(operation.make(torch_device, operand), choice.direction, torch_device)
        for _ in range(n_sets)
    ]
    _timing, columns = setting.timed(lambda i: calls[i % n_sets](), timer=torch_device.timer)
    row = OperationMeasurement(
        **setting.base(key, f"{torch_device.library}:eager"),
        **columns,
        op=choice.name,
        direction=choice.direction,
        dtype=operand.dtype,
        rows=operand.rows,
        cols=operand.cols,
        bytes=n_bytes,
    )
    return [row]


def memory_bound_cases(setting: Setting, torch_device: TorchDevice) -> list[Case]:
    """Cases of the memory-bound family."""
    cases: dict[str, Case] = {}
    for priority, name, rows, cols, dtype in operation_sizes(is_gpu=torch_device.is_gpu):
        usual = OPERATIONS[name].dtype
        operand = Operand(rows=rows, cols=cols, dtype=dtype or usual)
        other_type = "" if operand.dtype == usual else f"/{operand.dtype}"
        for direction in PASSES.get(name, BOTH):
            key = f"{name}/{direction}/{rows}x{cols}{other_type}"
            choice = Choice(name=name, direction=direction, operand=operand)
            cases.setdefault(key, _case((setting, torch_device), key, choice, priority))
    return list(cases.values())


def _case(on: tuple[Setting, TorchDevice], key: str, choice: Choice, priority: int) -> Case:
    def run() -> list[OperationMeasurement]:
        return run_operation(choice, key=key, on=on)

    return Case(key=key, family="memory_bound", priority=priority, run=run)
