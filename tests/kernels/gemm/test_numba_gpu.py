"""The Numba kernel in the simulator: a process of its own, since the switch is read at import."""

import os
import subprocess
import sys

import numpy as np
import pytest

from kernels.gemm.numba_gpu import gemm_numba_gpu

PROGRAM = """
import numpy as np
from kernels.gemm.numba_gpu import gemm_numba_gpu
from kernels.gemm.reference import gemm_reference, relative_error_fraction

random = np.random.default_rng(3)
for m, n, k in ((1, 1, 1), (9, 7, 11), (3, 2, 0), (0, 3, 2)):
    a = random.standard_normal((m, k)).astype(np.float32)
    b = random.standard_normal((k, n)).astype(np.float32)
    out = np.full((m, n), np.nan, dtype=np.float32)
    assert gemm_numba_gpu(a, b, out=out) is out
    assert relative_error_fraction(out, gemm_reference(a, b)) < 1e-5, (m, n, k)
"""


def test_the_simulated_kernel_agrees_with_float64(repository):
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(repository)}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr


def test_operands_that_do_not_fit_are_refused_before_a_device_is_looked_for():
    with pytest.raises(ValueError, match="with one k"):
        gemm_numba_gpu(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match="expected float32"):
        gemm_numba_gpu(np.zeros((2, 3)), np.zeros((3, 2)))
