# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
"""The exponential as code that compilers turn into vectors; a library's is a call per number.

With n the nearest whole number to x / ln 2, e**x is 2**n e**r with r = x - n ln 2 between -ln 2 / 2
and ln 2 / 2, where a polynomial is enough. In r, n ln 2 is taken off in two parts, so that no digit
of a large x is lost. To round, a number is added that leaves no room for digits behind the point; n
then stands in the last bits of the sum, from where a shift puts it into the exponent. None of this
bears being reassociated.

References
----------
W. Cody and W. Waite, Software Manual for the Elementary Functions, 1980, chapter 6.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numba.extending import overload
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

__all__ = ["exponential"]


def _through_chebyshev_points(degree: int) -> list[float]:
    """Coefficients of e**r, constant first; its error is spread evenly over the interval."""
    half = math.log(2.0) / 2
    points: NDArray[np.float64] = chebyshev.chebpts1(degree + 1)
    series = chebyshev.cheb2poly(chebyshev.chebfit(points, np.exp(half * points), degree))
    return [float(c / half**power) for power, c in enumerate(series)]


# The polynomials leave out 2e-9 and 4e-18. The second is Taylor's: double precision is not enough
# to find one that is better. They are twice e**r, and the power is half of 2**n, which then never
# overflows before the result does.
SERIES_32 = tuple(np.float32(2 * c) for c in _through_chebyshev_points(6))
SERIES_64 = tuple(2.0 / math.factorial(k) for k in range(14))
# The first part of ln 2 has so few digits that its products with n are exact.
FIRST_32, FIRST_64 = np.float32(355.0 / 512.0), 2977044471.0 / 4294967296.0
REST_32, REST_64 = np.float32(-2.1219444005469057e-4), 1.9082149292705878e-10
LOG2_E_32, LOG2_E_64 = np.float32(math.log2(math.e)), math.log2(math.e)
# Sums with 1.5 2**23 (or 2**52) are rounded to whole numbers; the rest is the bias of the exponent
# less one.
WHOLE_32, WHOLE_64 = np.float32(1.5 * 2**23 + 126), 1.5 * 2**52 + 1022
# Beyond these the exponent's bits are zero, and so is the result, or the result is infinite.
LEAST_32, MOST_32 = np.float32(-126 * math.log(2.0)), np.float32(89.0)
LEAST_64, MOST_64 = -1022 * math.log(2.0), 710.0


def exponential(x):
    """E**x for any x, within 1e-7 of it in float32 and 3e-16 in float64.

    What would be smaller than three times the least normal number may be 0. NaN stays NaN.
    """
    raise NotImplementedError  # pragma: no cover - Numba takes one of the two below


@overload(exponential, jit_options={"fastmath": {"contract"}})
def _exponential_for_type(x):
    if x == types.float32:
        return _exponential_32
    return _exponential_64


def _exponential_32(x):
    above = LEAST_32 if x < LEAST_32 else x
    within = MOST_32 if above > MOST_32 else above
    shifted = within * LOG2_E_32 + WHOLE_32
    whole = shifted - WHOLE_32
    part = (within - whole * FIRST_32) - whole * REST_32
    value = SERIES_32[6]
    for i in range(5, -1, -1):
        value = value * part + SERIES_32[i]
    bits = np.float32(shifted).view(np.int32) << np.int32(23)
    return value * np.int32(bits).view(np.float32)


def _exponential_64(x):
    above = LEAST_64 if x < LEAST_64 else x
    within = MOST_64 if above > MOST_64 else above
    shifted = within * LOG2_E_64 + WHOLE_64
    whole = shifted - WHOLE_64
    part = (within - whole * FIRST_64) - whole * REST_64
    value = SERIES_64[13]
    for i in range(12, -1, -1):
        value = value * part + SERIES_64[i]
    bits = np.float64(shifted).view(np.int64) << np.int64(52)
    return value * np.int64(bits).view(np.float64)
