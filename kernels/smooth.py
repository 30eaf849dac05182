"""Smooth maxima and sums that join the limits of a kernel.

Hard maxima put kinks into sweeps that no machine shows: near the ridge of a roofline both limits
cost something.
"""

from __future__ import annotations

__all__ = ["power_mean_join", "smooth_minimum", "smooth_waves"]


def power_mean_join(first: float, second: float, exponent: float) -> float:
    """(first^p + second^p)^(1/p): the sum for p = 1, the maximum for large p.

    Parameters
    ----------
    first, second
        Non-negative quantities of one unit. [any]
    exponent
        p, above 0; below 1 the result exceeds the sum. [1]

    Returns
    -------
    float
        The joined quantity. [unit of the inputs]
    """
    larger = max(first, second)
    if larger <= 0.0:
        return 0.0
    ratio = min(first, second) / larger
    return float(larger * (1.0 + ratio**exponent) ** (1.0 / exponent))


def smooth_minimum(first: float, second: float, exponent: float) -> float:
    """(first^-p + second^-p)^(-1/p): a minimum without a kink, never above the smaller one.

    Parameters
    ----------
    first, second
        Positive quantities of one unit. [any]
    exponent
        p, above 0; the larger, the sharper. [1]

    Returns
    -------
    float
        The minimum; by 2^(-1/p) below it where both are equal. [unit of the inputs]
    """
    smaller = min(first, second)
    ratio = smaller / max(first, second)
    return float(smaller * (1.0 + ratio**exponent) ** (-1.0 / exponent))


def smooth_waves(load: float, smoothing: float) -> float:
    """Effective waves of equal work items over equal processors.

    A load up to one wave takes a whole wave. Above, hard quantisation (ceil) is mixed with the
    fluid limit, since libraries choose among tiles and schedule persistently.

    Parameters
    ----------
    load
        Work items per processor. [1]
    smoothing
        0 for whole waves, 1 for the fluid limit. [1]

    Returns
    -------
    float
        Waves that the busiest processor works through. [1]
    """
    if load <= 1.0:
        return 1.0
    whole = float(-(-load // 1.0))
    return (1.0 - smoothing) * whole + smoothing * load
