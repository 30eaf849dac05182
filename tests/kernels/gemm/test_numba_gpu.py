"""The Numba kernel in the simulator: a process of its own, since the switch is read at import."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numba import types

from kernels.gemm import numba_gpu
from kernels.gemm.numba_gpu import gemm_numba_gpu

PROGRAM = """
import numpy as np
from kernels.gemm import numba_gpu
from kernels.gemm.numba_gpu import gemm_numba_gpu
from kernels.gemm.reference import gemm_reference, relative_error_fraction


def poisoned(shape, dtype):
    return numba_gpu.cuda.to_device(np.full(shape, np.nan, dtype))


numba_gpu.cuda.device_array = poisoned
numba_gpu.MAX_GRID_DEPTH = 2  # so that the third product of a batch goes around
CASES = [
    ((), (1, 1, 1), "", 1.0, 0.0),
    ((), (9, 7, 11), "", -0.5, 0.0),
    ((), (9, 2, 3), "a", 1.0, 2.0),
    ((), (3, 2, 0), "", 1.0, 0.0),
    ((), (3, 2, 0), "b", 1.0, -3.0),
    ((), (0, 3, 2), "ab", 1.0, 1.0),
    ((3,), (2, 9, 3), "b", 1.0, 0.0),
    ((2,), (3, 2, 9), "ab", 2.0, 0.5),
    ((0,), (3, 2, 1), "", 1.0, 0.0),
]
random = np.random.default_rng(3)
for batch, (m, n, k), transposed, alpha, beta in CASES:
    a = random.standard_normal((*batch, m, k)).astype(np.float32)
    b = random.standard_normal((*batch, k, n)).astype(np.float32)
    out = np.full((*batch, m, 2 * n), np.nan, dtype=np.float32)[..., ::2]
    if beta != 0:
        out[...] = random.standard_normal(out.shape)
    truth = alpha * np.matmul(a.astype("f8"), b.astype("f8"))
    if beta != 0:
        truth += beta * out
    stored_a = np.ascontiguousarray(a.swapaxes(-1, -2)) if "a" in transposed else a
    stored_b = np.ascontiguousarray(b.swapaxes(-1, -2)) if "b" in transposed else b
    factors = {"alpha": alpha, "beta": beta, "transposed": transposed}
    assert gemm_numba_gpu(stored_a, stored_b, out=out, **factors) is out
    np.testing.assert_allclose(out, truth, rtol=1e-5, atol=1e-5, err_msg=str((batch, m, n, k)))

# The result may lie where an operand does.
square = random.standard_normal((3, 3)).astype(np.float32)
truth = gemm_reference(square, square)
assert relative_error_fraction(gemm_numba_gpu(square, square, out=square), truth) < 1e-5
assert gemm_numba_gpu(square, square).dtype == np.float32
"""


def test_the_simulated_kernel_agrees_with_float64(repository):
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(repository)}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr


def test_operands_that_do_not_fit_are_refused_before_a_device_is_looked_for():
    a, b = np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float32)
    with pytest.raises(ValueError, match="k is 3 and 2"):
        gemm_numba_gpu(a, a)
    with pytest.raises(ValueError, match="k is 2 and 3"):
        gemm_numba_gpu(a, b, transposed="a")
    with pytest.raises(ValueError, match="the same batch"):
        gemm_numba_gpu(a[None], b)
    with pytest.raises(ValueError, match=r"^transposed 'c': expected one of"):
        gemm_numba_gpu(a, b, transposed="c")
    with pytest.raises(ValueError, match=r"^a: type float64; expected float32"):
        gemm_numba_gpu(a.astype("f8"), b.astype("f8"))
    with pytest.raises(ValueError, match=r"^b: type float64; expected float32"):
        gemm_numba_gpu(a, b.astype("f8"))


@pytest.mark.parametrize(
    ("out", "said"),
    [
        (np.zeros((2, 2)), "out: type float64; expected float32"),
        (np.zeros((2, 3), np.float32), r"out: shape \(2, 3\); expected \(2, 2\)"),
        (np.zeros((1, 2, 2), np.float32), r"out: shape \(1, 2, 2\); expected \(2, 2\)"),
        (np.broadcast_to(np.float32(0), (2, 2)), "out: it is read-only"),
        (None, "beta 1.0 needs an out"),
    ],
)
def test_a_result_that_cannot_be_written_is_refused(out, said):
    a, b = np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float32)
    with pytest.raises(ValueError, match=f"^{said}"):
        gemm_numba_gpu(a, b, out=out, beta=1.0)


def test_the_kernel_compiles_for_a_device_and_computes_in_single_precision(numba_ptx):
    matrices = (types.float32[:, :, ::1],) * 3
    signature = (*matrices, types.float32, types.float32)
    assert ".f64" not in numba_ptx(numba_gpu._gemm, signature)
