"""The fit of framework constants on published runs, with and without each source."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twin.fitting.parameters import FitParameter
from twin.fitting.rows import FitRow, row_weights
from twin.fitting.solve import Linearised, Prior, minimum, objective
from twin.training.framework import Constants
from twin.validation.run_constants import RunConstants
from twin.validation.run_machines import RunMachines
from twin.validation.run_prediction import predict_run

__all__ = ["FittedConstants", "fit_constants"]

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

DIFFERENCE = 0.02
"""Step of the numerical derivative, in logarithms. [1]"""

GROUP_ROUNDS = 4
"""Most rounds of derivatives for the fit without one group. [1]"""

SETTLED = 0.003
"""Logarithmic error of a run, in the mean, that derivatives may get wrong. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedConstants:
    """Constants from all sources, and without each group of them."""

    values: Constants
    left_out: Mapping[str, Constants]
    """Group that the fit did not see to its constants."""


@dataclass(frozen=True, slots=True)
class _Problem:
    rows: Sequence[FitRow]
    machines: RunMachines
    parameters: Sequence[FitParameter]

    def constants(self, x: FloatArray) -> Constants:
        pairs = zip(self.parameters, x, strict=True)
        return {parameter.place: float(np.exp(value)) for parameter, value in pairs}

    def errors(self, x: FloatArray) -> FloatArray:
        """ln(predicted / measured) of all rows. [1]"""
        constants = RunConstants.of(self.constants(x))
        found = np.empty(len(self.rows))
        for number, row in enumerate(self.rows):
            _, step = predict_run(row.request, self.machines, constants)
            found[number] = np.log(step.time_s / row.request.measured_step_time_s)
        return found

    def linearised(self, x: FloatArray) -> Linearised:
        errors = self.errors(x)
        slopes = np.empty((len(self.rows), len(self.parameters)))
        for number, parameter in enumerate(self.parameters):
            moved = x.copy()
            moved[number] += DIFFERENCE
            slopes[:, number] = (self.errors(moved) - errors) / DIFFERENCE
            logger.info("%d of %d: %s", number + 1, len(self.parameters), parameter.name)
        return Linearised(at=x, errors=errors, slopes=slopes)

    def prior(self) -> Prior:
        def logs(values: list[float]) -> FloatArray:
            return np.asarray(np.log(values), dtype=np.float64)

        return Prior(
            mean=logs([parameter.prior for parameter in self.parameters]),
            sigma=np.array([parameter.sigma for parameter in self.parameters]),
            low=logs([parameter.low for parameter in self.parameters]),
            high=logs([parameter.high for parameter in self.parameters]),
        )


def _settled(problem: _Problem, near: Linearised, weights: FloatArray, prior: Prior) -> FloatArray:
    """Minimum at which the errors are those that the derivatives foretold. [ln]"""
    x = near.at
    for _ in range(GROUP_ROUNDS):
        x = minimum(near, weights, prior)
        foretold = near.errors + near.slopes @ (x - near.at)
        square = weights @ (problem.errors(x) - foretold) ** 2 / weights.sum()
        if square <= SETTLED**2:
            break
        near = problem.linearised(x)
    return x


def fit_constants(
    rows: Sequence[FitRow],
    machines: RunMachines,
    parameters: Sequence[FitParameter],
    *,
    start: Constants,
    trust: Mapping[str, float],
    rounds: int,
) -> FittedConstants:
    """Fit all constants together, then once more without each group of sources.

    The fits without a group start from the one with all and use its derivatives as long as they
    tell the errors where they lead; a group that moves constants far has them computed anew.

    Parameters
    ----------
    rows, machines
        Runs to learn from.
    parameters
        Constants that may change.
    start
        Where the search begins; the prior for what is not named.
    trust
        Weight of sources that ask for less than others. [1]
    rounds
        How often derivatives are computed anew. [1]
    """
    problem = _Problem(rows, machines, parameters)
    prior = problem.prior()
    x = np.log(np.array([start.get(p.place, p.prior) for p in parameters]))
    x = np.clip(x, prior.low, prior.high)
    weights = np.array(row_weights(rows, trust))
    for number in range(rounds):
        logger.info("round %d of %d: %d runs", number + 1, rounds, len(rows))
        x = minimum(problem.linearised(x), weights, prior)
        logger.info("objective %.2f", objective(problem.errors(x), x, weights, prior))
    last = problem.linearised(x)
    left_out = {}
    for group in sorted({row.group for row in rows}):
        without = np.array(row_weights(rows, trust, without=[group]))
        left_out[group] = problem.constants(_settled(problem, last, without, prior))
        logger.info("without %s", group)
    return FittedConstants(values=problem.constants(x), left_out=left_out)
