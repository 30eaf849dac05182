"""Fits the constants of the kernel models to the times of one host thread.

Constants are few and every size that is set aside stays unseen; the rates that they are shares of
come from the same times: the peak is the rate that products approach, the bandwidth that of large
copies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kernels.calibration.log_least_squares import ParameterRange, fit_logs
from kernels.calibration.simplex import FittedErrors, judge
from kernels.host.case import ATTENTION, GEMM, OPERATIONS, HostCase
from kernels.host.formulas import (
    BACKWARD_BOUNDS,
    BLAS_BOUNDS,
    COMPUTED_BOUNDS,
    FORWARD_BOUNDS,
    NUMBA_BOUNDS,
    PLAIN_BOUNDS,
    ROW_BOUNDS,
    STREAM_BOUNDS,
    HostFigures,
    Values,
    attention_time_s,
    gemm_time_s,
    operation_time_of_case_s,
)
from kernels.host.levels import CaseTime
from kernels.prediction.operations import runs_along_rows

__all__ = ["FittedPart", "HostFit", "LackingError", "fit_host"]

FloatArray = npt.NDArray[np.float64]
Formula = Callable[[HostCase, HostFigures, Values], float]

N_EVALUATIONS = 40
"""Most steps of each of the two searches of one fit. [1]"""

PRIOR_ROWS = 1.0
"""Weight of the start of each constant, in rows: few sizes do not move it far. [1]"""

STREAM = "copy-fwd"
"""Tells the bandwidth and the caches."""

PLAIN_STREAMS = (STREAM, "residual_add-fwd")
"""Operations that only move data."""


class LackingError(ValueError):
    """Too little was measured for a fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedPart:
    """Constants of one part, and how they predict what was set aside."""

    family: str
    part: str
    values: dict[str, float]
    n_fitted: int
    fitted: FittedErrors
    heldout: FittedErrors | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFit:
    """All constants of one host thread."""

    figures: HostFigures
    parts: dict[tuple[str, str], FittedPart]
    """By family and part."""
    times: tuple[CaseTime, ...]

    def predicted_s(self, case: HostCase) -> float:
        """Time of a case by the fit. [s]"""
        return _formula(case.family)(case, self.figures, self._values(case))

    def _values(self, case: HostCase) -> dict[str, float]:
        own = self.parts[case.family, case.part].values
        if case.family == GEMM and case.part != "blas":
            return self.parts[GEMM, "blas"].values | own
        if case.family == ATTENTION and case.part != "fwd":
            return self.parts[ATTENTION, "fwd"].values | own
        if case.family == OPERATIONS:
            return self.parts[OPERATIONS, STREAM].values | own
        return own


def _formula(family: str) -> Formula:
    return {
        GEMM: gemm_time_s,
        ATTENTION: attention_time_s,
        OPERATIONS: operation_time_of_case_s,
    }[family]


def fit_host(times: Sequence[CaseTime], *, clock_hz: float, l2_bytes: float) -> HostFit:
    """Fit every part that was measured.

    Parameters
    ----------
    times
        Times of cases at one level of the machine.
    clock_hz
        Clock that exponentials are counted by. [Hz]
    l2_bytes
        Second-level cache of a core. [byte]

    Raises
    ------
    LackingError
        A part that others build on was not measured.
    """
    groups: dict[tuple[str, str], list[CaseTime]] = {}
    for one in times:
        groups.setdefault((one.case.family, one.case.part), []).append(one)
    for needed in ((GEMM, "blas"), (ATTENTION, "fwd"), (OPERATIONS, STREAM)):
        if needed not in groups:
            msg = f"{'/'.join(needed)} was not measured"
            raise LackingError(msg)
    bandwidth = _copy_bandwidth_bytes_per_s(groups[OPERATIONS, STREAM])
    rough = HostFigures(_best_rate_flop_per_s(groups[GEMM, "blas"]), bandwidth, clock_hz, l2_bytes)
    blas = _fitted(groups[GEMM, "blas"], rough, BLAS_BOUNDS)
    figures, blas = _with_peak(rough, blas)
    parts = {(GEMM, "blas"): blas}
    figures, stream = _with_bandwidth(
        figures, _fitted(groups[OPERATIONS, STREAM], figures, STREAM_BOUNDS)
    )
    parts[OPERATIONS, STREAM] = stream
    if (GEMM, "numba") in groups:
        parts[GEMM, "numba"] = _fitted(groups[GEMM, "numba"], figures, NUMBA_BOUNDS, blas.values)
    forward = _fitted(groups[ATTENTION, "fwd"], figures, FORWARD_BOUNDS)
    parts[ATTENTION, "fwd"] = forward
    if (ATTENTION, "bwd") in groups:
        own = groups[ATTENTION, "bwd"]
        parts[ATTENTION, "bwd"] = _fitted(own, figures, BACKWARD_BOUNDS, forward.values)
    cache = {"cache_bytes": stream.values["cache_bytes"]}
    for (family, name), own in groups.items():
        if family == OPERATIONS and name != STREAM:
            parts[family, name] = _fitted(own, figures, _operation_bounds(name), cache)
    return HostFit(figures=figures, parts=parts, times=tuple(times))


def _operation_bounds(name: str) -> dict[str, ParameterRange]:
    if name in PLAIN_STREAMS:
        return PLAIN_BOUNDS
    return COMPUTED_BOUNDS | (ROW_BOUNDS if runs_along_rows(name) else {})


def _best_rate_flop_per_s(own: Sequence[CaseTime]) -> float:
    return max(one.case.flop / one.seconds for one in own)


def _copy_bandwidth_bytes_per_s(own: Sequence[CaseTime]) -> float:
    """Rate of the largest copy that a fit may see. [byte/s]"""
    largest = max((one for one in own if not one.case.is_heldout), key=_traffic_bytes)
    return _traffic_bytes(largest) / largest.seconds


def _traffic_bytes(one: CaseTime) -> float:
    return one.case.traffic_bytes


def _with_peak(figures: HostFigures, blas: FittedPart) -> tuple[HostFigures, FittedPart]:
    """The rate that products approach becomes the peak, unless one was seen to be faster."""
    share = blas.values["tensor_efficiency_fraction"]
    if share <= 1.0:
        return figures, blas
    values = blas.values | {"tensor_efficiency_fraction": 1.0}
    peak = figures._replace(peak_flop_per_s=share * figures.peak_flop_per_s)
    return peak, replace(blas, values=values)


def _with_bandwidth(figures: HostFigures, stream: FittedPart) -> tuple[HostFigures, FittedPart]:
    """The rate of copies far beyond the caches becomes the bandwidth."""
    ratio = stream.values["traffic_ratio"]
    bandwidth = figures.bandwidth_bytes_per_s / ratio
    values = stream.values | {"traffic_ratio": 1.0}
    return figures._replace(bandwidth_bytes_per_s=bandwidth), replace(stream, values=values)


def _fitted(
    own: Sequence[CaseTime],
    figures: HostFigures,
    ranges: Mapping[str, ParameterRange],
    given: Mapping[str, float] | None = None,
) -> FittedPart:
    """Constants of one part on what is not set aside, judged on what is."""
    formula = _formula(own[0].case.family)
    seen = [one for one in own if not one.case.is_heldout]
    unseen = [one for one in own if one.case.is_heldout]
    if not seen:
        msg = f"{own[0].case.family}/{own[0].case.part}: nothing was measured that a fit may see"
        raise LackingError(msg)
    measured_s = _seconds(seen)

    def predicted_s(rows: Sequence[CaseTime], values: Mapping[str, float]) -> FloatArray:
        everything = dict(given or {}) | dict(values)
        return np.array([formula(one.case, figures, everything) for one in rows])

    start = {name: one.start for name, one in ranges.items()}
    values = fit_logs(
        lambda candidate: predicted_s(seen, candidate),
        measured_s,
        ranges,
        start=start,
        centre=start,
        prior_rows=PRIOR_ROWS,
        n_evaluations=N_EVALUATIONS,
    ).values
    return FittedPart(
        family=own[0].case.family,
        part=own[0].case.part,
        values=values,
        n_fitted=len(seen),
        fitted=judge(predicted_s(seen, values), measured_s),
        heldout=judge(predicted_s(unseen, values), _seconds(unseen)) if unseen else None,
    )


def _seconds(rows: Sequence[CaseTime]) -> FloatArray:
    return np.array([one.seconds for one in rows])
