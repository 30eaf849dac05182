"""Fit of the correction that a formula leaves over, and the decision whether it earns its place."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_profiles.calibration import Residual
from kernels.calibration.simplex import FloatArray
from kernels.compiled_formula import FormulaCompiler
from kernels.measurement_tables import Mask
from kernels.residual import ResidualGrid, compiled_grid, residual_log

__all__ = ["LEAST_GAIN", "PLAIN", "SMOOTH", "GridAxis", "GridPrior", "ResidualFitter"]

SparseMatrix = Any
"""A matrix of scipy.sparse, which has no types."""

LARGEST_LOG = 0.3
"""A correction may correct, never carry. [1]"""

ROUNDING = 0.05
"""Deviation below which the loss is rounded off. [1]"""

N_REWEIGHTINGS = 4
N_FOLDS = 5

N_TRIED_ROWS = 30_000
"""Rows that the cross-validation looks at: enough to tell one per cent. [1]"""

LEAST_GAIN = 0.01
"""Share by which a correction must lower the error of unseen keys to be kept. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridAxis:
    """Nodes along the logarithm of one size."""

    start_log2: float
    step_log2: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GridPrior:
    """What the nodes are taken for before any row is seen."""

    shrinkage_rows: float
    """Rows' worth of evidence for no correction at each node. [1]"""
    stiffness_rows: float
    """Rows' worth of evidence that neighbours one octave apart are alike. [1]"""


PLAIN = GridPrior(shrinkage_rows=3.0, stiffness_rows=0.0)
"""Nodes stand alone: enough where every node has rows of its own."""

SMOOTH = GridPrior(shrinkage_rows=0.3, stiffness_rows=0.3)
"""Nodes lean on their neighbours: for tables of few shapes, which leave most nodes bare."""


def _fill_logs(sizes: FloatArray, grid: ResidualGrid, logs: FloatArray) -> None:
    for row in range(len(logs)):
        logs[row] = residual_log(sizes[row, 0], sizes[row, 1], sizes[row, 2], grid)


class _Rows(NamedTuple):
    """What a correction is fitted to."""

    sizes: FloatArray
    errors: FloatArray
    keys: npt.NDArray[np.int64]
    weights: FloatArray

    def where(self, mask: Mask) -> _Rows:
        return _Rows(self.sizes[mask], self.errors[mask], self.keys[mask], self.weights[mask])


class ResidualFitter:
    """Fits corrections one after the other; keeps the compiled grid between them."""

    def __init__(self) -> None:
        self._logs = FormulaCompiler().compile(_fill_logs)

    def logs(self, sizes: FloatArray, residual: Residual | None) -> FloatArray:
        """ln(measured / predicted) that a residual expects, by row."""
        logs = np.zeros(len(sizes))
        if residual is not None and len(sizes):
            self._logs(np.ascontiguousarray(sizes), compiled_grid(residual), logs)
        return logs

    def fit(
        self,
        sizes: FloatArray,
        errors: FloatArray,
        keys: npt.NDArray[np.int64],
        grids: Sequence[tuple[GridAxis, ...]],
        *,
        priors: Sequence[GridPrior] = (PLAIN,),
        rival: FloatArray | None = None,
        weights: FloatArray | None = None,
    ) -> Residual | None:
        """Correction of the rows given, or none where unseen keys would not gain.

        Parameters
        ----------
        sizes
            One row per timing, one column per axis, above 0. [1]
        errors
            ln(measured / predicted) of the formula. [1]
        keys
            Number of the weight shape, head configuration or group of each row: keys, not rows,
            are set aside by the cross-validation that decides.
        grids
            Axes to choose from, coarse ones first.
        priors
            What to take nodes for, to choose from as well.
        rival
            What is left of the errors without this correction, where something else corrects
            them already; the errors themselves by default. [1]
        weights
            Weight of each row, about 1; equal by default. [1]

        Returns
        -------
        Residual or None
            On the grid that helps unseen keys most, bounded by 0.3 in either direction. A finer
            grid must lower their error by one per cent more than a coarser one; None where no
            grid lowers it by as much.
        """
        weights = np.ones(len(errors)) if weights is None else weights
        rows = _Rows(sizes, errors, keys, weights)
        tried = np.random.default_rng(0).permutation(len(errors))[:N_TRIED_ROWS]
        best = _loss((errors if rival is None else rival)[tried], weights[tried])
        chosen = None
        for axes, prior in itertools.product(grids, priors):
            unseen = self._unseen_errors(rows.where(tried), axes, prior)
            if unseen is None:
                continue
            loss = _loss(unseen, weights[tried])
            if loss < (1.0 - LEAST_GAIN) * best:
                best, chosen = loss, (axes, prior)
        return None if chosen is None else _fitted(rows, *chosen)

    def _unseen_errors(
        self, rows: _Rows, axes: tuple[GridAxis, ...], prior: GridPrior
    ) -> FloatArray | None:
        """What a correction leaves of each row's error when it has not seen the row's key."""
        fold = rows.keys % N_FOLDS
        left = np.empty_like(rows.errors)
        for number in range(N_FOLDS):
            seen, unseen = fold != number, fold == number
            if not seen.any() or not unseen.any():
                return None
            residual = _fitted(rows.where(seen), axes, prior)
            left[unseen] = rows.errors[unseen] - self.logs(rows.sizes[unseen], residual)
        return left


def _loss(errors: FloatArray, weights: FloatArray) -> float:
    rounded = np.sqrt(errors * errors + ROUNDING * ROUNDING) - ROUNDING
    return float(np.average(rounded, weights=weights))


def _fitted(rows: _Rows, axes: tuple[GridAxis, ...], prior: GridPrior) -> Residual:
    """Ridge regression on the nodes, reweighted so that outliers do not pull."""
    # scipy takes long to import; only fits need it.
    from scipy.sparse import diags
    from scipy.sparse.linalg import spsolve

    design, inside = _design(rows.sizes, axes)
    design, target = design[inside], rows.errors[inside]
    robust = np.ones(len(target))
    values = np.zeros(design.shape[1])
    penalty = _penalty(axes, prior)
    for _ in range(N_REWEIGHTINGS):
        weights = robust * rows.weights[inside]
        normal = design.T @ diags(weights) @ design + penalty
        values = spsolve(normal.tocsc(), design.T @ (weights * target))
        left = target - design @ values
        robust = ROUNDING / np.sqrt(left * left + ROUNDING * ROUNDING)
    values = np.clip(values, -LARGEST_LOG, LARGEST_LOG)
    return Residual(
        starts_log2=tuple(axis.start_log2 for axis in axes),
        steps_log2=tuple(axis.step_log2 for axis in axes),
        counts=tuple(axis.count for axis in axes),
        values_permille=" ".join(str(round(1000.0 * value)) for value in values),
    )


def _penalty(axes: tuple[GridAxis, ...], prior: GridPrior) -> SparseMatrix:
    """Squared values of the nodes and squared differences of neighbours, weighted (sparse)."""
    from scipy.sparse import csr_matrix, identity, kron

    n_nodes = int(np.prod([axis.count for axis in axes]))
    penalty = prior.shrinkage_rows * identity(n_nodes, format="csr")
    if prior.stiffness_rows <= 0.0:
        return penalty
    for number, axis in enumerate(axes):
        steps = np.diff(np.eye(axis.count), axis=0) / axis.step_log2
        along = csr_matrix(np.ones((1, 1)))
        for other, one in enumerate(axes):
            part = csr_matrix(steps.T @ steps) if other == number else identity(one.count)
            along = kron(along, part)
        penalty = penalty + prior.stiffness_rows * along
    return penalty


def _design(sizes: FloatArray, axes: tuple[GridAxis, ...]) -> tuple[Any, Mask]:
    """Weight of each node in each row (sparse), and which rows lie inside the grid."""
    from scipy.sparse import csr_matrix

    logs = np.log2(sizes)
    inside = np.ones(len(sizes), dtype=bool)
    columns = np.zeros((len(sizes), 1), dtype=np.int64)
    weights = np.ones((len(sizes), 1))
    for number, axis in enumerate(axes):
        place = (logs[:, number] - axis.start_log2) / axis.step_log2
        inside &= (place >= -1e-9) & (place <= axis.count - 1 + 1e-9)
        place = np.clip(place, 0.0, axis.count - 1)
        below = np.minimum(np.floor(place), max(axis.count - 2, 0)).astype(np.int64)
        share = place - below
        above = np.minimum(below + 1, axis.count - 1)
        columns = np.hstack([columns * axis.count + c[:, None] for c in (below, above)])
        weights = np.hstack([weights * w[:, None] for w in (1.0 - share, share)])
    row_numbers = np.repeat(np.arange(len(sizes)), columns.shape[1])
    n_nodes = int(np.prod([axis.count for axis in axes]))
    entries = (weights.ravel(), (row_numbers, columns.ravel()))
    return csr_matrix(entries, shape=(len(sizes), n_nodes)), inside
