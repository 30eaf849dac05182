"""Fit of the streaming model on element-wise operations of one device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernels.calibration.device_figures import DeviceFigures
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
from kernels.memory_bound.model import StreamMachine, stream_time_s

__all__ = ["PASSES", "STREAM_COLUMNS", "StreamFit", "fit_streams"]

STREAM_COLUMNS = ("device", "op", "dtype", "rows", "cols", "latency_us")

PASSES = {"add": 3.0, "mul": 3.0, "div": 3.0, "relu": 2.0, "gelu": 2.0, "tanh": 2.0}
"""Operands read plus results written by operation. [1]"""

ELEMENT_BYTES = 4.0
"""The tables are in fp32. [byte]"""

STREAM_BOUNDS = {
    "bandwidth_efficiency_fraction": Bound(low=0.4, high=0.98, start=0.8),
    "harness_s": Bound(low=1e-6, high=60e-6, start=10e-6),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFit:
    """Share of the bandwidth, and the harness time that the timings held besides."""

    bandwidth_efficiency_fraction: float
    harness_s: float
    n_samples: int
    heldout: FittedErrors


def _traffic_bytes(rows: Table) -> FloatArray:
    passes = np.array([PASSES[operation] for operation in rows["op"]])
    return np.asarray(passes * rows["rows"] * rows["cols"] * ELEMENT_BYTES)


def fit_streams(table: Table, device: str, figures: DeviceFigures) -> StreamFit:
    """Fit the sustained share of the bandwidth on sizes that are not set aside.

    The host time of the framework is fitted beside it and left out of the model.
    """
    rows = table.where((table["device"] == device) & np.isin(table["op"], tuple(PASSES)))
    heldout = np.array(
        [
            is_heldout("stream", (int(n_rows), int(n_columns)))
            for n_rows, n_columns in zip(rows["rows"], rows["cols"], strict=True)
        ]
    )
    traffic_bytes, measured_s = _traffic_bytes(rows), rows["latency_us"] * 1e-6
    weights = np.ones(int((~heldout).sum()))

    def predict_s(values: dict[str, float]) -> FloatArray:
        machine = StreamMachine(
            figures.memory_bandwidth_bytes_per_s,
            values["bandwidth_efficiency_fraction"],
            values["harness_s"],
        )
        return np.array([stream_time_s(float(one), 1.0, machine) for one in traffic_bytes])

    def loss(values: dict[str, float]) -> float:
        return robust_loss(predict_s(values)[~heldout], measured_s[~heldout], weights)

    values = fit_parameters(loss, STREAM_BOUNDS, n_restarts=2, n_evaluations=150)
    errors = judge(predict_s(values)[heldout], measured_s[heldout])
    return StreamFit(n_samples=len(weights), heldout=errors, **values)
