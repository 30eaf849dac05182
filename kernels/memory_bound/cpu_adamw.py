"""Optimizer step on the host in Numba: weight and both moments in one pass, in place."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from kernels.memory_bound.arguments import adamw_factors
from kernels.memory_bound.operands import require_same_shape
from kernels.memory_bound.reference import AdamW

__all__ = ["adamw_numba"]

Array = NDArray[np.floating]


def adamw_numba(weight: Array, gradient: Array, moments: tuple[Array, Array], rule: AdamW) -> None:
    """One step of AdamW; weight and moments are changed in place.

    Parameters
    ----------
    weight, gradient
        Contiguous arrays of one shape, float32 or float64.
    moments
        First and second moment, of the same shape.
    rule
        Constants of the step.
    """
    require_same_shape(weight, gradient, *moments)
    if rule.n_step < 1:
        msg = f"n_step {rule.n_step}: steps are counted from 1"
        raise ValueError(msg)
    number = weight.dtype.type
    factor = adamw_factors(rule)
    factors = tuple(number(factor[name]) for name in ("keep", "rate", "correction", "epsilon"))
    betas = (number(rule.beta_1), number(rule.beta_2))
    first, second = moments
    state = (weight.reshape(-1), first.reshape(-1), second.reshape(-1))
    _build()(gradient.reshape(-1), *state, factors, betas)


@cache
def _build() -> Callable[..., None]:
    from numba import njit, prange

    # What is written is an argument by itself: from inside a tuple, Numba 0.68 lost the stores.
    @njit(parallel=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
    def step(gradient, weight, first, second, factors, betas):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, PLR0917
        keep, rate, correction, epsilon = factors
        beta_1, beta_2 = betas
        for i in prange(weight.size):
            g = gradient[i]
            first[i] = beta_1 * first[i] + (1 - beta_1) * g
            second[i] = beta_2 * second[i] + (1 - beta_2) * g * g
            scale = np.sqrt(second[i] * correction) + epsilon
            weight[i] = weight[i] * keep - rate * first[i] / scale

    kernel: Callable[..., None] = step
    return kernel
