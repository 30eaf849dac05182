"""Fit of the collective model inside a node, for one device and operation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kernels.all_reduce.model import CollectiveGroup, CollectiveMachine, collective_time_s
from kernels.calibration.measurements import Table
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

__all__ = ["COLLECTIVE_BOUNDS", "COLLECTIVE_COLUMNS", "CollectiveFit", "CollectiveFitter"]

COLLECTIVE_COLUMNS = (
    "device",
    "op",
    "ranks",
    "nodes",
    "message_bytes",
    "latency_us",
    "library",
)

COLLECTIVE_BOUNDS: dict[str, Bound] = {
    "bandwidth_efficiency_fraction": Bound(low=0.3, high=1.0, start=0.85),
    "latency_s": Bound(low=3e-6, high=6e-5, start=1.2e-5),
    "latency_per_rank_s": Bound(low=0.1e-6, high=5e-6, start=1.2e-6),
    "local_copy_fraction": Bound(low=0.05, high=1.5, start=0.5),
    "pipeline_exponent": Bound(low=0.45, high=1.0, start=0.65),
    "low_latency_fraction": Bound(low=0.2, high=1.0, start=0.6),
    "low_latency_slowdown": Bound(low=0.3, high=6.0, start=1.5),
    "in_switch_gain": Bound(low=1.0, high=1.0, start=1.0),
}

SWITCH_GAIN_BOUND = Bound(low=1.0, high=2.0, start=1.25)
"""All-reduce on switches that add up: the gain differs by generation and is fitted."""

LARGE_MESSAGE_BYTES = 2.0**20


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectiveFit:
    """Fitted parameters with what they were fitted and judged on."""

    parameters: dict[str, float]
    n_samples: int
    all_rows: FittedErrors
    large: FittedErrors
    """Messages of 1 MiB and more."""
    heldout_large: FittedErrors | None
    """The same, of groups set aside and predicted from the others."""


def collective_times_s(
    rows: FloatArray,
    is_all_reduce: bool,
    machine: CollectiveMachine,
    link_bandwidths: FloatArray,
    times_s: FloatArray,
) -> None:
    """Fill predicted times of rows (message, ranks); compiled before use."""
    for row in range(len(times_s)):
        group = CollectiveGroup(
            rows[row, 1], rows[row, 1], link_bandwidths[row], 1.0e9, 0.85, 2.0e-5, 3.0e-6
        )
        times_s[row] = collective_time_s(rows[row, 0], is_all_reduce, machine, group)


class CollectiveFitter:
    """Fits operations one after the other; keeps the compiled model between them."""

    def __init__(self) -> None:
        self._times = FormulaCompiler().compile(collective_times_s)

    def _predict_s(
        self,
        sizes: FloatArray,
        links: FloatArray,
        operation: str,
        parameters: Mapping[str, float],
    ) -> FloatArray:
        times_s = np.empty(len(sizes))
        machine = CollectiveMachine(**parameters)
        self._times(sizes, operation == "all_reduce", machine, links, times_s)
        return times_s

    def fit(
        self,
        rows: Table,
        operation: str,
        *,
        link_bandwidth_bytes_per_s: float,
        peer_bandwidth_bytes_per_s: float,
        bounds: Mapping[str, Bound] = COLLECTIVE_BOUNDS,
    ) -> CollectiveFit:
        """Fit all rows of one device and operation; also judge (operation, ranks) set aside.

        Parameters
        ----------
        rows
            Rows of one device, operation and library class on one node.
        operation
            all_reduce, all_gather, reduce_scatter or all_to_all.
        link_bandwidth_bytes_per_s
            One-way link peak of a device. [byte/s]
        peer_bandwidth_bytes_per_s
            One-way link peak between two devices. [byte/s]
        bounds
            Range and start of each parameter.
        """
        ranks = np.asarray(rows["ranks"], dtype=np.float64)
        message = np.asarray(rows["message_bytes"], dtype=np.float64)
        sizes = np.ascontiguousarray(np.column_stack([message, ranks]))
        links = np.minimum(link_bandwidth_bytes_per_s, (ranks - 1) * peer_bandwidth_bytes_per_s)
        measured_s = np.asarray(rows["latency_us"], dtype=np.float64) * 1e-6
        large = message >= LARGE_MESSAGE_BYTES
        heldout = np.array([is_heldout("collective", (operation, int(r))) for r in ranks])
        every = np.ones(len(ranks), dtype=bool)

        def fitted(chosen: FloatArray) -> dict[str, float]:
            weights = np.where(large[chosen], 2.0, 1.0)

            def loss(parameters: dict[str, float]) -> float:
                predicted = self._predict_s(sizes[chosen], links[chosen], operation, parameters)
                return robust_loss(predicted, measured_s[chosen], weights)

            return fit_parameters(loss, bounds)

        found = fitted(every)
        predicted_s = self._predict_s(sizes, links, operation, found)
        judged = heldout & large
        heldout_errors = None
        if judged.any() and not heldout.all():
            blind = self._predict_s(sizes[judged], links[judged], operation, fitted(~heldout))
            heldout_errors = judge(blind, measured_s[judged])
        return CollectiveFit(
            parameters=found,
            n_samples=len(ranks),
            all_rows=judge(predicted_s, measured_s),
            large=judge(predicted_s[large], measured_s[large]),
            heldout_large=heldout_errors,
        )
