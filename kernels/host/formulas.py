"""Formulas of the kernel models as one host thread uses them, and the ranges of their constants.

The physics is that of any device with one compute unit: arithmetic at a rate, operands supplied by
a cache, traffic to memory, a fill for each block, a floor for each call. What differs from a GPU is
in the ranges: nothing runs side by side, so limits add up rather than hide behind each other
(exponents near 1), and a call costs fractions of a microsecond in the library and microseconds in
Python.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_profiles.calibration import SOFT_ROW_SHARPNESS, STREAM_OVERLAP
from kernels.attention.model import (
    AttentionMachine,
    AttentionShape,
    attention_backward_time,
    attention_forward_time,
)
from kernels.calibration.log_least_squares import ParameterRange
from kernels.gemm.model import GemmMachine, GemmShape, gemm_time
from kernels.host.case import ATTENTION, GEMM, ITEM_BYTES, HostCase
from kernels.memory_bound.machine import traffic_passes
from kernels.memory_bound.operation import Matrix, OperationMachine, operation_time_s
from kernels.prediction.gemm import LAYOUTS

__all__ = [
    "ATTENTION_FIXED",
    "BACKWARD_BOUNDS",
    "BLAS_BOUNDS",
    "COMPUTED_BOUNDS",
    "FORWARD_BOUNDS",
    "GEMM_FIXED",
    "NUMBA_BOUNDS",
    "PLAIN_BOUNDS",
    "ROW_BOUNDS",
    "STREAM_BOUNDS",
    "HostFigures",
    "attention_time_s",
    "gemm_time_s",
    "nominal_times_s",
    "operation_time_of_case_s",
    "own_tile",
]

FloatArray = npt.NDArray[np.float64]
Values = Mapping[str, float]


class HostFigures(NamedTuple):
    """What constants are shares of."""

    peak_flop_per_s: float
    bandwidth_bytes_per_s: float
    clock_hz: float
    l2_bytes: float


WIDE, NARROW = 1.0, 0.3
"""How far constants lie from where their search begins, as natural logarithms. [1]"""

NOMINAL = HostFigures(60e9, 10e9, 2.5e9, 1e6)
"""A core of a server, for choosing sizes before anything is measured."""

GEMM_FIXED = {
    # Limits of devices with waves of tiles, which packed products do not have.
    "memory_efficiency_fraction": 1.0,
    "overlap_exponent": 1.0,
    "fill_repeat_fraction": 1.0,
    "wave_smoothing_fraction": 1.0,
    "split_s": 1e-6,
    "droop_fraction": 0.0,
    "droop_time_s": 4e-3,
    "stride_conflict_ratio": 0.0,
    "stride_period_bytes": 131072.0,
}

BLAS_BOUNDS = {
    "tensor_efficiency_fraction": ParameterRange(low=0.1, high=2.0, start=1.0, sigma=WIDE),
    "launch_s": ParameterRange(low=2e-7, high=3e-5, start=1.5e-6, sigma=WIDE),
    "fill_depth": ParameterRange(low=0.5, high=300.0, start=20.0, sigma=WIDE),
    "pack_a_s": ParameterRange(low=1e-11, high=2e-8, start=5e-10, sigma=WIDE),
    "pack_b_s": ParameterRange(low=1e-11, high=2e-8, start=1e-9, sigma=WIDE),
    "cached_pack_ratio": ParameterRange(low=1.0, high=30.0, start=4.0, sigma=WIDE),
    "cached_fill_ratio": ParameterRange(low=1.0, high=30.0, start=4.0, sigma=WIDE),
    "cached_transposed_ratio": ParameterRange(low=1.0, high=30.0, start=2.0, sigma=WIDE),
    "pack_cache_ratio": ParameterRange(low=0.2, high=60.0, start=4.0, sigma=WIDE),
    "transposed_a_ratio": ParameterRange(low=0.1, high=10.0, start=1.0, sigma=WIDE),
    "transposed_b_ratio": ParameterRange(low=0.1, high=10.0, start=1.0, sigma=WIDE),
}

NUMBA_BOUNDS = {
    "rate_ratio": ParameterRange(low=0.02, high=2.0, start=0.4, sigma=WIDE),
    "fill_ratio": ParameterRange(low=0.02, high=50.0, start=1.0, sigma=WIDE),
    "pack_a_ratio": ParameterRange(low=0.01, high=100.0, start=1.5, sigma=WIDE),
    "pack_b_ratio": ParameterRange(low=0.01, high=100.0, start=1.5, sigma=WIDE),
    "own_cached_pack_ratio": ParameterRange(low=0.03, high=30.0, start=1.0, sigma=WIDE),
    "own_transposed_a_ratio": ParameterRange(low=0.1, high=10.0, start=1.0, sigma=WIDE),
    "own_transposed_b_ratio": ParameterRange(low=0.1, high=10.0, start=1.0, sigma=WIDE),
    "overhead_s": ParameterRange(low=1e-7, high=1e-3, start=2e-5, sigma=WIDE),
}
"""What the project's own kernel differs from the BLAS in."""

ATTENTION_FIXED = {
    "memory_efficiency_fraction": 0.7,
    "join_exponent": 1.0,
    "item_latency_fixed_fraction": 0.0,
    "wave_smoothing_fraction": 1.0,
    "lone_item_ratio": 1.0,
    # Keys are never split: there is no second unit to take a part.
    "split_s": 1.0,
    # Columns of a tile of kernels/attention/host_tiles.py; a last block costs what it holds.
    "query_block": 192.0,
    "narrow_query_block": 192.0,
    "least_query_block": 12.0,
    "key_block": 64.0,
    "least_head_dim": 16.0,
    "group_packing_fraction": 0.0,
    "token_packing_fraction": 0.0,
    # Heads cost what they are wide: products have no fragments to pad to.
    "head_96_over_64_ratio": 1.5,
    "head_128_over_96_ratio": 4.0 / 3.0,
    "head_192_over_128_ratio": 1.5,
    "head_256_over_192_ratio": 4.0 / 3.0,
    "head_512_over_256_ratio": 2.0,
    "unaligned_head_ratio": 1.0,
    "traffic_factor": 1.0,
    "side_query_ratio": 0.0,
    "side_key_ratio": 0.0,
    "droop_fraction": 0.0,
}

FORWARD_BOUNDS = {
    "matrix_efficiency_fraction": ParameterRange(low=0.02, high=2.0, start=0.5, sigma=WIDE),
    "exponentials_per_clock_per_unit": ParameterRange(low=0.005, high=16.0, start=0.3, sigma=WIDE),
    "block_latency_s": ParameterRange(low=1e-9, high=1e-4, start=5e-7, sigma=WIDE),
    "item_latency_s": ParameterRange(low=1e-8, high=1e-3, start=5e-6, sigma=WIDE),
    "diagonal_blocks": ParameterRange(low=0.05, high=4.0, start=0.5, sigma=WIDE),
    "launch_s": ParameterRange(low=1e-6, high=2e-4, start=1.5e-5, sigma=WIDE),
}

BACKWARD_BOUNDS = {
    "backward_matrix_efficiency_fraction": ParameterRange(
        low=0.02, high=2.0, start=0.4, sigma=WIDE
    ),
    "backward_latency_ratio": ParameterRange(low=0.2, high=30.0, start=3.0, sigma=WIDE),
    "backward_side_ratio": ParameterRange(low=0.05, high=30.0, start=2.0, sigma=WIDE),
    "backward_launch_s": ParameterRange(low=1e-6, high=5e-4, start=5e-5, sigma=WIDE),
}


@functools.cache
def own_tile() -> dict[str, float]:
    """Tile in registers of the project's own product in fp32, by the names of profiles. [1]"""
    # Importing Numba takes a second that a fit on tables of a GPU need not spend.
    from kernels.gemm.host_tile import TILE

    n_columns = TILE.n_vectors * TILE.vector_bytes // ITEM_BYTES
    return {"tile_rows": float(TILE.n_rows), "tile_columns": float(n_columns)}


def gemm_time_s(case: HostCase, figures: HostFigures, values: Values) -> float:
    """Time of one product by a library of these constants. [s]

    `overhead_s` and the ratios of a library to the BLAS may be among the values.
    """
    m, n, k = (float(size) for size in case.sizes)
    machine = GemmMachine(
        n_units=1.0,
        peak_flop_per_s=figures.peak_flop_per_s,
        memory_bandwidth_bytes_per_s=figures.bandwidth_bytes_per_s,
        feed_bytes_per_s=figures.bandwidth_bytes_per_s,
        tensor_efficiency_fraction=values["tensor_efficiency_fraction"]
        * values.get("rate_ratio", 1.0),
        launch_s=values["launch_s"],
        fill_depth=values["fill_depth"] * values.get("fill_ratio", 1.0),
        pack_a_s=values["pack_a_s"] * values.get("pack_a_ratio", 1.0),
        pack_b_s=values["pack_b_s"] * values.get("pack_b_ratio", 1.0),
        cached_pack_ratio=max(
            1.0, values["cached_pack_ratio"] * values.get("own_cached_pack_ratio", 1.0)
        ),
        cached_fill_ratio=values["cached_fill_ratio"],
        cached_transposed_ratio=values["cached_transposed_ratio"],
        pack_cache_ratio=values["pack_cache_ratio"],
        transposed_a_ratio=values["transposed_a_ratio"] * values.get("own_transposed_a_ratio", 1.0),
        transposed_b_ratio=values["transposed_b_ratio"] * values.get("own_transposed_b_ratio", 1.0),
        cache_bytes=figures.l2_bytes,
        tile_m=own_tile()["tile_rows"] if case.part == "numba" else 1.0,
        tile_n=own_tile()["tile_columns"] if case.part == "numba" else 1.0,
        **GEMM_FIXED,
    )
    width = float(ITEM_BYTES)
    shape = GemmShape(m, n, k, width, width, width, 1.0, *LAYOUTS[case.layout])
    return gemm_time(shape, machine).time_s + values.get("overhead_s", 0.0)


def attention_time_s(case: HostCase, figures: HostFigures, values: Values) -> float:
    """Time of one forward or backward call; a backward one needs the forward's values too. [s]"""
    batch, heads, kv_heads, tokens, head_dim, is_causal = case.sizes
    backward = {name: bound.start for name, bound in BACKWARD_BOUNDS.items()}
    machine = AttentionMachine(
        n_units=1.0,
        clock_hz=figures.clock_hz,
        peak_flop_per_s=figures.peak_flop_per_s,
        memory_bandwidth_bytes_per_s=figures.bandwidth_bytes_per_s,
        cache_bytes=0.0,
        **ATTENTION_FIXED,
        **(backward | dict(values)),
    )
    shape = AttentionShape(
        float(batch),
        float(heads),
        float(kv_heads),
        float(tokens),
        float(tokens),
        float(head_dim),
        0.5 if is_causal else 1.0,
        float(ITEM_BYTES),
    )
    compute = attention_forward_time if case.part == "fwd" else attention_backward_time
    return compute(shape, machine).time_s


def nominal_times_s(cases: Sequence[HostCase], *, step: float) -> tuple[FloatArray, FloatArray]:
    """Times on a nominal core, and with the logarithm of each free parameter moved by a step.

    Returns
    -------
    tuple
        Times by case; times by case and parameter. All cases are of one family and part. [s]
    """
    start, free = _nominal(cases[0])
    compute = gemm_time_s if cases[0].family == GEMM else attention_time_s
    base = np.array([compute(case, NOMINAL, start) for case in cases])
    moved = [
        [compute(case, NOMINAL, start | {name: start[name] * np.exp(step)}) for name in free]
        for case in cases
    ]
    return base, np.array(moved)


def _nominal(case: HostCase) -> tuple[dict[str, float], list[str]]:
    """Starting values of everything the formula of a case needs, and what is fitted on it."""
    match case.family, case.part:
        case (family, "blas") if family == GEMM:
            bounds = own = BLAS_BOUNDS
        case (family, _) if family == GEMM:
            bounds, own = BLAS_BOUNDS | NUMBA_BOUNDS, NUMBA_BOUNDS
        case (family, "fwd") if family == ATTENTION:
            bounds = own = FORWARD_BOUNDS
        case _:
            bounds, own = FORWARD_BOUNDS | BACKWARD_BOUNDS, BACKWARD_BOUNDS
    return {name: bound.start for name, bound in bounds.items()}, list(own)


STREAM_BOUNDS = {
    "traffic_ratio": ParameterRange(low=0.1, high=10.0, start=1.0, sigma=WIDE),
    "launch_s": ParameterRange(low=2e-7, high=1e-4, start=1.5e-6, sigma=WIDE),
    "cached_bandwidth_ratio": ParameterRange(low=1.0, high=12.0, start=3.0, sigma=WIDE),
    "cache_bytes": ParameterRange(low=2.5e5, high=1.3e8, start=4e6, sigma=WIDE),
}
"""A copy, which also tells how much data the caches of this thread keep."""

PLAIN_BOUNDS = {name: STREAM_BOUNDS[name] for name in STREAM_BOUNDS if name != "cache_bytes"}

COMPUTED_BOUNDS = {
    "traffic_ratio": ParameterRange(low=0.1, high=100.0, start=5.0, sigma=WIDE),
    "launch_s": ParameterRange(low=2e-7, high=1e-4, start=8e-6, sigma=WIDE),
    "cached_bandwidth_ratio": ParameterRange(low=1.0, high=12.0, start=1.15, sigma=NARROW),
}
"""Operations that one thread computes about as slowly as it streams: caches help little."""

ROW_BOUNDS = {"row_s": ParameterRange(low=1e-9, high=1e-5, start=3e-8, sigma=WIDE)}
"""What operations along rows add for each of them."""


def operation_time_of_case_s(case: HostCase, figures: HostFigures, values: Values) -> float:
    """Time of one memory-bound operation. [s]"""
    rows, columns = (float(size) for size in case.sizes)
    row_s = values.get("row_s", 0.0)
    machine = OperationMachine(
        memory_bandwidth_bytes_per_s=figures.bandwidth_bytes_per_s,
        bandwidth_efficiency_fraction=1.0,
        cached_bandwidth_ratio=values["cached_bandwidth_ratio"],
        cache_bytes=values["cache_bytes"],
        n_units=1.0,
        launch_s=values["launch_s"],
        traffic_ratio=values["traffic_ratio"],
        row_s=row_s,
        unaligned_row_s=row_s,
        short_row_columns=0.0,
        long_row_bytes=0.0,
        long_row_traffic_ratio=1.0,
        long_row_sharpness=SOFT_ROW_SHARPNESS,
        element_s=0.0,
        overlap_exponent=STREAM_OVERLAP,
        fill_rows=0.0,
    )
    matrix = Matrix(rows, columns, float(ITEM_BYTES), traffic_passes(case.part), 1.0)
    return operation_time_s(matrix, machine)
