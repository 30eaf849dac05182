"""Bounded, robust search for the parameters of a formula.

The models take a minimum over tiles, so their loss has kinks; a simplex search on transformed
parameters does not mind. Every parameter has physical bounds: unbounded fits on thin data absorb
a launch of 40 microseconds or an efficiency above one, fine on the fitted rows and wrong by a
factor of two elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Bound", "FittedErrors", "fit_parameters", "judge", "robust_loss"]

FloatArray = npt.NDArray[np.float64]

ROUNDING = 0.05
"""Relative error below which the loss is rounded off. [1]"""

SCATTER_SIGMA = 1.2
"""Spread of scattered starts: most of the range between the bounds, not its ends. [1]"""

NORMAL_QUARTILE = 0.6745
"""Median of |x| of a standard normal: makes the median deviation a standard deviation. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Physical range of one parameter, its first guess, and how firmly a prior holds it."""

    low: float
    high: float
    start: float
    prior_sigma: float | None = None
    """Standard deviation of the natural log around ``start``; none: only the bounds hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedErrors:
    """How far a model is from a set of rows."""

    n_rows: int
    median_ape_fraction: float
    mean_ape_fraction: float
    p90_ape_fraction: float
    log_spread: float
    """Robust standard deviation of log(measured / predicted) about zero: a bias counts. [1]"""
    log_bias: float
    """Median of log(measured / predicted). [1]"""

    @property
    def in_words(self) -> str:
        """One line for a log."""
        return (
            f"median {100.0 * self.median_ape_fraction:.1f} %, "
            f"mean {100.0 * self.mean_ape_fraction:.1f} %, "
            f"p90 {100.0 * self.p90_ape_fraction:.1f} %, "
            f"bias {100.0 * self.log_bias:+.1f} %, {self.n_rows} rows"
        )


def robust_loss(predicted: FloatArray, measured: FloatArray, weights: FloatArray) -> float:
    """Weighted mean of |log(predicted / measured)|, rounded off near zero. [1]"""
    error = np.log(predicted / measured)
    return float(np.average(np.sqrt(error * error + ROUNDING * ROUNDING), weights=weights))


def judge(predicted: FloatArray, measured: FloatArray) -> FittedErrors:
    """Errors of predictions against measurements, both in one unit."""
    ape = np.abs(predicted / measured - 1.0)
    error = np.log(measured / predicted)
    bias = float(np.median(error))
    return FittedErrors(
        n_rows=len(measured),
        median_ape_fraction=float(np.median(ape)),
        mean_ape_fraction=float(np.mean(ape)),
        p90_ape_fraction=float(np.quantile(ape, 0.9)),
        log_spread=float(np.median(np.abs(error))) / NORMAL_QUARTILE,
        log_bias=bias,
    )


def _to_free(value: float, bound: Bound) -> float:
    share = np.log(value / bound.low) / np.log(bound.high / bound.low)
    share = min(max(share, 0.01), 0.99)
    return float(np.log(share / (1.0 - share)))


def _from_free(free: float, bound: Bound) -> float:
    share = 1.0 / (1.0 + np.exp(-np.clip(free, -30.0, 30.0)))
    return float(bound.low * (bound.high / bound.low) ** share)


def _prior_penalty(values: Mapping[str, float], bounds: Mapping[str, Bound]) -> float:
    penalty = 0.0
    for name, bound in bounds.items():
        if bound.prior_sigma is not None:
            penalty += (np.log(values[name] / bound.start) / bound.prior_sigma) ** 2
    return float(penalty)


def fit_parameters(
    loss: Callable[[dict[str, float]], float],
    bounds: Mapping[str, Bound],
    *,
    prior_weight: float = 0.0,
    n_restarts: int = 3,
    n_evaluations: int = 900,
    n_scattered: int = 0,
) -> dict[str, float]:
    """Parameters inside their bounds that make the loss small.

    Parameters
    ----------
    loss
        Takes all parameters by name; smaller is better.
    bounds
        Range and start of each parameter; a range of zero width fixes it.
    prior_weight
        Weight of the squared distance from the starts, in standard deviations, against the loss;
        about 1 / rows for a true prior.
    n_restarts
        Simplex searches, each from the best point of the one before.
    n_evaluations
        Loss evaluations of one search.
    n_scattered
        Random points tried beforehand; the best two, and the starts of the bounds, are searched
        from, and the best of these searches goes on. The loss has more than one valley.

    Returns
    -------
    dict
        Value by name.
    """
    # scipy takes long to import; only fits need it.
    from scipy.optimize import minimize

    free_names = [name for name, bound in bounds.items() if bound.high > bound.low]
    fixed = {name: bound.start for name, bound in bounds.items() if bound.high <= bound.low}

    def values_at(point: FloatArray) -> dict[str, float]:
        moved = {
            name: _from_free(free, bounds[name])
            for name, free in zip(free_names, point, strict=True)
        }
        return fixed | moved

    def objective(point: FloatArray) -> float:
        values = values_at(point)
        return loss(values) + prior_weight * _prior_penalty(values, bounds)

    def searched(point: FloatArray) -> FloatArray:
        simplex = np.vstack([point, point + 0.7 * np.eye(len(point))])
        options = {"maxfev": n_evaluations, "initial_simplex": simplex, "adaptive": True}
        return np.asarray(minimize(objective, point, method="Nelder-Mead", options=options).x)

    starts = [np.array([_to_free(bounds[name].start, bounds[name]) for name in free_names])]
    if n_scattered:
        rng = np.random.default_rng(0)
        scattered = list(SCATTER_SIGMA * rng.standard_normal((n_scattered, len(free_names))))
        starts += sorted(scattered, key=objective)[:2]
    point = min((searched(start) for start in starts), key=objective)
    for _ in range(n_restarts - 1):
        point = searched(point)
    return {name: values_at(point)[name] for name in bounds}
