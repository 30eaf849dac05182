"""The host's GEMMs against the float64 oracle."""

from typing import NamedTuple

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.gemm.cpu import BlasError, blas_name, blas_threads, gemm_blas, gemm_numba
from kernels.gemm.operands import TRANSPOSED
from kernels.gemm.reference import gemm_reference, relative_error_fraction

ROWS = st.integers(0, 45) | st.just(517)
"""Around the tiles of 6 and 14 rows, and more than a block of 504."""
DEPTHS = st.integers(0, 12) | st.integers(253, 262)
"""Around a block of 256."""
COLUMNS = st.integers(0, 70)
"""Around tiles of 4 to 32."""
TOLERANCE = {"f4": 1e-5, "f8": 1e-13}
PRODUCTS = {"numba": gemm_numba, "blas": gemm_blas}


class Case(NamedTuple):
    """A call of a GEMM and its truth."""

    a: np.ndarray
    b: np.ndarray
    out: np.ndarray
    factors: dict
    truth: np.ndarray

    def check(self, product):
        result = product(self.a, self.b, out=self.out, **self.factors)
        assert result is self.out
        error = relative_error_fraction(result, self.truth)
        assert error <= TOLERANCE[result.dtype.str[1:]]


@st.composite
def cases(draw):
    m, n, k = draw(ROWS), draw(COLUMNS), draw(DEPTHS)
    dtype, transposed = draw(st.sampled_from(["f4", "f8"])), draw(st.sampled_from(TRANSPOSED))
    batch = draw(st.sampled_from([(), (1,), (3,)]))
    alpha, beta = draw(st.sampled_from([(1.0, 0.0), (0.5, 0.0), (1.0, 1.0), (-1.5, 0.25)]))
    random = np.random.default_rng(draw(st.integers(0, 9)))
    a, b, out = (
        random.standard_normal((*batch, *shape)).astype(dtype)
        for shape in (
            (k, m) if "a" in transposed else (m, k),
            (n, k) if "b" in transposed else (k, n),
            (m, n),
        )
    )
    truth = gemm_reference(a, b, transposed=transposed) * alpha + beta * out.astype("f8")
    if beta == 0:
        out[...] = np.nan
    factors = {"alpha": alpha, "beta": beta, "transposed": transposed}
    return Case(a, b, out, factors, truth)


@settings(deadline=None, max_examples=60)
@given(cases())
def test_numba_agrees_with_the_oracle(case):
    case.check(gemm_numba)


@settings(deadline=None, max_examples=20)
@given(cases())
def test_blas_agrees_with_the_oracle(case):
    case.check(gemm_blas)


def operands(m, n, k, dtype, seed=1):
    random = np.random.default_rng(seed)
    return (
        random.standard_normal((m, k)).astype(dtype),
        random.standard_normal((k, n)).astype(dtype),
    )


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_any_number_of_threads_gives_the_same_numbers(n_threads):
    a, b = operands(130, 70, 33, "f8")
    whole = gemm_numba(a, b)
    before = numba.get_num_threads()
    numba.set_num_threads(min(n_threads, before))
    try:
        np.testing.assert_array_equal(gemm_numba(a, b), whole)
    finally:
        numba.set_num_threads(before)


def test_operands_are_multiplied_as_they_lie_in_memory():
    a, b = operands(33, 17, 21, "f8")
    truth = gemm_reference(a, b)
    wide = np.full((33, 50), np.nan)
    wide[:, 3:24] = a
    for left in (
        np.asfortranarray(a),
        wide[:, 3:24],
        np.repeat(a, 2, axis=0)[::2],
        a[:, ::-1][:, ::-1],
    ):
        assert relative_error_fraction(gemm_numba(left, b), truth) <= TOLERANCE["f8"]
    assert relative_error_fraction(gemm_numba(a[::-1], b)[::-1], truth) <= TOLERANCE["f8"]
    same = np.broadcast_to(b, (4, *b.shape))
    found = gemm_numba(np.broadcast_to(a, (4, *a.shape)), same)
    assert relative_error_fraction(found[3], truth) <= TOLERANCE["f8"]
    frozen = a.copy()
    frozen.flags.writeable = False
    assert relative_error_fraction(gemm_numba(frozen, b), truth) <= TOLERANCE["f8"]


def test_what_lies_beside_the_result_is_left_alone():
    a, b = operands(15, 33, 9, "f4")
    around = np.full((3, 17, 40), 7.0, "f4")
    gemm_numba(a, b, out=around[1, 1:16, 4:37])
    assert relative_error_fraction(around[1, 1:16, 4:37], gemm_reference(a, b)) <= TOLERANCE["f4"]
    around[1, 1:16, 4:37] = 7.0
    assert np.all(around == 7.0)
    backwards = np.full((15, 33), np.nan, "f4")
    gemm_numba(a, b, out=backwards[::-1])
    assert relative_error_fraction(backwards[::-1], gemm_reference(a, b)) <= TOLERANCE["f4"]


def test_a_result_that_lies_over_an_operand_is_right():
    a, b = operands(40, 40, 40, "f8")
    truth = gemm_reference(a, b)
    assert relative_error_fraction(gemm_numba(a, b, out=a), truth) <= TOLERANCE["f8"]


@pytest.mark.parametrize("product", PRODUCTS.values())
def test_what_is_infinite_or_no_number_stays_so(product):
    a, b = operands(16, 34, 5, "f4")
    a[2, 3], a[15, 0], b[4, 33] = np.inf, np.nan, -np.inf
    with np.errstate(invalid="ignore"):
        truth = gemm_reference(a, b)
        found = product(a, b)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(truth))
    np.testing.assert_array_equal(found[np.isinf(truth)], truth[np.isinf(truth)])
    whole = np.isfinite(truth)
    np.testing.assert_allclose(found[whole], truth[whole], atol=1e-5)


def test_the_oracle_sums_in_double_precision():
    a = np.full((1, 4096), 0.1, dtype=np.float32)
    b = np.ones((4096, 1), dtype=np.float32)
    assert gemm_reference(a, b)[0, 0] == pytest.approx(4096 * float(np.float32(0.1)), rel=1e-14)


@pytest.mark.parametrize("product", [*PRODUCTS.values(), gemm_reference])
def test_operands_that_do_not_fit_are_refused(product):
    x = np.zeros((2, 3))
    with pytest.raises(ValueError, match="k is 3 and 4"):
        product(x, np.zeros((4, 2)))
    with pytest.raises(ValueError, match="transposed 'c': expected one of"):
        product(x, x, transposed="c")
    with pytest.raises(ValueError, match="two or three axes, the same batch"):
        product(x, np.zeros((1, 3, 2)))


@pytest.mark.parametrize("product", PRODUCTS.values())
def test_types_and_results_that_do_not_fit_are_refused(product):
    x = np.zeros((2, 2), "f4")
    with pytest.raises(ValueError, match="b: type float64; expected float32, float64, the same"):
        product(x, x.astype("f8"))
    with pytest.raises(ValueError, match="a: type int64"):
        product(x.astype("i8"), x)
    with pytest.raises(ValueError, match=r"beta 1\.0 needs an out"):
        product(x, x, beta=1.0)
    with pytest.raises(ValueError, match=r"out: shape \(3, 2\); expected \(2, 2\)"):
        product(x, x, out=np.zeros((3, 2), "f4"))
    with pytest.raises(ValueError, match="contiguous rows"):
        product(x, x, out=np.zeros((2, 4), "f4")[:, ::2])
    frozen = np.zeros((2, 2), "f4")
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        product(x, x, out=frozen)


def test_a_wrong_result_has_a_large_error():
    truth = gemm_reference(np.eye(4), np.eye(4))
    assert relative_error_fraction(np.zeros((4, 4)), truth) == pytest.approx(1.0)


def test_blas_threads_are_put_back():
    try:
        with blas_threads(1):
            with blas_threads(2):
                pass
            product = gemm_blas(np.eye(8), np.eye(8))
    except BlasError as error:
        pytest.skip(str(error))
    assert np.array_equal(product, np.eye(8))
    assert blas_name() != ""
