"""Search for the parameters of collectives inside nodes, with priors from relatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kernels.all_reduce.groups import PATTERNS, CollectiveMachine
from kernels.all_reduce.implementation import VENDOR, ImplementationMachine
from kernels.calibration.collective_rows import CollectiveRows
from kernels.calibration.simplex import Bound, FloatArray, fit_parameters, robust_loss
from kernels.prediction.collectives import NO_NETWORK, CollectiveTimes

__all__ = [
    "LAUNCHED",
    "LIBRARY_BOUNDS",
    "VENDOR_BOUNDS",
    "CollectiveFitter",
    "Parameters",
    "inside_bounds",
]

Parameters = dict[str, float]

VENDOR_BOUNDS: dict[str, Bound] = {
    "bandwidth_efficiency_fraction": Bound(low=0.2, high=1.0, start=0.8, prior_sigma=0.15),
    "latency_s": Bound(low=2e-6, high=80e-6, start=20e-6, prior_sigma=0.3),
    "latency_per_rank_s": Bound(low=0.02e-6, high=6e-6, start=2e-6, prior_sigma=0.5),
    # Up to 1: beyond, a gather would get faster with more ranks.
    "local_copy_fraction": Bound(low=0.02, high=1.0, start=0.5, prior_sigma=0.7),
    "pipeline_exponent": Bound(low=0.45, high=1.0, start=0.9, prior_sigma=0.1),
    "low_latency_fraction": Bound(low=0.2, high=1.0, start=0.4, prior_sigma=0.2),
    "low_latency_slowdown": Bound(low=0.3, high=6.0, start=1.5, prior_sigma=0.4),
    "in_switch_gain": Bound(low=1.0, high=2.5, start=1.3, prior_sigma=0.1),
}
"""Range, start and firmness (log standard deviation around relatives) of each parameter."""

LIBRARY_BOUNDS: dict[str, Bound] = {
    "host_s": Bound(low=0.1e-6, high=90e-6, start=20e-6, prior_sigma=0.3),
    "copy_passes": Bound(low=0.01, high=4.0, start=1.0, prior_sigma=0.5),
    "latency_ratio": Bound(low=0.3, high=4.0, start=1.0, prior_sigma=0.2),
    "bandwidth_ratio": Bound(low=0.5, high=1.5, start=1.0, prior_sigma=0.1),
    "kernel_latency_s": Bound(low=1e-6, high=25e-6, start=4e-6, prior_sigma=0.3),
    "kernel_latency_per_rank_s": Bound(low=0.01e-6, high=3e-6, start=0.2e-6, prior_sigma=0.5),
    "kernel_efficiency_fraction": Bound(low=0.15, high=1.0, start=0.7, prior_sigma=0.2),
    "kernel_limit_bytes": Bound(low=2e5, high=1e8, start=1e7, prior_sigma=0.5),
}

LAUNCHED: Parameters = {"host_s": 20e-6, "latency_ratio": 1.8}
"""The vendor's library when each call is launched on its own: a first guess from A100 rows."""

PRIOR_ROWS = 0.3
"""Weight of a prior, in rows. [1]"""

LEAST_PRIOR_WEIGHT = 1.0 / 1000.0
"""Rows of one group repeat each other: no prior weighs less than one row in so many. [1]"""


def inside_bounds(values: Mapping[str, float], bounds: Mapping[str, Bound]) -> Parameters:
    """Values moved to the nearest place their bounds allow."""
    return {name: min(max(values[name], b.low), b.high) for name, b in bounds.items()}


def _around(prior: Mapping[str, float], bounds: Mapping[str, Bound]) -> dict[str, Bound]:
    return {
        name: Bound(low=b.low, high=b.high, start=prior[name], prior_sigma=b.prior_sigma)
        if b.high > b.low
        else b
        for name, b in bounds.items()
    }


def _is_launched(rows: CollectiveRows) -> bool:
    """Whether host time stands in the rows; sends were timed in a loop."""
    return rows.library == "vendor-launched" and rows.operation != "point_to_point"


@dataclass
class CollectiveFitter:
    """Fits one set of rows after the other; keeps the compiled model between them."""

    times: CollectiveTimes = field(default_factory=CollectiveTimes)
    n_evaluations: int = 500

    def predict_s(
        self, rows: CollectiveRows, vendor: Mapping[str, float], library: Mapping[str, float]
    ) -> FloatArray:
        """Times of rows inside a node with these parameters. [s]"""
        adds = rows.switch_adds and rows.operation == "all_reduce"
        gain = vendor["in_switch_gain"] if adds else 1.0
        machine = CollectiveMachine(**{**vendor, "in_switch_gain": gain})
        memory = rows.accelerator.memory.bandwidth_bytes_per_s
        other: ImplementationMachine = VENDOR._replace(
            memory_bandwidth_bytes_per_s=memory, **library
        )
        pattern = PATTERNS[rows.operation]
        return self.times.filled(rows.sizes, pattern, other, machine, NO_NETWORK)

    def fit_vendor(
        self,
        sets: Sequence[CollectiveRows],
        *,
        bounds: Mapping[str, Bound],
        prior: Mapping[str, float] | None = None,
    ) -> Parameters:
        """Parameters of the vendor's library on all sets together, near those of relatives."""

        def loss(values: Parameters) -> float:
            return self._loss(
                sets,
                [
                    self.predict_s(rows, values, LAUNCHED if _is_launched(rows) else {})
                    for rows in sets
                ],
            )

        return self._search(loss, sets, bounds, prior)

    def fit_library(
        self,
        sets: Sequence[CollectiveRows],
        vendor: Mapping[tuple[str, str], Mapping[str, float]],
        *,
        bounds: Mapping[str, Bound],
        prior: Mapping[str, float] | None = None,
    ) -> Parameters:
        """Parameters of another library, given the vendor's by (accelerator, operation)."""

        def loss(values: Parameters) -> float:
            predicted = [
                self.predict_s(rows, vendor[rows.accelerator.name, rows.operation], values)
                for rows in sets
            ]
            return self._loss(sets, predicted)

        return self._search(loss, sets, bounds, prior)

    def _loss(self, sets: Sequence[CollectiveRows], predicted: Sequence[FloatArray]) -> float:
        return robust_loss(
            np.concatenate(predicted),
            np.concatenate([rows.measured_s for rows in sets]),
            np.concatenate([rows.weights for rows in sets]),
        )

    def _search(
        self,
        loss: object,
        sets: Sequence[CollectiveRows],
        bounds: Mapping[str, Bound],
        prior: Mapping[str, float] | None,
    ) -> Parameters:
        n_rows = sum(len(rows.sizes) for rows in sets)
        weight = max(PRIOR_ROWS / max(n_rows, 1), LEAST_PRIOR_WEIGHT) if prior is not None else 0.0
        near = _around(prior, bounds) if prior is not None else bounds
        return fit_parameters(
            loss,  # type: ignore[arg-type]
            near,
            prior_weight=weight,
            n_restarts=2,
            n_evaluations=self.n_evaluations,
        )
