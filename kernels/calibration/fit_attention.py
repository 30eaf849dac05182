"""Fit of the attention model for one device and implementation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kernels.attention.model import (
    AttentionMachine,
    AttentionShape,
    attention_backward_time,
    attention_forward_time,
)
from kernels.calibration.device_figures import DeviceFigures
from kernels.calibration.measurements import Mask, Table
from kernels.calibration.simplex import (
    Bound,
    FittedErrors,
    FloatArray,
    fit_parameters,
    judge,
    robust_loss,
)
from kernels.calibration.split import is_heldout
from kernels.compiled_formula import FormulaCompiler

__all__ = [
    "ATTENTION_BOUNDS",
    "ATTENTION_COLUMNS",
    "AttentionFit",
    "AttentionFitter",
    "attention_machine",
]

ATTENTION_COLUMNS = (
    "device",
    "dtype",
    "batch",
    "heads_q",
    "heads_kv",
    "seq_q",
    "seq_kv",
    "head_dim",
    "causal",
    "direction",
    "library",
    "latency_us",
)

SIZE_COLUMNS = ("batch", "heads_q", "heads_kv", "seq_q", "seq_kv", "head_dim")

LARGE_SEQUENCE = 2048.0
"""Sequence length from which attention weighs in training. [tokens]"""

LARGE_HEADS = 16.0
"""Batch times heads that fill a device. [1]"""

LARGEST_HEAD_DIM = 256.0
"""Wider heads fall back to other kernels. [elements]"""

N_FIT_ROWS = 3000

ATTENTION_BOUNDS: dict[str, Bound] = {
    "matrix_efficiency_fraction": Bound(low=0.15, high=1.0, start=0.7),
    "memory_efficiency_fraction": Bound(low=0.8, high=0.8, start=0.8),
    "exponentials_per_clock_per_unit": Bound(low=16.0, high=16.0, start=16.0),
    "block_latency_s": Bound(low=0.02e-6, high=2e-6, start=0.4e-6),
    "diagonal_blocks": Bound(low=0.05, high=2.0, start=0.6),
    "launch_s": Bound(low=2e-6, high=40e-6, start=8e-6),
    "traffic_factor": Bound(low=0.5, high=6.0, start=1.2),
    "join_exponent": Bound(low=1.0, high=5.0, start=2.0),
    "backward_matrix_efficiency_fraction": Bound(low=0.5, high=0.5, start=0.5),
}
"""The exponential rate stays at its hardware value, so that it transfers; it and the block
latency are nearly collinear in the data. Memory efficiency and traffic act as one product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionFit:
    """Fitted parameters with what they were fitted and judged on."""

    parameters: dict[str, float]
    n_samples: int
    heldout: FittedErrors | None
    heldout_large: FittedErrors | None


def attention_times_s(
    sizes: FloatArray, passes: FloatArray, machine: AttentionMachine, times_s: FloatArray
) -> None:
    """Fill predicted times; compiled before use.

    Columns of sizes: batch, heads, KV heads, query length, key length, head dim, visible share;
    of passes: forward and backward calls in the timing.
    """
    for row in range(len(times_s)):
        shape = AttentionShape(
            sizes[row, 0],
            sizes[row, 1],
            sizes[row, 2],
            sizes[row, 3],
            sizes[row, 4],
            sizes[row, 5],
            sizes[row, 6],
            2.0,
        )
        time_s = 0.0
        if passes[row, 0] > 0.0:
            time_s += attention_forward_time(shape, machine).time_s
        if passes[row, 1] > 0.0:
            time_s += attention_backward_time(shape, machine).time_s
        times_s[row] = time_s


def attention_machine(
    figures: DeviceFigures, dtype: str, parameters: Mapping[str, float]
) -> AttentionMachine:
    """The machine of the model from datasheet figures and parameters."""
    return AttentionMachine(
        n_units=float(figures.n_units),
        clock_hz=figures.clock_hz,
        peak_flop_per_s=figures.peak_flop_per_s[dtype],
        memory_bandwidth_bytes_per_s=figures.memory_bandwidth_bytes_per_s,
        **{name: parameters[name] for name in ATTENTION_BOUNDS},
    )


def _sizes(rows: Table) -> FloatArray:
    visible = np.where(rows["causal"], 0.5, 1.0)
    return np.column_stack([*(rows[name] for name in SIZE_COLUMNS), visible])


def _passes(rows: Table) -> FloatArray:
    direction = rows["direction"]
    forward = (direction == "fwd") | (direction == "fwd_bwd")
    backward = (direction == "bwd") | (direction == "fwd_bwd")
    return np.column_stack([forward, backward]).astype(np.float64)


def _heldout_mask(sizes: FloatArray) -> Mask:
    heads, where = np.unique(sizes[:, (1, 2, 5)], axis=0, return_inverse=True)
    chosen = np.array([is_heldout("attention", tuple(int(size) for size in key)) for key in heads])
    return chosen[where]


def _large_mask(sizes: FloatArray) -> Mask:
    return np.asarray((sizes[:, 3] >= LARGE_SEQUENCE) & (sizes[:, 0] * sizes[:, 1] >= LARGE_HEADS))


class AttentionFitter:
    """Fits implementations one after the other; keeps the compiled model between them."""

    def __init__(self, *, seed: int = 0) -> None:
        self._times = FormulaCompiler().compile(attention_times_s)
        self._rng = np.random.default_rng(seed)

    def predict_s(self, rows: Table, machine: AttentionMachine) -> FloatArray:
        """Predicted times of rows. [s]"""
        times_s = np.empty(len(rows))
        self._times(_sizes(rows), _passes(rows), machine, times_s)
        return times_s

    def _chosen(self, rows: Table, *, keeps_all: bool) -> Mask:
        sizes = _sizes(rows)
        free = np.ones(len(rows), dtype=bool) if keeps_all else ~_heldout_mask(sizes)
        free &= sizes[:, 5] <= LARGEST_HEAD_DIM
        large = _large_mask(sizes)
        half = N_FIT_ROWS // 2
        groups = [np.flatnonzero(free & large), np.flatnonzero(free & ~large)]
        return np.concatenate([self._rng.permutation(group)[:half] for group in groups])

    def fit(
        self,
        rows: Table,
        figures: DeviceFigures,
        *,
        bounds: Mapping[str, Bound] = ATTENTION_BOUNDS,
        keeps_all: bool = False,
        prior_weight: float = 0.0,
    ) -> AttentionFit:
        """Fit on heads that are not set aside, judge on those that are.

        Parameters
        ----------
        rows
            Rows of one device and implementation, at 16 bit.
        figures
            Datasheet figures of the device.
        bounds
            Range and start of each parameter; zero width fixes it.
        keeps_all
            Fit on all rows, for tables too thin to set anything aside; errors are then those of
            the fitted rows.
        prior_weight
            Pull towards the starts of bounds that carry a prior.

        Returns
        -------
        AttentionFit
            Parameters and errors.
        """
        chosen = self._chosen(rows, keeps_all=keeps_all)
        fitted = rows.where(chosen)
        sizes, passes = _sizes(fitted), _passes(fitted)
        target_s = fitted["latency_us"] * 1e-6
        large = _large_mask(sizes)
        weights = np.where(large, 0.5 / max(large.sum(), 1), 0.5 / max((~large).sum(), 1))
        times_s = np.empty(len(fitted))

        def loss(parameters: dict[str, float]) -> float:
            machine = attention_machine(figures, "bf16", parameters)
            self._times(sizes, passes, machine, times_s)
            return robust_loss(times_s, target_s, weights)

        parameters = fit_parameters(loss, bounds, prior_weight=prior_weight)
        machine = attention_machine(figures, "bf16", parameters)
        heldout, heldout_large = self.judge(rows, machine, keeps_all=keeps_all)
        return AttentionFit(
            parameters=parameters,
            n_samples=len(fitted),
            heldout=heldout,
            heldout_large=heldout_large,
        )

    def judge(
        self, rows: Table, machine: AttentionMachine, *, keeps_all: bool = False
    ) -> tuple[FittedErrors | None, FittedErrors | None]:
        """Errors on the rows set aside (or on all): all of them, and the large ones."""
        sizes = _sizes(rows)
        judged = np.ones(len(rows), dtype=bool) if keeps_all else _heldout_mask(sizes)
        large = judged & _large_mask(sizes)
        measured_s = rows["latency_us"] * 1e-6
        predicted_s = self.predict_s(rows, machine)
        results = [
            judge(predicted_s[mask], measured_s[mask]) if mask.any() else None
            for mask in (judged, large)
        ]
        return results[0], results[1]
