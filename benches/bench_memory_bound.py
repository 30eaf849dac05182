"""How near do the host's memory-bound kernels come to the bandwidth that a copy reaches?

Run with ``pytest benches/bench_memory_bound.py``. `extra_info` of every line holds the operation,
the least bytes it must move, and the bandwidth over that of a copy timed in the same round.
"""

import time
from typing import NamedTuple

import numpy as np
import pytest

from kernels.backends import host_device
from kernels.gemm.cpu import n_host_cores
from kernels.memory_bound.cpu import copy_bytes, parallel_streams
from kernels.memory_bound.cpu_activations import (
    gelu_backward_numba,
    gelu_numba,
    swiglu_backward_numba,
    swiglu_numba,
)
from kernels.memory_bound.cpu_adamw import adamw_numba
from kernels.memory_bound.cpu_cross_entropy import (
    cross_entropy_backward_numba,
    cross_entropy_numba,
)
from kernels.memory_bound.cpu_norms import (
    layer_norm_backward_numba,
    layer_norm_numba,
    rms_norm_backward_numba,
    rms_norm_numba,
)
from kernels.memory_bound.reference import AdamW

ROWS, COLUMNS = 2048, 4096
CLASSES = 32_000
N_ROUNDS = 5


class Operands(NamedTuple):
    """What the operations work on; values are standard normal."""

    x: np.ndarray
    y: np.ndarray
    out: np.ndarray
    row: np.ndarray
    moments: tuple[np.ndarray, np.ndarray]
    logits: np.ndarray
    target: np.ndarray


@pytest.fixture(scope="module")
def operands():
    random = np.random.default_rng(2718)
    x, y, out, first, second = random.standard_normal((5, ROWS, COLUMNS), dtype=np.float32)
    n_rows = ROWS * COLUMNS // CLASSES
    return Operands(
        x=x,
        y=y,
        out=out,
        row=random.standard_normal(COLUMNS, dtype=np.float32),
        moments=(first, second**2),
        logits=random.standard_normal((n_rows, CLASSES), dtype=np.float32),
        target=random.integers(0, CLASSES, n_rows),
    )


def weights(o):
    return np.ones(len(o.logits), dtype=np.float32)


# Operands of the matrix's size that are read once or written once, and the call.
OPERATIONS = {
    "rmsnorm/fwd": (2, lambda o: rms_norm_numba(o.x, o.row, out=o.out)),
    "rmsnorm/bwd": (3, lambda o: rms_norm_backward_numba(o.y, o.x, o.row)),
    "layernorm/fwd": (2, lambda o: layer_norm_numba(o.x, o.row, o.row, out=o.out)),
    "layernorm/bwd": (3, lambda o: layer_norm_backward_numba(o.y, o.x, o.row)),
    "swiglu/fwd": (3, lambda o: swiglu_numba(o.x, o.y, out=o.out)),
    "swiglu/bwd": (5, lambda o: swiglu_backward_numba(o.y, o.x, o.y)),
    "gelu/fwd": (2, lambda o: gelu_numba(o.x, out=o.out)),
    "gelu/bwd": (3, lambda o: gelu_backward_numba(o.y, o.x)),
    "adamw": (7, lambda o: adamw_numba(o.x, o.y, o.moments, AdamW())),
    "cross_entropy/fwd": (1, lambda o: cross_entropy_numba(o.logits, o.target)),
    "cross_entropy/bwd": (
        2,
        lambda o: cross_entropy_backward_numba(
            weights(o), o.logits, o.target, weights(o) * np.float32(11)
        ),
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation(benchmark, operands, name):
    n_operands, call = OPERATIONS[name]
    matrix = operands.logits if name.startswith("cross_entropy") else operands.x
    copy = parallel_streams()["copy"]
    target, source = np.empty(ROWS * COLUMNS), np.ones(ROWS * COLUMNS)
    copy(target, source)
    call(operands)  # compiles
    ratios = []

    def both():
        start = time.perf_counter()
        copy(target, source)
        middle = time.perf_counter()
        call(operands)
        copy_s, call_s = middle - start, time.perf_counter() - middle
        copied = copy_bytes(target.size) / copy_s
        ratios.append(n_operands * matrix.nbytes / call_s / copied)

    for _ in range(N_ROUNDS):
        both()
    benchmark.group = f"memory-bound {ROWS}x{COLUMNS} float32"
    benchmark.extra_info.update(
        device=host_device().name,
        n_threads=n_host_cores(),
        library="numba",
        op=name,
        dtype="float32",
        rows=matrix.shape[0],
        cols=matrix.shape[1],
        bytes=n_operands * matrix.nbytes,
        copy_bandwidth_ratio=float(np.median(ratios)),
    )
    benchmark.pedantic(call, args=(operands,), rounds=N_ROUNDS)
