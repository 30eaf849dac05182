"""Times of cases from the visits to them, as if all had been measured at one speed of the machine.

Within one part of a family (one library, one direction, one operation), the logarithm of a time
follows those of the two anchors beside it: a full thread on the same core slows a product by half,
a copy by little. How much is a regression over all visits of the part, each case about its own
mean. Noise of the anchors themselves makes its slopes smaller, which is what a prediction from
noisy anchors wants. The level that times are brought to is the middle of all anchors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kernels.host.case import HostCase
from kernels.host.journal import Visit

__all__ = ["CaseTime", "case_times"]

FloatArray = npt.NDArray[np.float64]

LARGEST_SLOPE = 1.5
"""Nothing follows the machine's speed more than in proportion, noise aside. [1]"""

RIDGE = 0.01
"""Variance of the anchors below which their slopes fade. [1]"""

OUTLIER = 0.4
"""Deviation of one visit that a regression does not believe, as a logarithm. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseTime:
    """Time of one case at the level of the run."""

    case: HostCase
    seconds: float
    n_visits: int
    spread_fraction: float
    """Median deviation of the visits from it, over it. [1]"""


def case_times(cases: Sequence[HostCase], visits: Iterable[Visit]) -> list[CaseTime]:
    """One time for each case that was visited.

    Parameters
    ----------
    cases
        What was planned; visits to anything else are left out.
    visits
        Lines of a journal.
    """
    by_key: dict[str, list[Visit]] = {}
    known = {case.key: case for case in cases}
    for visit in visits:
        if visit.case in known:
            by_key.setdefault(visit.case, []).append(visit)
    everything = [visit for own in by_key.values() for visit in own]
    if not everything:
        return []
    level = np.median(_anchors(everything), axis=0)
    parts: dict[tuple[str, str], list[HostCase]] = {}
    for key in by_key:
        case = known[key]
        parts.setdefault((case.family, case.part), []).append(case)
    found: dict[str, CaseTime] = {}
    for members in parts.values():
        slopes = _slopes([by_key[case.key] for case in members])
        found |= {case.key: _levelled(case, by_key, slopes, level) for case in members}
    return [found[case.key] for case in cases if case.key in found]


def _anchors(visits: Sequence[Visit]) -> FloatArray:
    """Logarithms of both anchors by visit. [1]"""
    return np.log([(v.arithmetic_anchor_s, v.memory_anchor_s) for v in visits])


def _logs(visits: Sequence[Visit]) -> FloatArray:
    return np.log([visit.seconds for visit in visits])


def _slopes(groups: Sequence[Sequence[Visit]]) -> FloatArray:
    """How the times of a part follow the anchors. [1]"""
    anchors, times = [], []
    for own in groups:
        a, t = _anchors(own), _logs(own)
        anchors.append(a - np.mean(a, axis=0))
        times.append(np.clip(t - np.median(t), -OUTLIER, OUTLIER))
    x, y = np.concatenate(anchors), np.concatenate(times)
    ridge = RIDGE * len(x) ** 0.5 * np.eye(2)
    slopes: FloatArray = np.linalg.solve(x.T @ x + ridge, x.T @ y)
    return np.clip(slopes, 0.0, LARGEST_SLOPE)


def _levelled(
    case: HostCase,
    by_key: Mapping[str, Sequence[Visit]],
    slopes: FloatArray,
    level: FloatArray,
) -> CaseTime:
    own = by_key[case.key]
    logs = _logs(own) - (_anchors(own) - level) @ slopes
    middle = float(np.median(logs))
    return CaseTime(
        case=case,
        seconds=float(np.exp(middle)),
        n_visits=len(own),
        spread_fraction=float(np.median(np.abs(logs - middle))),
    )
