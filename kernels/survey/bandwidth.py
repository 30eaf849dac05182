"""Streams through device memory: copy, triad, read, fill, and transfers to and from the host."""

from __future__ import annotations

from collections.abc import Callable

from kernels.measurements import BandwidthMeasurement
from kernels.survey.case import Case, SkipError
from kernels.survey.setting import Setting
from kernels.survey.torch_device import Tensor, TorchDevice

__all__ = ["bandwidth_cases", "stream_call"]

N_VECTORS = {"copy": 2, "triad": 3, "read": 1, "init": 1, "h2d": 1, "d2h": 1}
"""Vectors that each operation moves; a transfer's host side is not counted. [1]"""

ITEMSIZE_BYTES = 2
"""Streams are of bf16 values, as most of training's are. [byte]"""


def stream_call(
    torch_device: TorchDevice, op: str, *, n_elements: int, n_sets: int
) -> Callable[[int], object]:
    """Allocate vectors and return the stream as a call."""
    if op in {"h2d", "d2h"}:
        return _transfer_call(torch_device, op, n_elements)
    sets = [
        [torch_device.normal(n_elements, dtype="bf16") for _ in range(N_VECTORS[op])]
        for _ in range(n_sets)
    ]
    act = _action(torch_device, op)
    return lambda index: act(*sets[index % n_sets])


def _action(torch_device: TorchDevice, op: str) -> Callable[..., Tensor]:
    torch = torch_device.torch
    actions: dict[str, Callable[..., Tensor]] = {
        "copy": lambda target, source: target.copy_(source),
        "triad": lambda target, first, second: torch.add(first, second, alpha=3.0, out=target),
        # The largest value rather than the sum: both read once, this one rounds nothing.
        "read": lambda source: source.amax(),
        "init": lambda target: target.fill_(1.5),
    }
    return actions[op]


def _transfer_call(torch_device: TorchDevice, op: str, n_elements: int) -> Callable[[int], object]:
    if not torch_device.is_gpu:
        msg = "host transfers need a GPU"
        raise SkipError(msg)
    there = torch_device.normal(n_elements, dtype="bf16")
    here = torch_device.torch.empty(n_elements, dtype=there.dtype, pin_memory=True)
    if op == "h2d":
        return lambda _index: there.copy_(here, non_blocking=True)
    return lambda _index: here.copy_(there, non_blocking=True)


def run_stream(
    op: str, *, key: str, vector_bytes: int, on: tuple[Setting, TorchDevice]
) -> list[BandwidthMeasurement]:
    """Measure one stream."""
    setting, torch_device = on
    n_bytes = N_VECTORS[op] * vector_bytes
    n_sets = 1 if op in {"h2d", "d2h"} else torch_device.n_sets(n_bytes)
    call = stream_call(torch_device, op, n_elements=vector_bytes // ITEMSIZE_BYTES, n_sets=n_sets)
    timing, columns = setting.timed(call, timer=torch_device.timer)
    row = BandwidthMeasurement(
        **setting.base(key, f"{torch_device.library}:{op}"),
        **columns,
        op=op,
        bytes=n_bytes,
        GBps=n_bytes / timing.median_s / 1e9,
    )
    return [row]


def bandwidth_cases(setting: Setting, torch_device: TorchDevice) -> list[Case]:
    """Cases of the bandwidth family: large vectors first, then the curve over sizes."""
    if not torch_device.is_gpu:
        return []
    coarse = [(0, op, 2**30) for op in ("copy", "triad", "read", "init")]
    curve = [(0, "copy", 2**power) for power in (20, 23, 26, 28)]
    curve += [
        (1, op, 2**power) for op in ("triad", "copy", "read", "init") for power in range(18, 33)
    ]
    transfers = [(1, op, 2**power) for op in ("h2d", "d2h") for power in (16, 20, 24, 28)]
    cases: dict[str, Case] = {}
    for priority, op, vector_bytes in (*coarse, *curve, *transfers):
        key = f"{op}/{vector_bytes}"
        cases.setdefault(key, _case(setting, torch_device, (priority, op, vector_bytes)))
    return list(cases.values())


def _case(setting: Setting, torch_device: TorchDevice, choice: tuple[int, str, int]) -> Case:
    priority, op, vector_bytes = choice
    key = f"{op}/{vector_bytes}"

    def run() -> list[BandwidthMeasurement]:
        return run_stream(op, key=key, vector_bytes=vector_bytes, on=(setting, torch_device))

    return Case(key=key, family="bandwidth", priority=priority, run=run)
