"""Fit of the model of collectives inside a node, one device and operation at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kernels.all_reduce.model import CollectiveGroup, CollectiveMachine, collective_time_s
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
    "COLLECTIVE_BOUNDS",
    "COLLECTIVE_COLUMNS",
    "CollectiveFit",
    "CollectiveFitter",
    "vendor_library_rows",
]

COLLECTIVE_COLUMNS = (
    "device",
    "op",
    "dtype",
    "ranks",
    "nodes",
    "message_bytes",
    "latency_us",
    "library",
    "source_id",
)

MESSAGE_FLOOR_BYTES = float(2**20)
"""Errors are judged from this size on. [byte]"""

VENDOR_LIBRARIES = ("nccl", "rccl")
"""Prefixes of library names; framework kernels and eager launches are other implementations."""

COARSE_SOURCES = ("VIDUR",)
"""Sources with a time resolution of a microsecond: they spoil the latency."""

IN_SWITCH_DTYPES = ("fp16", "bf16", "fp32", "fp32/unknown")
"""The switch adds these; integers of 8 bit take the ring."""

COLLECTIVE_BOUNDS: dict[str, Bound] = {
    "bandwidth_efficiency_fraction": Bound(low=0.2, high=1.0, start=0.8),
    "latency_s": Bound(low=2e-6, high=80e-6, start=12e-6),
    "latency_per_rank_s": Bound(low=0.02e-6, high=6e-6, start=1e-6),
    "local_copy_fraction": Bound(low=0.02, high=1.5, start=0.5),
    "pipeline_exponent": Bound(low=0.45, high=1.0, start=0.65),
    "low_latency_fraction": Bound(low=0.2, high=1.0, start=0.7),
    "low_latency_slowdown": Bound(low=0.3, high=6.0, start=1.5),
    "in_switch_gain": Bound(low=1.0, high=1.0, start=1.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectiveFit:
    """Fitted parameters; the errors are those of a fit without the groups set aside."""

    parameters: dict[str, float]
    n_samples: int
    heldout: FittedErrors | None
    fitted: FittedErrors


def collective_times_s(
    sizes: FloatArray,
    is_all_reduce: bool,
    machine: CollectiveMachine,
    without_switch: CollectiveMachine,
    times_s: FloatArray,
) -> None:
    """Fill times of rows (message bytes, ranks, link bandwidth, switch adds); compiled."""
    for row in range(len(times_s)):
        group = CollectiveGroup(sizes[row, 1], sizes[row, 1], sizes[row, 2], 1.0, 1.0, 1.0, 1.0)
        chosen = machine if sizes[row, 3] > 0.0 else without_switch
        times_s[row] = collective_time_s(sizes[row, 0], is_all_reduce, chosen, group)


def vendor_library_rows(rows: Table, device: str, operation: str) -> Table:
    """Single-node rows of the vendor's library for one device and operation."""
    vendor = np.array([library.startswith(VENDOR_LIBRARIES) for library in rows["library"]])
    keep = vendor & (rows["device"] == device) & (rows["op"] == operation)
    keep &= (rows["nodes"] == 1) & ~np.isin(rows["source_id"], COARSE_SOURCES)
    return rows.where(keep & (rows["latency_us"] > 0))


def _weights(rows: Table) -> FloatArray:
    """Every (ranks, size class) counts alike; small messages together a third of large ones."""
    large = rows["message_bytes"] >= MESSAGE_FLOOR_BYTES
    _, where, counts = np.unique(
        np.column_stack([rows["ranks"], np.round(np.log2(rows["message_bytes"]))]),
        axis=0,
        return_inverse=True,
        return_counts=True,
    )
    return np.where(large, 1.0, 0.3) / counts[where]


class CollectiveFitter:
    """Fits operations one after the other; keeps the compiled model between them."""

    def __init__(self) -> None:
        self._times = FormulaCompiler().compile(collective_times_s)

    def fit(
        self,
        rows: Table,
        link_bandwidth_bytes_per_s: FloatArray,
        *,
        bounds: Mapping[str, Bound] = COLLECTIVE_BOUNDS,
    ) -> CollectiveFit:
        """Fit all rows of one device and operation; judge by (operation, ranks) set aside.

        Parameters
        ----------
        rows
            Rows of one device and operation.
        link_bandwidth_bytes_per_s
            One-way bandwidth of a rank to its peers, for each row's group size. [byte/s]
        bounds
            Range and start of each parameter.

        Returns
        -------
        CollectiveFit
            Parameters of a fit on all rows, errors of one without what is set aside.
        """
        operation = str(rows["op"][0])
        heldout = np.array(
            [is_heldout("collective", (operation, int(ranks))) for ranks in rows["ranks"]]
        )
        everything = np.ones(len(rows), dtype=bool)
        errors = None
        if heldout.any() and not heldout.all():
            parameters = self._search(rows, link_bandwidth_bytes_per_s, bounds, ~heldout)
            errors = self._judge(rows, link_bandwidth_bytes_per_s, parameters, heldout)
        parameters = self._search(rows, link_bandwidth_bytes_per_s, bounds, everything)
        fitted = self._judge(rows, link_bandwidth_bytes_per_s, parameters, everything)
        return CollectiveFit(
            parameters=parameters, n_samples=len(rows), heldout=errors, fitted=fitted
        )

    def predict_s(
        self, rows: Table, link_bandwidth_bytes_per_s: FloatArray, parameters: Mapping[str, float]
    ) -> FloatArray:
        """Predicted times of rows. [s]"""
        adds = np.isin(rows["dtype"], IN_SWITCH_DTYPES).astype(np.float64)
        sizes = np.column_stack(
            [rows["message_bytes"], rows["ranks"], link_bandwidth_bytes_per_s, adds]
        )
        machine = CollectiveMachine(**parameters)
        times_s = np.empty(len(rows))
        is_all_reduce = str(rows["op"][0]) == "all_reduce"
        without_switch = machine._replace(in_switch_gain=1.0)
        self._times(sizes, is_all_reduce, machine, without_switch, times_s)
        return times_s

    def _search(
        self, rows: Table, link: FloatArray, bounds: Mapping[str, Bound], mask: Mask
    ) -> dict[str, float]:
        chosen, chosen_link = rows.where(mask), link[mask]
        target_s = chosen["latency_us"] * 1e-6
        weights = _weights(chosen)

        def loss(parameters: dict[str, float]) -> float:
            return robust_loss(self.predict_s(chosen, chosen_link, parameters), target_s, weights)

        return fit_parameters(loss, bounds)

    def _judge(
        self, rows: Table, link: FloatArray, parameters: Mapping[str, float], mask: Mask
    ) -> FittedErrors:
        mask = mask & (rows["message_bytes"] >= MESSAGE_FLOOR_BYTES)
        judged = rows.where(mask)
        return judge(self.predict_s(judged, link[mask], parameters), judged["latency_us"] * 1e-6)
