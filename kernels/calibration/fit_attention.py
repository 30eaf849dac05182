"""Fit of the fused-attention model for one device and one implementation."""

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

__all__ = ["ATTENTION_BOUNDS", "ATTENTION_COLUMNS", "AttentionFit", "AttentionFitter"]

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
    "flag",
)

ATTENTION_BOUNDS: dict[str, Bound] = {
    "matrix_efficiency_fraction": Bound(low=0.2, high=1.0, start=0.7),
    "memory_efficiency_fraction": Bound(low=0.75, high=0.75, start=0.75),
    "exponentials_per_clock_per_unit": Bound(low=16.0, high=16.0, start=16.0),
    "block_latency_s": Bound(low=2e-8, high=2e-6, start=3e-7),
    "diagonal_blocks": Bound(low=0.05, high=2.0, start=0.7),
    "launch_s": Bound(low=2e-6, high=2e-5, start=6e-6),
    "traffic_factor": Bound(low=0.5, high=4.0, start=1.0),
    "join_exponent": Bound(low=1.2, high=6.0, start=2.0),
}
"""The exponential rate stays at its hardware value, since it is nearly collinear with the block
latency in the data and must transfer to parts where that unit differs."""

BACKWARD_BOUNDS: dict[str, Bound] = {
    "backward_matrix_efficiency_fraction": Bound(low=0.1, high=1.0, start=0.55),
}

N_FIT_ROWS = 3000
LARGE_SEQUENCE = 2048.0
LARGE_HEADS = 16.0
ELEMENT_BYTES = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionFit:
    """Fitted parameters with what they were fitted and judged on."""

    parameters: dict[str, float]
    n_samples: int
    heldout: FittedErrors | None
    heldout_large: FittedErrors | None


def attention_times_s(
    sizes: FloatArray, machine: AttentionMachine, is_forward: bool, times_s: FloatArray
) -> None:
    """Fill predicted times of rows; compiled before use."""
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
        if is_forward:
            times_s[row] = attention_forward_time(shape, machine).time_s
        else:
            times_s[row] = attention_backward_time(shape, machine).time_s


def attention_sizes(rows: Table) -> FloatArray:
    """Columns batch, heads, KV heads, queries, keys, head dim, visible share."""
    names = ("batch", "heads_q", "heads_kv", "seq_q", "seq_kv", "head_dim")
    visible = np.where(rows["causal"].astype(bool), 0.5, 1.0)
    columns = [np.asarray(rows[name], dtype=np.float64) for name in names]
    return np.ascontiguousarray(np.column_stack([*columns, visible]))


def attention_machine(
    figures: DeviceFigures, dtype: str, parameters: Mapping[str, float]
) -> AttentionMachine:
    """The machine of the model from datasheet figures and parameters."""
    return AttentionMachine(
        n_units=float(figures.n_units),
        clock_hz=figures.clock_hz,
        peak_flop_per_s=figures.peak_flop_per_s[dtype],
        memory_bandwidth_bytes_per_s=figures.memory_bandwidth_bytes_per_s,
        backward_matrix_efficiency_fraction=parameters.get(
            "backward_matrix_efficiency_fraction", 0.5
        ),
        **{name: parameters[name] for name in ATTENTION_BOUNDS},
    )


def _heldout_mask(sizes: FloatArray) -> Mask:
    tuples, where = np.unique(sizes[:, [1, 2, 5]], axis=0, return_inverse=True)
    chosen = np.array([is_heldout("attention", tuple(int(x) for x in row)) for row in tuples])
    return chosen[where]


def _large_mask(sizes: FloatArray) -> Mask:
    many = sizes[:, 0] * sizes[:, 1] >= LARGE_HEADS
    return np.asarray((sizes[:, 3] >= LARGE_SEQUENCE) & many)


class AttentionFitter:
    """Fits devices one after the other; keeps the compiled model between them."""

    def __init__(self, *, seed: int = 0) -> None:
        self._times = FormulaCompiler().compile(attention_times_s)
        self._rng = np.random.default_rng(seed)

    def predict_s(
        self, sizes: FloatArray, machine: AttentionMachine, *, is_forward: bool
    ) -> FloatArray:
        """Predicted times of rows. [s]"""
        times_s = np.empty(len(sizes))
        self._times(sizes, machine, is_forward, times_s)
        return times_s

    def fit_forward(
        self,
        rows: Table,
        figures: DeviceFigures,
        dtype: str,
        *,
        bounds: Mapping[str, Bound] = ATTENTION_BOUNDS,
    ) -> AttentionFit:
        """Fit on head tuples that are not set aside, judge on those that are.

        Parameters
        ----------
        rows
            Forward rows of one device and implementation.
        figures
            Datasheet figures of the device.
        dtype
            Key of the peak.
        bounds
            Range and start of each parameter.
        """
        sizes = attention_sizes(rows)
        measured_s = np.asarray(rows["latency_us"], dtype=np.float64) * 1e-6
        heldout = _heldout_mask(sizes)
        large = _large_mask(sizes)
        half = N_FIT_ROWS // 2
        chosen = np.concatenate(
            [
                self._rng.permutation(np.flatnonzero(group))[:half]
                for group in (large & ~heldout, ~large & ~heldout)
            ]
        )
        weights = np.where(
            large[chosen], 0.5 / max(large[chosen].sum(), 1), 0.5 / max((~large[chosen]).sum(), 1)
        )

        def loss(parameters: dict[str, float]) -> float:
            machine = attention_machine(figures, dtype, parameters)
            predicted_s = self.predict_s(sizes[chosen], machine, is_forward=True)
            return robust_loss(predicted_s, measured_s[chosen], weights)

        found = fit_parameters(loss, bounds)
        predicted_s = self.predict_s(
            sizes, attention_machine(figures, dtype, found), is_forward=True
        )
        errors = [
            judge(predicted_s[mask], measured_s[mask]) if mask.any() else None
            for mask in (heldout, heldout & large)
        ]
        return AttentionFit(
            parameters=found,
            n_samples=len(chosen),
            heldout=errors[0],
            heldout_large=errors[1],
        )

    def fit_backward(
        self,
        rows: Table,
        figures: DeviceFigures,
        dtype: str,
        *,
        forward: Mapping[str, float],
        holds_forward_too: bool = False,
    ) -> AttentionFit:
        """Fit the efficiency of the backward products, all else as in the forward fit.

        Rows are too few to set any aside; the errors reported are those of the fit.

        Parameters
        ----------
        rows
            Backward rows, or rows that hold both passes together.
        figures, dtype
            As for the forward fit.
        forward
            Parameters of the forward fit.
        holds_forward_too
            The rows hold forward and backward together.
        """
        sizes = attention_sizes(rows)
        measured_s = np.asarray(rows["latency_us"], dtype=np.float64) * 1e-6
        weights = np.full(len(sizes), 1.0 / len(sizes))

        def predicted_s(parameters: Mapping[str, float]) -> FloatArray:
            machine = attention_machine(figures, dtype, {**forward, **parameters})
            backward_s = self.predict_s(sizes, machine, is_forward=False)
            if not holds_forward_too:
                return backward_s
            return backward_s + self.predict_s(sizes, machine, is_forward=True)

        found = fit_parameters(
            lambda parameters: robust_loss(predicted_s(parameters), measured_s, weights),
            BACKWARD_BOUNDS,
        )
        errors = judge(predicted_s(found), measured_s)
        return AttentionFit(
            parameters=found, n_samples=len(sizes), heldout=errors, heldout_large=None
        )
