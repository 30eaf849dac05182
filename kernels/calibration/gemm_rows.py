"""Rows of a GEMM table as a fit needs them: one device and dtype, keys set aside marked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kernels.calibration.simplex import FloatArray
from kernels.calibration.split import is_heldout
from kernels.gemm.precision import PRECISIONS, Precision
from kernels.libraries import implementation
from kernels.measurement_tables import Mask, Table
from kernels.prediction.gemm import gemm_sizes

__all__ = ["GemmRows", "balanced_sample", "balanced_weights", "gemm_rows", "merged_over_libraries"]

LARGE_SIZE = 1024.0
"""m, n and k of a large product are at least this. [elements]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmRows:
    """Rows of one device and dtype, as a fit needs them."""

    dtype: str
    sizes: FloatArray
    """m, n, k, batch."""
    measured_s: FloatArray
    libraries: npt.NDArray[np.object_]
    """Implementation of each row; empty text for the kernel alone."""
    is_heldout: Mask
    keys: npt.NDArray[np.int64]
    """Number of each row's weight shape (n, k)."""

    @property
    def is_large(self) -> Mask:
        """Whether m, n and k are all large."""
        return np.asarray((self.sizes[:, :3] >= LARGE_SIZE).all(axis=1))

    @property
    def precision(self) -> Precision:
        """Peak and widths of the dtype."""
        return PRECISIONS[self.dtype]

    def where(self, mask: Mask) -> GemmRows:
        """The rows at which the mask holds."""
        return GemmRows(
            dtype=self.dtype,
            sizes=self.sizes[mask],
            measured_s=self.measured_s[mask],
            libraries=self.libraries[mask],
            is_heldout=self.is_heldout[mask],
            keys=self.keys[mask],
        )


def gemm_rows(table: Table, dtype: str) -> GemmRows:
    """Rows of one device at one dtype."""
    rows = table.where(table["dtype"] == dtype)
    sizes = gemm_sizes(rows)
    weights, keys = np.unique(sizes[:, 1:3], axis=0, return_inverse=True)
    heldout = np.array([is_heldout("gemm", (int(n), int(k))) for n, k in weights], dtype=bool)
    libraries = [implementation("gemm", str(text)) or "" for text in rows["library"]]
    return GemmRows(
        dtype=dtype,
        sizes=sizes,
        measured_s=rows["latency_us"] * 1e-6,
        libraries=np.array(libraries, dtype=object),
        is_heldout=heldout[keys] if len(weights) else np.zeros(0, dtype=bool),
        keys=keys.astype(np.int64),
    )


def merged_over_libraries(rows: GemmRows) -> GemmRows:
    """Distinct shapes with the median over libraries."""
    _, first, where = np.unique(rows.sizes, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(where, kind="stable")
    borders = np.searchsorted(where[order], np.arange(1, len(first)))
    groups = np.split(rows.measured_s[order], borders)
    merged = rows.where(first)
    return GemmRows(
        dtype=rows.dtype,
        sizes=merged.sizes,
        measured_s=np.array([np.median(group) for group in groups]),
        libraries=np.full(len(first), "", dtype=object),
        is_heldout=merged.is_heldout,
        keys=merged.keys,
    )


def balanced_sample(rows: GemmRows, n_shapes: int, rng: np.random.Generator) -> GemmRows:
    """At most so many rows, half of them large where there are as many.

    Tables are mostly small shapes and training is mostly large ones: an unbalanced fit gives away
    up to half a point on the latter.
    """
    groups = [np.flatnonzero(rows.is_large), np.flatnonzero(~rows.is_large)]
    chosen = [rng.permutation(group)[: n_shapes // 2] for group in groups]
    return rows.where(np.sort(np.concatenate(chosen)))


def balanced_weights(rows: GemmRows) -> FloatArray:
    """Weights of rows such that large shapes count as much as all others. [1]"""
    large = rows.is_large
    n_large, n_small = max(int(large.sum()), 1), max(int((~large).sum()), 1)
    # A handful of shapes on one side must not count for half of the fit.
    share = min(0.5, n_large / 50.0) if n_large < n_small else 1.0 - min(0.5, n_small / 50.0)
    return np.where(large, share / n_large, (1.0 - share) / n_small)
