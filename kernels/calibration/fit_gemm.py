"""Fit of the GEMM model for one device and dtype."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

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
from kernels.gemm.model import GemmMachine, GemmShape, gemm_time

__all__ = [
    "ELEMENT_BYTES",
    "GEMM_BOUNDS",
    "GEMM_COLUMNS",
    "OVERHEAD_BOUNDS",
    "GemmFit",
    "GemmFitter",
    "gemm_machine",
    "merged_by_shape",
]

GEMM_COLUMNS = ("device", "dtype", "m", "n", "k", "batch", "library", "latency_us", "flag")

ELEMENT_BYTES = {"bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "fp32": 4.0, "tf32": 4.0}
"""Width of an operand by dtype; results are at least 16 bit. [byte]"""

LARGE_SIZE = 1024.0
"""m, n and k of a large product are at least this. [elements]"""

N_FIT_ROWS = 3000
"""Shapes that one fit uses, half of them large. [1]"""

GEMM_BOUNDS: dict[str, Bound] = {
    "tensor_efficiency_fraction": Bound(low=0.3, high=1.0, start=0.85),
    "memory_efficiency_fraction": Bound(low=0.4, high=0.95, start=0.8),
    "launch_s": Bound(low=0.5e-6, high=6e-6, start=2e-6),
    "feed_ratio": Bound(low=1.0, high=16.0, start=5.0),
    "fill_depth": Bound(low=8.0, high=2000.0, start=120.0),
    "wave_smoothing_fraction": Bound(low=0.05, high=1.0, start=0.85),
    "split_s": Bound(low=0.3e-6, high=8e-6, start=2.5e-6),
    "droop_fraction": Bound(low=0.005, high=0.6, start=0.15),
    "droop_time_s": Bound(low=4e-3, high=4e-3, start=4e-3),
    "overlap_exponent": Bound(low=6.0, high=6.0, start=6.0),
}
"""Ranges: shares below one; launch inside a tight loop; the rest as seen over the families."""

OVERHEAD_BOUNDS: dict[str, Bound] = {
    "harness_s": Bound(low=0.1e-6, high=60e-6, start=5e-6),
    "conversion_bytes_per_element": Bound(low=0.01, high=30.0, start=5.0),
}
"""What a timing holds besides the kernel: host time of the harness, and passes over the
activations that convert them, in bytes per element of A at the datasheet bandwidth. Fitted with
the kernel so that they do not end up in its parameters, and then left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmFit:
    """Fitted parameters with what they were fitted and judged on."""

    parameters: dict[str, float]
    overhead: dict[str, float]
    """What the timings held besides the kernel; not part of the model."""
    n_samples: int
    heldout: FittedErrors | None
    heldout_large: FittedErrors | None


def gemm_times_s(
    sizes: FloatArray, element_bytes: FloatArray, machine: GemmMachine, times_s: FloatArray
) -> None:
    """Fill predicted times of rows (m, n, k); compiled before use."""
    for row in range(len(times_s)):
        shape = GemmShape(
            sizes[row, 0],
            sizes[row, 1],
            sizes[row, 2],
            element_bytes[0],
            element_bytes[0],
            element_bytes[1],
        )
        times_s[row] = gemm_time(shape, machine).time_s


def gemm_machine(
    figures: DeviceFigures, dtype: str, parameters: Mapping[str, float]
) -> GemmMachine:
    """The machine of the model from datasheet figures and parameters."""
    return GemmMachine(
        n_units=float(figures.n_units),
        peak_flop_per_s=figures.peak_flop_per_s[dtype],
        memory_bandwidth_bytes_per_s=figures.memory_bandwidth_bytes_per_s,
        **{name: parameters[name] for name in GEMM_BOUNDS},
    )


def merged_by_shape(rows: Table) -> tuple[FloatArray, FloatArray]:
    """Distinct (m, n, k) and the median latency over libraries. [elements], [s]"""
    sizes = np.column_stack([rows["m"], rows["n"], rows["k"]])
    shapes, where = np.unique(sizes, axis=0, return_inverse=True)
    order = np.argsort(where, kind="stable")
    borders = np.searchsorted(where[order], np.arange(1, len(shapes)))
    groups = np.split(rows["latency_us"][order], borders)
    return shapes, np.array([np.median(group) for group in groups]) * 1e-6


def _heldout_mask(sizes: FloatArray) -> Mask:
    weights, where = np.unique(sizes[:, 1:], axis=0, return_inverse=True)
    chosen = np.array([is_heldout("gemm", (int(n), int(k))) for n, k in weights])
    return chosen[where]


def _large_mask(sizes: FloatArray) -> Mask:
    return np.asarray((sizes >= LARGE_SIZE).all(axis=1))


class GemmFitter:
    """Fits devices one after the other; keeps the compiled model between them."""

    def __init__(self, *, seed: int = 0) -> None:
        self._times = FormulaCompiler().compile(gemm_times_s)
        self._rng = np.random.default_rng(seed)

    def predict_s(
        self, sizes: FloatArray, dtype: str, machine: GemmMachine, overhead: Mapping[str, float]
    ) -> FloatArray:
        """Predicted times of rows (m, n, k), what the harness adds included. [s]"""
        operand_bytes = ELEMENT_BYTES[dtype]
        times_s = np.empty(len(sizes))
        self._times(sizes, np.array([operand_bytes, max(operand_bytes, 2.0)]), machine, times_s)
        converted_bytes = (
            overhead.get("conversion_bytes_per_element", 0.0) * sizes[:, 0] * sizes[:, 2]
        )
        return np.asarray(
            times_s
            + overhead.get("harness_s", 0.0)
            + converted_bytes / machine.memory_bandwidth_bytes_per_s
        )

    def _sample(self, sizes: FloatArray) -> Mask:
        large = _large_mask(sizes)
        half = N_FIT_ROWS // 2
        chosen = [
            self._rng.permutation(np.flatnonzero(group))[:half] for group in (large, ~large)
        ]
        return np.concatenate(chosen)

    def fit(
        self,
        rows: Table,
        figures: DeviceFigures,
        dtype: str,
        *,
        bounds: Mapping[str, Bound] = GEMM_BOUNDS,
        prior_weight: float = 0.0,
    ) -> GemmFit:
        """Fit on shapes whose weight is not set aside, judge on all rows of those that are.

        Parameters
        ----------
        rows
            Rows of one device and dtype with columns m, n, k, latency_us.
        figures
            Datasheet figures of the device.
        dtype
            Key of the peak and of the element width.
        bounds
            Range, start and prior of each parameter.
        prior_weight
            Pull towards the starts of bounds that carry a prior.

        Returns
        -------
        GemmFit
            Parameters and errors.
        """
        shapes, measured_s = merged_by_shape(rows)
        free = np.flatnonzero(~_heldout_mask(shapes))
        chosen = free[self._sample(shapes[free])]
        sizes, target_s = np.ascontiguousarray(shapes[chosen]), measured_s[chosen]
        large = _large_mask(sizes)
        n_large = max(int(large.sum()), 1)
        n_small = max(len(sizes) - n_large, 1)
        weights = np.where(large, 0.5 / n_large, 0.5 / n_small)

        def loss(parameters: dict[str, float]) -> float:
            machine = gemm_machine(figures, dtype, parameters)
            return robust_loss(self.predict_s(sizes, dtype, machine, parameters), target_s, weights)

        found = fit_parameters(loss, bounds, prior_weight=prior_weight)
        machine = gemm_machine(figures, dtype, found)
        heldout, large_only = self.judge(rows, dtype, machine, found)
        return GemmFit(
            parameters={name: found[name] for name in GEMM_BOUNDS},
            overhead={name: found[name] for name in OVERHEAD_BOUNDS if name in found},
            n_samples=len(sizes),
            heldout=heldout,
            heldout_large=large_only,
        )

    def judge(
        self, rows: Table, dtype: str, machine: GemmMachine, overhead: Mapping[str, float]
    ) -> tuple[FittedErrors | None, FittedErrors | None]:
        """Errors on the rows set aside: all of them, and the large ones."""
        sizes = np.column_stack([rows["m"], rows["n"], rows["k"]])
        heldout = _heldout_mask(sizes)
        large = heldout & _large_mask(sizes)
        measured_s = rows["latency_us"] * 1e-6
        predicted_s = self.predict_s(np.ascontiguousarray(sizes), dtype, machine, overhead)
        results = [
            judge(predicted_s[mask], measured_s[mask]) if mask.any() else None
            for mask in (heldout, large)
        ]
        return results[0], results[1]
