"""Cross-entropy on the host, forward and backward, by kernels in Numba."""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from kernels.memory_bound.operands import (
    require_matrices,
    require_of_rows,
    require_same_shape,
    require_targets,
)

__all__ = ["cross_entropy_backward_numba", "cross_entropy_numba"]

Array = NDArray[np.floating]
Targets = NDArray[np.integer]


def cross_entropy_numba(logits: Array, target: Targets) -> tuple[Array, Array]:
    """Loss of each row, and the logarithm of the sum of its exponentials.

    Parameters
    ----------
    logits
        Contiguous matrix (n_rows, n_classes), float32 or float64.
    target
        Class of each row, 0 to n_classes - 1.

    Returns
    -------
    tuple
        (loss, log_sum_exp), each of n_rows; the backward pass takes the second.
    """
    require_matrices(logits)
    require_targets(target, logits)
    loss = np.empty(len(logits), dtype=logits.dtype)
    log_sum_exp = np.empty_like(loss)
    _kernels().forward(logits, target, loss, log_sum_exp)
    return loss, log_sum_exp


def cross_entropy_backward_numba(
    d_loss: Array,
    logits: Array,
    target: Targets,
    log_sum_exp: Array,
    *,
    out: Array | None = None,
) -> Array:
    """Gradient d_logits of `cross_entropy_numba`; `d_loss` weights each row.

    It goes to `out` where that is given, which may be the logits themselves.
    """
    require_matrices(logits)
    require_targets(target, logits)
    require_of_rows(d_loss, logits)
    require_of_rows(log_sum_exp, logits)
    d_logits = np.empty_like(logits) if out is None else out
    require_same_shape(logits, d_logits)
    _kernels().backward((d_loss, logits, target, log_sum_exp), d_logits)
    return d_logits


def _kernels() -> ModuleType:
    from kernels.memory_bound import host_cross_entropy

    return host_cross_entropy
