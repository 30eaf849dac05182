"""Launch gap on the device, and the host's time per operation of an eager framework."""

from __future__ import annotations

from collections.abc import Callable

from kernels.measurements import LaunchMeasurement
from kernels.survey.case import Case
from kernels.survey.setting import Setting
from kernels.survey.torch_device import Tensor, TorchDevice
from kernels.timing import HostTimer, Timer

__all__ = ["launch_cases"]

N_CALLS = 200
"""Launches per interval: few enough that the device's queue never blocks the host. [1]"""
LAYER_HIDDEN = 256
LAYER_TOKENS = 128

Call = Callable[[int], object]


def launch_cases(setting: Setting, torch_device: TorchDevice) -> list[Case]:
    """Cases of the launch family."""
    makers: dict[str, Callable[[TorchDevice], Call]] = {
        "empty": lambda device: device.empty_kernel(),
        "add": _tiny_add,
        "mm": _tiny_product,
        "layer_fwd": _layer_forward,
        "layer_fwd_bwd": _layer_step,
    }
    modes = ("stream", "graph", "host") if torch_device.is_gpu else ("host",)
    cases = []
    for op, make in makers.items():
        for mode in modes:
            if mode == "graph" and op == "layer_fwd_bwd":
                continue  # autograd inside a capture needs care that this does not take
            priority = 0 if op in {"empty", "add", "layer_fwd_bwd"} else 1
            cases.append(_case(setting, torch_device, (priority, op, mode), make))
    return cases


def _case(
    setting: Setting,
    torch_device: TorchDevice,
    choice: tuple[int, str, str],
    make: Callable[[TorchDevice], Call],
) -> Case:
    priority, op, mode = choice
    key = f"{op}/{mode}"

    def run() -> list[LaunchMeasurement]:
        return run_launch(make(torch_device), key=key, on=(setting, torch_device))

    return Case(key=key, family="launch", priority=priority, run=run)


def run_launch(call: Call, *, key: str, on: tuple[Setting, TorchDevice]) -> list[LaunchMeasurement]:
    """Measure one operation: back to back in a stream or a graph, or on the host."""
    setting, torch_device = on
    op, mode = key.split("/")
    n_calls = N_CALLS // 10 if op.startswith("layer") else N_CALLS
    if mode == "graph":
        repeated = torch_device.graph_call(call, n_calls=n_calls)
        timer = torch_device.timer
    else:
        repeated = _repeat(call, n_calls)
        timer = torch_device.timer if mode == "stream" else _host_timer(torch_device)
    timing, columns = setting.timed(repeated, timer=timer)
    per_call = {
        name: value / n_calls
        for name, value in columns.items()
        if name.startswith("latency") and value is not None
    }
    row = LaunchMeasurement(
        **setting.base(key, f"{torch_device.library}:{op}"),
        **{**columns, **per_call},
        op=op,
        mode=mode,
        n_calls=n_calls * timing.n,
    )
    return [row]


def _repeat(call: Call, n_calls: int) -> Call:
    def repeated(_index: int) -> None:
        for index in range(n_calls):
            call(index)

    return repeated


class DrainedTimer:
    """Host time of a call alone: the device's queue is emptied before it, unmeasured."""

    def __init__(self, torch_device: TorchDevice) -> None:
        self._drain = torch_device.synchronize
        self._inner = HostTimer()

    def intervals_s(self, call: Call, *, first: int, n_intervals: int, n_inner: int) -> list[float]:
        """Time per call in each interval, by the host's clock. [s]."""
        samples = []
        for i_interval in range(n_intervals):
            self._drain()
            start = first + i_interval * n_inner
            samples += self._inner.intervals_s(call, first=start, n_intervals=1, n_inner=n_inner)
        return samples


def _host_timer(torch_device: TorchDevice) -> Timer:
    return DrainedTimer(torch_device)


def _tiny_add(torch_device: TorchDevice) -> Call:
    value = torch_device.zeros(1, dtype="fp32")
    return lambda _index: value.add_(1.0)


def _tiny_product(torch_device: TorchDevice) -> Call:
    a, b = (torch_device.normal(64, 64, dtype="bf16") for _ in range(2))
    out = torch_device.empty(64, 64, dtype="bf16")
    return lambda _index: torch_device.torch.mm(a, b, out=out)


def _layer_forward(torch_device: TorchDevice) -> Call:
    forward, inputs, _weights = _layer(torch_device)

    def call(_index: int) -> Tensor:
        with torch_device.torch.no_grad():
            return forward(inputs)

    return call


def _layer_step(torch_device: TorchDevice) -> Call:
    forward, inputs, weights = _layer(torch_device)

    def call(_index: int) -> object:
        out = forward(inputs)
        return torch_device.torch.autograd.grad(out, (inputs, *weights), out)

    return call


def _layer(torch_device: TorchDevice) -> tuple[Callable[[Tensor], Tensor], Tensor, list[Tensor]]:
    """Return a tiny gated transformer layer, written as eager frameworks write it.

    It is so small that the host's time to launch its operations is all there is to see.
    """
    torch, functional = torch_device.torch, torch_device.torch.nn.functional
    width, heads = LAYER_HIDDEN, 4
    shapes = [(3 * width, width), (width, width), (4 * width, width), (width, 2 * width)]
    scale = width**-0.5
    matrices = [torch_device.normal(*shape, dtype="bf16", scale=scale) for shape in shapes]
    norms = [torch_device.normal(width, dtype="bf16") for _ in range(2)]
    inputs = torch_device.normal(1, LAYER_TOKENS, width, dtype="bf16")
    for tensor in (inputs, *matrices, *norms):
        tensor.requires_grad_(True)
    qkv, proj, up, down = matrices

    def forward(x: Tensor) -> Tensor:
        normed = functional.rms_norm(x, (width,), norms[0])
        q, k, v = functional.linear(normed, qkv).view(1, LAYER_TOKENS, 3, heads, -1).unbind(2)
        mixed = functional.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True
        )
        x = x + functional.linear(mixed.transpose(1, 2).reshape(1, LAYER_TOKENS, width), proj)
        normed = functional.rms_norm(x, (width,), norms[1])
        gate, value = torch.chunk(functional.linear(normed, up), 2, dim=-1)
        return x + functional.linear(functional.silu(gate) * value, down)

    return forward, inputs, [*matrices, *norms]
