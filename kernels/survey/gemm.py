"""Vendor-library GEMM over the shapes of real training, through torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kernels.measurements import GemmMeasurement
from kernels.survey.case import Case, SkipError
from kernels.survey.setting import Setting
from kernels.survey.shapes import GemmShape, training_gemms
from kernels.survey.torch_device import Tensor, TorchDevice

__all__ = ["GemmCall", "gemm_call", "gemm_cases"]

ITEMSIZE_BYTES = {"fp8": 1, "bf16": 2, "fp16": 2, "tf32": 4, "fp32": 4}

TOLERANCE = {"fp8": 2e-2, "bf16": 1e-2, "fp16": 2e-3, "tf32": 2e-3, "fp32": 1e-4}
"""Largest relative error of a product against float64 on the same operands; fp8 results are
rounded to bf16, and summed with fewer bits. [1]"""

COARSE_MODELS = ("llama-3-8b", "llama-3-70b", "gpt3-175b")
SQUARE_SIZES = (512, 1024, 2048, 4096, 8192, 16384)


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmCall:
    """A product that can be called again and again, and the first set's operands and result."""

    call: Callable[[int], object]
    a: Tensor
    b: Tensor
    result: Callable[[], Tensor]
    """Result of the first set of operands."""


def gemm_bytes(shape: GemmShape, dtype: str) -> int:
    """Operands read once and result written once; fp8 gives bf16. [byte]."""
    item = ITEMSIZE_BYTES[dtype]
    inputs = shape.m * shape.k + shape.k * shape.n
    return item * inputs + max(2, item) * shape.m * shape.n


def gemm_call(
    torch_device: TorchDevice, shape: GemmShape, *, dtype: str, data: str, n_sets: int
) -> GemmCall:
    """Allocate operands in the layout of the shape and return the product as a call.

    fp8 products take both operands with the reduction dimension contiguous, whatever the
    direction: frameworks transpose while they quantise.
    """
    layout = "TN" if dtype == "fp8" else shape.layout
    sets = [
        _operands(torch_device, shape, dtype=dtype, data=data, layout=layout) for _ in range(n_sets)
    ]
    if dtype == "fp8":
        return _scaled_call(torch_device, sets, fast=shape.direction in {"fwd", ""})
    outs = [torch_device.empty(shape.m, shape.n, dtype=dtype) for _ in sets]
    mm = torch_device.torch.mm

    def call(index: int) -> None:
        i = index % n_sets
        mm(sets[i][0], sets[i][1], out=outs[i])

    a, b = sets[0]
    return GemmCall(call=call, a=a, b=b, result=lambda: outs[0])


def _operands(
    torch_device: TorchDevice, shape: GemmShape, *, dtype: str, data: str, layout: str
) -> tuple[Tensor, Tensor]:
    """A[m,k] and B[k,n] in the memory order that the BLAS letters say."""

    def make(rows: int, cols: int, scale: float) -> Tensor:
        if data == "zeros":
            return torch_device.zeros(rows, cols, dtype=dtype)
        return torch_device.normal(rows, cols, dtype=dtype, scale=scale)

    m, n, k = shape.m, shape.n, shape.k
    # Results then have variance one, which half precision can hold; fp8 keeps its own scale.
    scale = 1.0 if dtype == "fp8" else k**-0.5
    a = make(k, m, 1.0).t() if layout == "NT" else make(m, k, 1.0)
    b = make(n, k, scale).t() if layout == "TN" else make(k, n, scale)
    return a, b


def _scaled_call(
    torch_device: TorchDevice, sets: list[tuple[Tensor, Tensor]], *, fast: bool
) -> GemmCall:
    torch = torch_device.torch
    if not hasattr(torch, "_scaled_mm"):
        msg = "this torch has no scaled fp8 product"
        raise SkipError(msg)
    one = torch.ones((), device=torch_device.name, dtype=torch.float32)
    n_sets = len(sets)

    def call(index: int) -> Tensor:
        a, b = sets[index % n_sets]
        return torch._scaled_mm(
            a, b, scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=fast
        )

    a, b = sets[0]
    return GemmCall(call=call, a=a, b=b, result=lambda: call(0))


def check_product(torch_device: TorchDevice, product: GemmCall, *, dtype: str) -> None:
    """Compare a corner of the result with float64; raise when it is wrong.

    A corner sees whole rows of A and columns of B, so wrong layouts and unwritten results show.
    """
    torch = torch_device.torch
    # By way of fp32, since not every device converts fp8 to fp64 in one step.
    rows, cols = product.a[:8].to(torch.float32), product.b[:, :16].to(torch.float32)
    truth = rows.to(torch.float64) @ cols.to(torch.float64)
    scale = float(truth.norm())
    error = float((product.result()[:8, :16].to(torch.float64) - truth).norm())
    if scale > 0 and not error <= TOLERANCE[dtype] * scale:
        msg = f"wrong result: relative error {error / scale:.2g}, tolerance {TOLERANCE[dtype]:g}"
        raise SkipError(msg)


def run_gemm(
    shape: GemmShape, *, key: str, dtype: str, cache: str, on: tuple[Setting, TorchDevice]
) -> list[GemmMeasurement]:
    """Measure one product."""
    setting, torch_device = on
    is_cold = cache == "cold"
    n_sets = torch_device.n_sets(gemm_bytes(shape, dtype), cold=is_cold)
    with torch_device.matmul_precision(dtype):
        product = gemm_call(torch_device, shape, dtype=dtype, data="normal", n_sets=n_sets)
        _timing, columns = setting.timed(product.call, timer=torch_device.timer)
        check_product(torch_device, product, dtype=dtype)
    row = GemmMeasurement(
        **setting.base(key, f"{torch_device.library}:{'scaled_mm' if dtype == 'fp8' else 'mm'}"),
        **columns,
        dtype=dtype,
        m=shape.m,
        n=shape.n,
        k=shape.k,
        layout="TN" if dtype == "fp8" else shape.layout,
        direction=shape.direction,
        role=shape.role,
        cache=cache,
    )
    return [row]


def gemm_cases(setting: Setting, torch_device: TorchDevice) -> list[Case]:
    """Cases of the GEMM family, the most telling first."""
    cases: dict[str, Case] = {}
    for priority, dtype, cache, shape in _choices(is_gpu=torch_device.is_gpu):
        size = f"{shape.m}x{shape.n}x{shape.k}"
        layout = "TN" if dtype == "fp8" else shape.layout
        key = f"{dtype}/{layout}/{size}/{cache}"
        cases.setdefault(key, _case(setting, torch_device, key, (priority, dtype, cache, shape)))
    return list(cases.values())


Choice = tuple[int, str, str, GemmShape]


def _case(setting: Setting, torch_device: TorchDevice, key: str, choice: Choice) -> Case:
    priority, dtype, cache, shape = choice

    def run() -> list[GemmMeasurement]:
        return run_gemm(shape, key=key, dtype=dtype, cache=cache, on=(setting, torch_device))

    return Case(key=key, family="gemm", priority=priority, run=run)


def _square(size: int) -> GemmShape:
    return GemmShape(m=size, n=size, k=size, layout="TN", role="square")


def _choices(*, is_gpu: bool) -> Iterator[Choice]:
    if not is_gpu:
        for size in (256, 512, 1024):
            yield 0, "fp32", "warm", _square(size)
            yield 1, "bf16", "warm", _square(size)
        return
    coarse = training_gemms(models=COARSE_MODELS, tp_degrees=(1, 8), tokens=(8192,))
    yield from ((0, "bf16", "cold", _square(size)) for size in SQUARE_SIZES)
    yield from ((0, "bf16", "cold", shape) for shape in coarse)
    yield from ((0, "fp8", "cold", shape) for shape in coarse if shape.direction == "fwd")
    yield from (
        (0, d, "cold", _square(size))
        for d in ("fp16", "tf32", "fp32", "fp8")
        for size in (4096, 8192)
    )
    usual = training_gemms(tokens=(8192, 4096))
    yield from ((1, "bf16", "cold", shape) for shape in usual)
    yield from ((1, "fp8", "cold", shape) for shape in coarse)
    yield from ((1, d, "cold", shape) for d in ("fp16", "tf32") for shape in coarse)
    yield from (
        (1, "bf16", "warm", shape)
        for shape in training_gemms(models=("llama-3-8b",), tp_degrees=(1, 8), tokens=(2048,))
    )
    yield from ((1, "bf16", "warm", _square(size)) for size in SQUARE_SIZES)
    rest = training_gemms()
    yield from ((2, "bf16", "cold", shape) for shape in rest)
    yield from ((2, "fp8", "cold", shape) for shape in rest if shape.direction == "fwd")
    yield from ((2, "fp32", "cold", _square(size)) for size in (1024, 2048))
    yield from ((2, "fp16", "cold", shape) for shape in usual)
