"""Memory-bound operations and streams on a GPU as calls, by the project's own kernels and CuPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.benched.case import KernelCase
from kernels.benched.device_arrays import DeviceArrays
from kernels.memory_bound import gpu
from kernels.memory_bound.reference import AdamW

__all__ = ["device_operation", "stream_calls"]


def device_operation(case: KernelCase, arrays: DeviceArrays) -> Callable[[], object]:
    """One pass of an operation on a matrix of its own, with all its other operands.

    Parameters
    ----------
    case
        Of the family ops.
    arrays
        Makes the operands.

    Returns
    -------
    callable
        Queues the pass once.
    """
    rows, cols = case.shape["rows"], case.shape["cols"]
    x = arrays.normal((rows, cols), case.dtype)
    if case.op == "adamw":
        return _adamw(case, arrays, x)
    if case.op == "cross_entropy":
        return _cross_entropy(case, arrays, x)
    weight, other, gradient = (
        arrays.normal(shape, case.dtype) for shape in ((cols,), (rows, cols), (rows, cols))
    )
    calls: dict[tuple[str, str], Callable[[], object]] = {
        ("rmsnorm", "fwd"): lambda: gpu.rms_norm_gpu(x, weight),
        ("rmsnorm", "bwd"): lambda: gpu.rms_norm_backward_gpu(gradient, x, weight),
        ("layernorm", "fwd"): lambda: gpu.layer_norm_gpu(x, weight, weight),
        ("layernorm", "bwd"): lambda: gpu.layer_norm_backward_gpu(gradient, x, weight),
        ("swiglu", "fwd"): lambda: gpu.swiglu_gpu(x, other),
        ("swiglu", "bwd"): lambda: gpu.swiglu_backward_gpu(gradient, x, other),
        ("gelu", "fwd"): lambda: gpu.gelu_gpu(x),
        ("gelu", "bwd"): lambda: gpu.gelu_backward_gpu(gradient, x),
    }
    if (case.op, case.direction) not in calls:
        msg = f"no kernel of the project does {case.op}"
        raise ValueError(msg)
    return calls[case.op, case.direction]


def _adamw(case: KernelCase, arrays: DeviceArrays, weight: Any) -> Callable[[], object]:  # noqa: ANN401
    shape = (case.shape["rows"], case.shape["cols"])
    gradient, first = (arrays.normal(shape, case.dtype) for _ in range(2))
    moments = (first, arrays.normal(shape, case.dtype) ** 2)
    # Steps of no length: the values stay what they are however often they are timed.
    rule = AdamW(learning_rate=0.0, weight_decay=0.0)
    return lambda: gpu.adamw_gpu(weight, gradient, moments, rule)


def _cross_entropy(case: KernelCase, arrays: DeviceArrays, logits: Any) -> Callable[[], object]:  # noqa: ANN401
    rows, cols = case.shape["rows"], case.shape["cols"]
    target = (arrays.cupy.arange(rows) % cols).astype("int32")
    if case.direction == "fwd":
        return lambda: gpu.cross_entropy_gpu(logits, target)
    _loss, sums = gpu.cross_entropy_gpu(logits, target)
    d_loss = arrays.cupy.ones(rows, dtype="float32")
    return lambda: gpu.cross_entropy_backward_gpu(d_loss, logits, target, sums)


def stream_calls(
    case: KernelCase, arrays: DeviceArrays, *, n_sets: int
) -> dict[str, Callable[[int], object]]:
    """A copy or triad by the project's own kernel, and CuPy's copy, which is the driver's."""
    shape = (case.details["n_elements"],)
    n_vectors = 2 if case.op == "copy" else 3
    sets = [[arrays.normal(shape, case.dtype) for _ in range(n_vectors)] for _ in range(n_sets)]
    if case.op == "triad":
        return {"own": lambda index: gpu.triad_gpu(*sets[index % n_sets][:2])}

    def copied(index: int) -> object:
        target, source = sets[index % n_sets]
        return arrays.cupy.copyto(target, source)

    return {"own": lambda index: gpu.copy_gpu(sets[index % n_sets][1]), "vendor": copied}
