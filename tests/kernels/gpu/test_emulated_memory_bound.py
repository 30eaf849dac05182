"""The memory-bound kernels themselves, on the host, against float64: types, widths, tails."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.gemm.reference import relative_error_fraction
from kernels.memory_bound import arguments, reference
from kernels.memory_bound.arguments import adamw_factors, packed
from kernels.memory_bound.sources import memory_bound_source
from tests.kernels.gpu.emulated_entries import EmulatedSource
from tests.kernels.gpu.emulated_gemm import aligned
from tests.kernels.gpu.emulation import SCHEDULES, find_compiler, loaded, round_to, stored

DTYPES = ("bf16", "fp16", "fp32")
TOLERANCE = {"bf16": 1e-2, "fp16": 2e-3, "fp32": 1e-5}
STRUCTURES = {
    "norms": "NormArguments",
    "sum_rows": "SumArguments",
    "elementwise": "ElementArguments",
    "adamw": "AdamWArguments",
    "cross_entropy": "CrossEntropyArguments",
}
# Whole vectors in registers, more of a row than they hold, rows that no vector fits.
SHAPES = [(5, 256), (3, 10240), (3, 37), (2, 2049)]
pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler for the host")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory-bound")
    return {
        name: EmulatedSource(memory_bound_source(name), folder, arguments=structure)
        for name, structure in STRUCTURES.items()
    }


class Memory:
    """Random operands of one type, and results that are NaN until a kernel writes them."""

    def __init__(self, dtype):
        self.dtype, self.random = dtype, np.random.default_rng(7)

    def operand(self, *shape):
        values = self.random.standard_normal(shape).astype(np.float32)
        exact = round_to(values, self.dtype).astype(np.float64)
        return aligned(stored(values, self.dtype)), exact

    def result(self, *shape):
        return aligned(stored(np.full(shape, np.nan, dtype=np.float32), self.dtype))

    def error(self, array, truth):
        return relative_error_fraction(loaded(array, self.dtype), truth)


def address(array):
    return array.ctypes.data


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", ["rms_norm", "layer_norm"])
def test_norms(sources, norm, shape, dtype):
    memory, n_blocks, schedule = Memory(dtype), 2, SCHEDULES[sum(shape) % 4]
    (x, x_), (d_y, d_), (weight, w_), (bias, b_) = (
        memory.operand(*size) for size in (shape, shape, shape[1:], shape[1:])
    )
    out, d_x, d_weight = memory.result(*shape), memory.result(*shape), memory.result(shape[1])
    parts = np.full((2, n_blocks, shape[1]), np.nan, dtype=np.float32)
    given = packed(
        arguments.NORM_ARGUMENTS,
        x=address(x),
        weight=address(weight),
        bias=address(bias),
        out=address(out),
        d_out=address(d_y),
        d_x=address(d_x),
        d_weight_parts=address(parts[0]),
        d_bias_parts=address(parts[1]),
        n_rows=shape[0],
        n_columns=shape[1],
        epsilon=1e-5,
    )
    suffix = dtype if shape[1] * x.itemsize % 16 == 0 else f"{dtype}_unaligned"
    run = sources["norms"].run
    run(f"{norm}_forward_{suffix}", given, n_blocks=shape[0], schedule=schedule)
    run(f"{norm}_backward_{suffix}", given, n_blocks=n_blocks, schedule=schedule)
    d_bias = memory.result(shape[1])
    sums = packed(
        arguments.SUM_ARGUMENTS,
        parts=address(parts),
        out=address(d_weight),
        other_out=address(d_bias),
        n_parts=n_blocks,
        n_columns=shape[1],
    )
    n_matrices = 2 if norm == "layer_norm" else 1
    sources["sum_rows"].run(
        f"sum_rows_{dtype}", sums, n_blocks=n_matrices * -(-shape[1] // 32), schedule=schedule
    )
    if norm == "rms_norm":
        truth = reference.rms_norm_reference(x_, w_, epsilon=1e-5)
        gradients = reference.rms_norm_backward_reference(d_, x_, w_, epsilon=1e-5)
    else:
        truth = reference.layer_norm_reference(x_, w_, b_)
        gradients = reference.layer_norm_backward_reference(d_, x_, w_)
        assert memory.error(d_bias, gradients[2]) < TOLERANCE[dtype]
    assert memory.error(out, truth) < TOLERANCE[dtype]
    assert memory.error(d_x, gradients[0]) < TOLERANCE[dtype]
    assert memory.error(d_weight, gradients[1]) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [3, 1000, 1001])
def test_operations_by_element(sources, n, dtype):
    memory = Memory(dtype)
    (first, a), (second, b), (third, c) = (memory.operand(n) for _ in range(3))
    truths = {
        "swiglu_forward": (reference.swiglu_reference(a, b),),
        "swiglu_backward": reference.swiglu_backward_reference(a, b, c),
        "gelu_forward": (reference.gelu_reference(a),),
        "gelu_backward": (reference.gelu_backward_reference(a, b),),
        "copy": (a,),
        "triad": (a + 3.0 * b,),
    }
    for name, truth in truths.items():
        out, other = memory.result(n), memory.result(n)
        given = packed(
            arguments.ELEMENT_ARGUMENTS,
            first=address(first),
            second=address(second),
            third=address(third),
            out=address(out),
            other_out=address(other),
            n=n,
        )
        sources["elementwise"].run(f"{name}_{dtype}", given, n_blocks=2, schedule=SCHEDULES[0])
        for found, expected in zip((out, other), truth, strict=False):
            assert memory.error(found, expected) < TOLERANCE[dtype], name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [5, 2048, 2051])
def test_optimizer_step(sources, n, dtype):
    memory, exact = Memory(dtype), Memory("fp32")
    gradient, g = memory.operand(n)
    (weight, _w), (first, _m) = exact.operand(n), exact.operand(n)
    second, copy = aligned(first**2), memory.result(n)
    rule = reference.AdamW(n_step=3)
    truth = reference.adamw_reference(weight, g, (first, second), rule)
    given = packed(
        arguments.ADAMW_ARGUMENTS,
        weight=address(weight),
        gradient=address(gradient),
        first_moment=address(first),
        second_moment=address(second),
        weight_copy=address(copy),
        n=n,
        **adamw_factors(rule),
    )
    sources["adamw"].run(f"adamw_{dtype}", given, n_blocks=2, schedule=SCHEDULES[1])
    for found, expected in zip((weight, first, second), truth, strict=True):
        assert relative_error_fraction(found, expected) < TOLERANCE["fp32"]
    if dtype != "fp32":
        assert memory.error(copy, truth[0]) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 4104), (2, 33)])
def test_cross_entropy(sources, shape, dtype):
    memory = Memory(dtype)
    logits, z = memory.operand(*shape)
    target = memory.random.integers(0, shape[1], shape[0]).astype(np.int32)
    d_loss = memory.random.uniform(0.5, 1.5, shape[0]).astype(np.float32)
    loss, log_sum_exp = (np.full(shape[0], np.nan, dtype=np.float32) for _ in range(2))
    d_logits = memory.result(*shape)
    given = packed(
        arguments.CROSS_ENTROPY_ARGUMENTS,
        logits=address(logits),
        target=address(target),
        loss=address(loss),
        log_sum_exp=address(log_sum_exp),
        d_loss=address(d_loss),
        d_logits=address(d_logits),
        n_classes=shape[1],
    )
    suffix = dtype if shape[1] * logits.itemsize % 16 == 0 else f"{dtype}_unaligned"
    for step in ("forward", "backward"):
        sources["cross_entropy"].run(
            f"cross_entropy_{step}_{suffix}", given, n_blocks=shape[0], schedule=SCHEDULES[2]
        )
    truth = reference.cross_entropy_reference(z, target)
    np.testing.assert_allclose(loss, truth[0], rtol=1e-5)
    np.testing.assert_allclose(log_sum_exp, truth[1], rtol=1e-5)
    expected = reference.cross_entropy_backward_reference(d_loss, z, target)
    assert memory.error(d_logits, expected) < TOLERANCE[dtype]
