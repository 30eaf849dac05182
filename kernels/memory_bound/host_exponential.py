# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
"""The exponential as code that compilers turn into vectors; a library's is a call per number.

With n the nearest whole number to x / ln 2, e**x is 2**n e**r with r = x - n ln 2 between -ln 2 / 2
and ln 2 / 2, where a polynomial is enough. In r, n ln 2 is taken off in two parts, so that no digit
of a large x is lost; that must not be reassociated. The power of two is set in the exponent's bits,
half of it at a time: so results may overflow, or fade out below the normal numbers, as they should.

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


# They leave out 2e-9 and 4e-18. The second is Taylor's: double precision is not enough to find one
# that is better.
SERIES_32 = tuple(np.float32(c) for c in _through_chebyshev_points(6))
SERIES_64 = tuple(1.0 / math.factorial(k) for k in range(14))
# The first part of ln 2 has so few digits that its products with n are exact.
FIRST_32, FIRST_64 = np.float32(355.0 / 512.0), 2977044471.0 / 4294967296.0
REST_32 = np.float32(-2.1219444005469057e-4)
REST_64 = 1.9082149292705878e-10
LOG2_E_32, LOG2_E_64 = np.float32(math.log2(math.e)), math.log2(math.e)
LEAST_32, MOST_32 = np.float32(-104.0), np.float32(89.0)
LEAST_64, MOST_64 = -746.0, 710.0
"""Beyond these the result is zero or infinite."""
HALF_32 = np.float32(0.5)


def exponential(x):
    """E**x for any x, within 1e-7 of it in float32 and 3e-16 in float64.

    Results below the least normal number have the digits that are left there. NaN stays NaN.
    """
    raise NotImplementedError  # pragma: no cover - Numba takes one of the two below


@overload(exponential, jit_options={"fastmath": {"contract"}})
def _exponential_for_type(x):
    if x == types.float32:
        return _exponential_32
    return _exponential_64


def _exponential_32(x):
    # Comparisons with NaN are false: what is rounded to a whole number below is none.
    above = x if x > LEAST_32 else LEAST_32
    within = above if above < MOST_32 else MOST_32
    whole = np.floor(within * LOG2_E_32 + HALF_32)
    part = (within - whole * FIRST_32) - whole * REST_32
    value = SERIES_32[6]
    for i in range(5, -1, -1):
        value = value * part + SERIES_32[i]
    n = np.int32(whole)
    half = n >> np.int32(1)
    first = np.int32((half + np.int32(127)) << np.int32(23)).view(np.float32)
    second = np.int32((n - half + np.int32(127)) << np.int32(23)).view(np.float32)
    return value * first * second if x == x else x  # noqa: PLR0124 -- only NaN differs from itself


def _exponential_64(x):
    above = x if x > LEAST_64 else LEAST_64
    within = above if above < MOST_64 else MOST_64
    whole = np.floor(within * LOG2_E_64 + 0.5)
    part = (within - whole * FIRST_64) - whole * REST_64
    value = SERIES_64[13]
    for i in range(12, -1, -1):
        value = value * part + SERIES_64[i]
    n = np.int64(whole)
    half = n >> np.int64(1)
    first = np.int64((half + np.int64(1023)) << np.int64(52)).view(np.float64)
    second = np.int64((n - half + np.int64(1023)) << np.int64(52)).view(np.float64)
    return value * first * second if x == x else x  # noqa: PLR0124 -- only NaN differs from itself
