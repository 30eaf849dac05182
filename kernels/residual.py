"""Correction on top of a formula: a coarse grid over the logarithms of the sizes.

The formulas are the skeleton; what they leave over varies slowly with the sizes, because
libraries change kernels from one size to the next. The correction is read off a grid between whose
nodes it is multilinear, so it is continuous. Nodes without measurements hold zero, or what is left
of their neighbours' values where nodes lean on each other; outside the grid it fades to zero within
one step. Its values are capped when they are fitted, so that it may correct and never carry.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

from hardware_profiles.calibration import Residual

__all__ = ["NO_RESIDUAL", "ResidualGrid", "compiled_grid", "residual_grid", "residual_log"]

PERMILLE = 1e-3


class ResidualGrid(NamedTuple):
    """A grid as a formula reads it: tuples in plain Python, arrays when compiled."""

    starts_log2: Any
    """Least log2 size of each of the three axes."""
    steps_log2: Any
    """Distance of the nodes of each axis, in octaves."""
    counts: Any
    """Nodes of each axis."""
    values: Any
    """ln(measured / predicted) at the nodes, the last axis fastest; empty for no correction."""


NO_RESIDUAL = ResidualGrid((), (), (), ())

N_AXES = 3
"""Axes of every grid: three sizes tell most of a kernel, and a cell then has eight corners."""


@functools.lru_cache(maxsize=512)
def residual_grid(residual: Residual | None) -> ResidualGrid:
    """The grid of a profile's residual; none corrects nothing."""
    if residual is None:
        return NO_RESIDUAL
    return ResidualGrid(
        residual.starts_log2,
        residual.steps_log2,
        residual.counts,
        tuple(PERMILLE * value for value in residual.values),
    )


def _place(size: float, start_log2: float, step_log2: float) -> float:
    """Where a size lies on an axis, in nodes. [1]"""
    return (math.log2(size) - start_log2) / step_log2


def _inside(place: float, count: float) -> float:
    """The nearest place on the axis. [1]"""
    return min(max(place, 0.0), count - 1.0)


def _fade(place: float, inside: float) -> float:
    """1 on the axis, 0 one step outside and beyond. [1]"""
    return max(0.0, 1.0 - abs(place - inside))


def residual_log(first: float, second: float, third: float, grid: ResidualGrid) -> float:
    """ln(measured / predicted) that the grid expects at these sizes.

    Parameters
    ----------
    first, second, third
        Sizes in the order of the grid's axes, above 0. [1]
    grid
        The nodes.

    Returns
    -------
    float
        Correction of the logarithm of a time; 0 one step outside the grid and beyond. [1]
    """
    if len(grid.values) == 0:
        return 0.0
    place_x = _place(first, grid.starts_log2[0], grid.steps_log2[0])
    place_y = _place(second, grid.starts_log2[1], grid.steps_log2[1])
    place_z = _place(third, grid.starts_log2[2], grid.steps_log2[2])
    x = _inside(place_x, grid.counts[0])
    y = _inside(place_y, grid.counts[1])
    z = _inside(place_z, grid.counts[2])
    fade = _fade(place_x, x) * _fade(place_y, y) * _fade(place_z, z)
    if fade <= 0.0:
        return 0.0
    n_y, n_z = int(grid.counts[1]), int(grid.counts[2])
    i, j, k = int(x), int(y), int(z)
    # The last node of an axis has no upper neighbour; its share of one is zero.
    up_x = n_y * n_z if x > i else 0
    up_y = n_z if y > j else 0
    up_z = 1 if z > k else 0
    x, y, z = x - i, y - j, z - k
    at = (i * n_y + j) * n_z + k
    values = grid.values
    total = 0.0
    for step_x, share_x in ((0, 1.0 - x), (up_x, x)):
        for step_y, share_y in ((0, 1.0 - y), (up_y, y)):
            here = at + step_x + step_y
            along_z = (1.0 - z) * values[here] + z * values[here + up_z]
            total += share_x * share_y * along_z
    return float(fade * total)


def compiled_grid(residual: Residual | None) -> ResidualGrid:
    """The grid with arrays in place of tuples, as compiled formulas read it."""
    # numpy is for columns; a single prediction does without it.
    import numpy as np

    return ResidualGrid(*(np.array(part, dtype=np.float64) for part in residual_grid(residual)))
