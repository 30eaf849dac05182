"""Fits the constants of the kernel models to the times of one host thread.

Constants are few and every size that is set aside stays unseen; the rates that they are shares of
come from the same times: the peak is the rate that products approach, the bandwidth that of large
copies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kernels.calibration.simplex import (
    Bound,
    FittedErrors,
    fit_parameters,
    judge,
    robust_loss,
)
from kernels.host.case import ATTENTION, GEMM, OPERATIONS, HostCase
from kernels.host.formulas import (
    BACKWARD_BOUNDS,
    BLAS_BOUNDS,
    FORWARD_BOUNDS,
    NUMBA_BOUNDS,
    OPERATION_BOUNDS,
    ROW_BOUNDS,
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

NOMINAL_PEAK, NOMINAL_BANDWIDTH = 60e9, 10e9
"""Where the search for the rates begins. [flop/s], [byte/s]"""

EFFORT = {"n_restarts": 2, "n_evaluations": 500}
"""Loss evaluations of one fit: a second or two in plain Python."""

PRIOR_SIGMA = 1.0
"""Constants that few sizes tell stay within a factor of three of where they start. [1]"""

PRIOR_WEIGHT = 2e-3
"""Weight of that against the mean error. [1]"""

PLAIN_STREAMS = ("copy-fwd", "residual_add-fwd")
"""Operations that only move data: their constants are those of any stream."""


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
    for needed in ((GEMM, "blas"), (ATTENTION, "fwd"), (OPERATIONS, "copy-fwd")):
        if needed not in groups:
            msg = f"{'/'.join(needed)} was not measured"
            raise LackingError(msg)
    bandwidth = _copy_bandwidth_bytes_per_s(groups[OPERATIONS, "copy-fwd"])
    rough = HostFigures(_best_rate_flop_per_s(groups[GEMM, "blas"]), bandwidth, clock_hz, l2_bytes)
    blas = _fitted(groups[GEMM, "blas"], rough, BLAS_BOUNDS)
    figures, blas = _with_peak(rough, blas)
    parts = {(GEMM, "blas"): blas}
    if (GEMM, "numba") in groups:
        parts[GEMM, "numba"] = _fitted(groups[GEMM, "numba"], figures, NUMBA_BOUNDS, blas.values)
    forward = _fitted(groups[ATTENTION, "fwd"], figures, FORWARD_BOUNDS)
    parts[ATTENTION, "fwd"] = forward
    if (ATTENTION, "bwd") in groups:
        own = groups[ATTENTION, "bwd"]
        parts[ATTENTION, "bwd"] = _fitted(own, figures, BACKWARD_BOUNDS, forward.values)
    for (family, name), own in groups.items():
        if family == OPERATIONS:
            bounds = OPERATION_BOUNDS | (ROW_BOUNDS if runs_along_rows(name) else {})
            parts[family, name] = _fitted(own, figures, bounds)
    return HostFit(figures=figures, parts=parts, times=tuple(times))


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
    return peak, FittedPart(
        family=blas.family,
        part=blas.part,
        values=values,
        n_fitted=blas.n_fitted,
        fitted=blas.fitted,
        heldout=blas.heldout,
    )


def _fitted(
    own: Sequence[CaseTime],
    figures: HostFigures,
    bounds: Mapping[str, Bound],
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
    weights = np.ones(len(seen))

    def predicted_s(rows: Sequence[CaseTime], values: Mapping[str, float]) -> FloatArray:
        everything = dict(given or {}) | dict(values)
        return np.array([formula(one.case, figures, everything) for one in rows])

    values = fit_parameters(
        lambda candidate: robust_loss(predicted_s(seen, candidate), measured_s, weights),
        {name: _with_prior(bound) for name, bound in bounds.items()},
        prior_weight=PRIOR_WEIGHT,
        **EFFORT,
    )
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


def _with_prior(bound: Bound) -> Bound:
    return Bound(low=bound.low, high=bound.high, start=bound.start, prior_sigma=PRIOR_SIGMA)
