"""The host's GEMMs against the float64 oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.gemm.cpu import BlasError, blas_name, blas_threads, gemm_blas, gemm_numba
from kernels.gemm.reference import gemm_reference, relative_error_fraction

# Around the block edges of 32 rows, 256 steps of depth (unrolled by four) and 512 columns.
ROWS = st.integers(0, 70)
DEPTHS = st.integers(0, 12) | st.integers(253, 262)
COLUMNS = st.integers(0, 20) | st.integers(510, 515)
TOLERANCE = {"f4": 1e-5, "f8": 1e-13}


def operands(m, n, k, dtype, seed):
    random = np.random.default_rng(seed)
    return (
        random.standard_normal((m, k)).astype(dtype),
        random.standard_normal((k, n)).astype(dtype),
    )


@settings(deadline=None, max_examples=40)
@given(ROWS, COLUMNS, DEPTHS, st.sampled_from(["f4", "f8"]), st.integers(0, 9))
def test_numba_agrees_with_the_oracle_on_any_shape(m, n, k, dtype, seed):
    a, b = operands(m, n, k, dtype, seed)
    poisoned = np.full((m, n), np.nan, dtype=dtype)
    gemm_numba(a, b, out=poisoned)
    assert poisoned.dtype == a.dtype
    assert relative_error_fraction(poisoned, gemm_reference(a, b)) <= TOLERANCE[dtype]


@settings(deadline=None, max_examples=20)
@given(ROWS, COLUMNS, DEPTHS, st.sampled_from(["f4", "f8"]), st.integers(0, 9))
def test_blas_agrees_with_the_oracle_on_any_shape(m, n, k, dtype, seed):
    a, b = operands(m, n, k, dtype, seed)
    assert relative_error_fraction(gemm_blas(a, b), gemm_reference(a, b)) <= TOLERANCE[dtype]


def test_transposed_operands_are_multiplied_as_they_stand():
    a, b = operands(33, 17, 21, "f8", 1)
    result = gemm_numba(np.asfortranarray(a), np.asfortranarray(b))
    assert relative_error_fraction(result, gemm_reference(a, b)) <= TOLERANCE["f8"]


def test_the_oracle_sums_in_double_precision():
    a = np.full((1, 4096), 0.1, dtype=np.float32)
    b = np.ones((4096, 1), dtype=np.float32)
    assert gemm_reference(a, b)[0, 0] == pytest.approx(4096 * float(np.float32(0.1)), rel=1e-14)


@pytest.mark.parametrize("product", [gemm_numba, gemm_reference])
def test_operands_that_do_not_fit_are_refused(product):
    with pytest.raises(ValueError, match=r"expected \(m, k\) and \(k, n\)"):
        product(np.zeros((2, 3)), np.zeros((4, 2)))


def test_mixed_types_are_refused():
    with pytest.raises(ValueError, match="float32 or float64"):
        gemm_numba(np.zeros((2, 2), "f4"), np.zeros((2, 2), "f8"))


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
