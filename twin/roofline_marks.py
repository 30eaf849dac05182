"""Where kernels stand on the picture of a roofline, and which of many neighbours are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twin.kernel_columns import FAMILIES, KernelColumns

__all__ = ["MarkGroup", "Marks", "marks_of"]

FloatArray = npt.NDArray[np.float64]

MOST_MARKS = 240
"""Measured kernels that a panel shows one by one; more of them share marks. [1]"""

FINEST_CELL, COARSER = 0.01, 1.3
"""Side of the cell whose kernels share a mark, in decades, and how it grows until few are left."""

CELLS, MOST_DTYPES = 2**20, 2**16
"""More cells along an axis, and dtypes, than there can be: each cell has a number of its own."""

MATRIX_FAMILIES = ("gemm", "attention")


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkGroup:
    """Marks of one family and dtype."""

    family: str
    dtype: str
    x: FloatArray
    """Intensity in flop/byte; bytes where there is no matrix work."""
    measured: FloatArray
    """Rate in flop/s, or byte/s; NaN where nobody measured."""
    predicted: FloatArray
    """The same as predicted; NaN where nothing predicts it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Marks of one panel."""

    groups: tuple[MarkGroup, ...]
    n_measured: int
    """Measured kernels behind the marks. [1]"""
    n_drawn: int
    """Measured kernels that have a mark of their own. [1]"""

    @property
    def n_predicted_alone(self) -> int:
        """Marks of kernels that nobody measured. [1]"""
        return sum(int(np.isnan(group.measured).sum()) for group in self.groups)


def marks_of(columns: KernelColumns, *, is_matrix_work: bool) -> Marks:
    """Marks of the kernels with matrix work, or of those without.

    Matrix work stands at its intensity and arithmetic rate. Anything else has no place there: it
    stands at its traffic and the rate of that traffic, if it has a roof: a transfer to the host has
    none here.
    """
    matrix = np.array([family in MATRIX_FAMILIES for family in FAMILIES])
    chosen = np.flatnonzero(matrix[columns.family] == is_matrix_work)
    work = columns.flop if is_matrix_work else columns.traffic_bytes
    x = columns.flop / columns.traffic_bytes if is_matrix_work else columns.traffic_bytes
    with np.errstate(invalid="ignore", divide="ignore"):
        measured, predicted = work / columns.measured_s, work / columns.predicted_s
    chosen = chosen[~(np.isnan(measured[chosen]) & np.isnan(predicted[chosen]))]
    if not is_matrix_work:
        chosen = chosen[np.isfinite(columns.roof_s[chosen])]
    is_measured = ~np.isnan(measured[chosen])
    own, alone = chosen[is_measured], chosen[~is_measured]
    shown = _thinned(columns, own, np.column_stack([x, measured])[own])
    rows = np.concatenate([shown, alone])
    groups = [
        MarkGroup(
            family=FAMILIES[int(columns.family[group[0]])],
            dtype=columns.text("dtype", int(group[0])),
            x=x[group],
            measured=measured[group],
            predicted=predicted[group],
        )
        for group in _groups(columns, rows)
    ]
    return Marks(groups=tuple(groups), n_measured=len(own), n_drawn=len(shown))


def _groups(columns: KernelColumns, rows: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[np.intp]]:
    """Rows by family and dtype."""
    keys = np.column_stack([columns.family[rows], columns.codes["dtype"][rows]])
    for key in np.unique(keys, axis=0):
        yield rows[(keys == key).all(axis=1)]


def _thinned(
    columns: KernelColumns, rows: npt.NDArray[np.intp], places: FloatArray
) -> npt.NDArray[np.intp]:
    """The first row of each cell, in cells as small as leave few enough rows."""
    cell = FINEST_CELL
    kinds = columns.family[rows].astype(np.int64) * MOST_DTYPES + columns.codes["dtype"][rows]
    logs = np.log10(places)
    while len(rows) > MOST_MARKS:
        x, y = np.floor(logs / cell).astype(np.int64).T
        _, first = np.unique((kinds * CELLS + x) * CELLS + y, return_index=True)
        first.sort()
        rows, kinds, logs = rows[first], kinds[first], logs[first]
        cell *= COARSER
    return rows
