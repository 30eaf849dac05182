"""Which sizes tell most about the parameters of a formula.

A size tells of a parameter as far as its time changes with it. Sizes are taken one by one, each the
one that adds most to the determinant of the information matrix (a greedy D-optimal design), so that
no parameter is left to the noise.

References
----------
V. Fedorov, Theory of Optimal Experiments, 1972 (D-optimality; sequential construction).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kernels.host.case import HostCase
from kernels.host.formulas import nominal_times_s

__all__ = ["telling"]

STEP = 0.05
"""Change of a parameter's logarithm for the derivative. [1]"""

RIDGE = 1e-3
"""Information before the first size, so that the determinant exists. [1]"""


def telling(cases: Sequence[HostCase], n: int) -> list[HostCase]:
    """The n cases that together tell most about the parameters of their family's formula."""
    if not cases:
        return []
    slopes = _slopes(cases)
    inverse = np.eye(slopes.shape[1]) / RIDGE
    chosen: list[int] = []
    while len(chosen) < min(n, len(cases)):
        gains = np.einsum("cp,pq,cq->c", slopes, inverse, slopes)
        gains[chosen] = -1.0
        best = int(np.argmax(gains))
        chosen.append(best)
        ahead = inverse @ slopes[best]
        inverse -= np.outer(ahead, ahead) / (1.0 + slopes[best] @ ahead)
    return [cases[i] for i in chosen]


def _slopes(cases: Sequence[HostCase]) -> npt.NDArray[np.float64]:
    """Derivative of the logarithm of each time by the logarithm of each parameter. [1]"""
    base, moved = nominal_times_s(cases, step=STEP)
    return (np.log(moved) - np.log(base)[:, np.newaxis]) / STEP
