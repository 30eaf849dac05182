"""Robust least squares on logarithms of parameters, with a prior: fast where a formula is smooth.

Kinks of a minimum over tiles do not stop it, but it stays in the basin of its start; callers try
several starts where parameters exclude each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["LogFit", "ParameterRange", "fit_logs"]

FloatArray = npt.NDArray[np.float64]

WIDE_ROUNDING = 0.3
"""Deviation below which the first, tolerant search counts squares. [1]"""

ROUNDING = 0.05
"""The same for the final search: about the error of a good fit. [1]"""

INWARD = 1e-3
"""How far inside their ranges searches start, in logarithms. [1]"""

SCALE = 0.3
"""Typical change of a logarithm during a search. [1]"""

DIFFERENCE = 1e-3
"""Step of the numerical derivative. [1]"""


class ParameterRange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Physical range of one parameter and its prior."""

    low: float
    high: float
    start: float
    sigma: float | None = None
    """Standard deviation of the natural logarithm; none: not fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFit:
    """Parameters, and how far the rows are from them."""

    values: dict[str, float]
    loss: float
    """Mean rounded |ln(predicted / measured)| with the prior's share. [1]"""


def fit_logs(
    predict: Callable[[dict[str, float]], FloatArray],
    measured: FloatArray,
    ranges: Mapping[str, ParameterRange],
    *,
    start: Mapping[str, float],
    centre: Mapping[str, float],
    prior_rows: float,
    n_evaluations: int,
) -> LogFit:
    """Parameters that make predictions meet measurements, pulled towards a prior.

    Parameters
    ----------
    predict
        Takes all parameters by name; positive predictions in the unit of `measured`.
    measured
        Positive values.
    ranges
        Range and prior width by name.
    start
        Where the search begins; also the value of what is not fitted.
    centre
        Centre of the prior.
    prior_rows
        Weight of the prior of each parameter, in rows that deviate by the rounding.
    n_evaluations
        Most steps of each of the two searches.

    Returns
    -------
    LogFit
        Values of all parameters in `ranges`.
    """
    # scipy takes long to import; only fits need it.
    from scipy.optimize import least_squares

    free = [name for name, one in ranges.items() if one.sigma is not None]
    low = np.log([ranges[name].low for name in free])
    high = np.log([ranges[name].high for name in free])
    middle = np.log([centre[name] for name in free])
    sigmas = np.array([ranges[name].sigma or 1.0 for name in free])
    pull = ROUNDING * np.sqrt(prior_rows) / sigmas
    fixed = {name: start[name] for name in ranges if name not in free}

    def values_at(point: FloatArray) -> dict[str, float]:
        return fixed | dict(zip(free, np.exp(point).tolist(), strict=True))

    def deviations(point: FloatArray) -> FloatArray:
        logs = np.log(predict(values_at(point)) / measured)
        return np.concatenate([logs, pull * (point - middle)])

    point = np.log([start[name] for name in free])
    cost = 0.0
    for rounding in (WIDE_ROUNDING, ROUNDING):
        found = least_squares(
            deviations,
            np.clip(point, low + INWARD, high - INWARD),
            bounds=(low, high),
            loss="soft_l1",
            f_scale=rounding,
            diff_step=DIFFERENCE,
            max_nfev=n_evaluations,
            x_scale=np.full(len(free), SCALE),
        )
        point, cost = found.x, float(found.cost)
    values = values_at(point)
    loss = cost / ROUNDING / len(measured)
    return LogFit(values={name: values[name] for name in ranges}, loss=loss)
