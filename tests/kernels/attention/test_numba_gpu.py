"""The portable device kernel in Numba's simulator, in a process of its own.

The simulator is chosen when Numba is first imported, and it runs each thread as a Python thread:
the shapes have two blocks of 32 rows at most.
"""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from kernels.attention import numba_gpu
from kernels.backends import BackendError

PROGRAM = """
import numpy as np
from kernels.attention.mask import CAUSAL, FULL, Mask
from kernels.attention.numba_gpu import attention_backward_numba_gpu, attention_numba_gpu
from kernels.attention.reference import attention_backward_reference, attention_reference
from kernels.gemm.reference import relative_error_fraction

CASES = [
    ((1, 2, 36, 3), (1, 1, 33, 3), CAUSAL),
    ((1, 1, 3, 2), (1, 1, 37, 2), Mask(is_causal=True, window=6)),
    ((2, 1, 4, 2), (2, 1, 3, 2), FULL),
]
random = np.random.default_rng(7)
for of_query, of_key, mask in CASES:
    q, gradient = random.standard_normal((2, *of_query)).astype("f4")
    k, v = random.standard_normal((2, *of_key)).astype("f4")
    result, truth = attention_numba_gpu(q, k, v, mask=mask), attention_reference(q, k, v, mask=mask)
    assert relative_error_fraction(result.out, truth.out) < 1e-5, mask
    np.testing.assert_allclose(result.lse, truth.lse, rtol=1e-5, atol=1e-5)
    found = attention_backward_numba_gpu(q, k, v, result, gradient, mask=mask)
    expected = attention_backward_reference(q, k, v, gradient, mask=mask)
    for one, other in zip(found, expected, strict=True):
        assert relative_error_fraction(one, other) < 1e-5, mask
"""


def test_the_device_kernel_agrees_with_the_oracle_in_the_simulator(repository):
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(repository)}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr


def test_one_line_says_that_there_is_no_device(monkeypatch):
    monkeypatch.setattr(numba_gpu, "cuda", SimpleNamespace(is_available=lambda: False))
    monkeypatch.setattr(numba_gpu, "_build_forward", lambda _head_dim: None)
    x = np.ones((1, 1, 3, 2), np.float32)
    with pytest.raises(BackendError, match="NUMBA_ENABLE_CUDASIM=1 simulates one"):
        numba_gpu.attention_numba_gpu(x, x, x)
