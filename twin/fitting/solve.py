"""Robust least squares on logarithms of constants, linear around a point, with priors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Linearised", "Prior", "minimum", "objective"]

FloatArray = npt.NDArray[np.float64]

ROUNDING = 0.06
"""Logarithmic error below which squares count and above which sizes do: a usual error. [1]"""

ITERATIONS = 60
DAMPING = 1e-3
CONVERGED = 1e-5
"""Largest change of a logarithm that ends the search. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Normal priors of logarithms within hard limits, one entry per constant."""

    mean: FloatArray
    sigma: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Linearised:
    """Logarithmic errors of all rows around a point."""

    at: FloatArray
    """Logarithms of the constants, (constants,). [1]"""
    errors: FloatArray
    """ln(predicted / measured) there, (rows,). [1]"""
    slopes: FloatArray
    """Their derivatives by the logarithms, (rows, constants). [1]"""


def objective(errors: FloatArray, x: FloatArray, weights: FloatArray, prior: Prior) -> float:
    """Rounded squares of the errors plus those of the priors. [1]"""
    rounded = 2.0 * (np.sqrt(1.0 + (errors / ROUNDING) ** 2) - 1.0)
    return float(weights @ rounded + np.sum(((x - prior.mean) / prior.sigma) ** 2))


def minimum(problem: Linearised, weights: FloatArray, prior: Prior) -> FloatArray:
    """Logarithms of the constants that minimise the objective of a linearised problem.

    Each step solves weighted normal equations; a row's weight falls with its error, so that a few
    runs that no model explains do not decide.
    """
    x = problem.at.copy()
    for _ in range(ITERATIONS):
        errors = problem.errors + problem.slopes @ (x - problem.at)
        robust = weights / np.sqrt(1.0 + (errors / ROUNDING) ** 2) / ROUNDING**2
        weighted = problem.slopes * robust[:, None]
        normal = weighted.T @ problem.slopes + np.diag(prior.sigma**-2.0)
        downhill = -(weighted.T @ errors) - (x - prior.mean) / prior.sigma**2
        normal[np.diag_indices_from(normal)] *= 1.0 + DAMPING
        moved = np.clip(x + np.linalg.solve(normal, downhill), prior.low, prior.high)
        if np.max(np.abs(moved - x)) < CONVERGED:
            return moved
        x = moved
    return x
