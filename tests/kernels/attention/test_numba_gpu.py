"""The portable device kernel in Numba's simulator, in a process of its own.

The simulator is chosen when Numba is first imported, and it runs each thread as a Python thread:
the shapes have two blocks of 32 rows at most. It knows no limit on shared memory, so that the
kernels are also compiled for a device, which needs none.
"""

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from numba import types

from kernels.attention import numba_gpu
from kernels.attention.operands import Result
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
    ((1, 1, 18, 256), (1, 1, 17, 256), Mask(is_causal=True, window=3)),
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

# One, two, minus a half and three, as bfloat16.
bits = np.array([0x3F80, 0x4000, 0xBF00, 0x4040], np.uint16).reshape(1, 1, 2, 2)
floats = np.array([1, 2, -0.5, 3], np.float32).reshape(1, 1, 2, 2)
result, truth = attention_numba_gpu(bits, bits, bits), attention_numba_gpu(floats, floats, floats)
np.testing.assert_array_equal(result.out, truth.out)
found = attention_backward_numba_gpu(bits, bits, bits, result, bits)
expected = attention_backward_numba_gpu(floats, floats, floats, truth, floats)
for one, other in zip(found, expected, strict=True):
    np.testing.assert_array_equal(one, other)
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
    monkeypatch.setattr(numba_gpu, "_build_forward", lambda _head_dim, _n_rows: None)
    x = np.ones((1, 1, 3, 2), np.float32)
    with pytest.raises(BackendError, match="NUMBA_ENABLE_CUDASIM=1 simulates one"):
        numba_gpu.attention_numba_gpu(x, x, x)


@pytest.mark.parametrize("kind", ["int32", "bool", "complex64"])
def test_operands_that_are_no_floats_are_refused_by_name(kind):
    x = np.ones((1, 1, 3, 2), np.float32)
    with pytest.raises(ValueError, match=rf"^k: type {kind}; expected uint16 .*float64$"):
        numba_gpu.attention_numba_gpu(x, x.astype(kind), x)
    result = Result(x, x[..., 0])
    with pytest.raises(ValueError, match=rf"^gradient: type {kind}; expected uint16 .*float64$"):
        numba_gpu.attention_backward_numba_gpu(x, x, x, result, x.astype(kind))


def test_heads_too_wide_for_shared_memory_are_refused_in_one_line():
    x = np.ones((1, 1, 1, 6145), np.float32)
    with pytest.raises(ValueError, match=r"^head_dim 6145: expected at most 6144"):
        numba_gpu.attention_numba_gpu(x, x, x)


@pytest.mark.parametrize("head_dim", [64, 128, 256])
@pytest.mark.parametrize("name", ["forward", "by_query", "by_key"])
def test_what_a_kernel_declares_fits_into_static_shared_memory(numba_ptx, name, head_dim):
    four, three = types.float32[:, :, :, ::1], types.float32[:, :, ::1]
    inputs, outputs = {
        "forward": ((four,) * 3, (four, three)),
        "by_query": ((four,) * 4 + (three,) * 2, (four,)),
        "by_key": ((four,) * 4 + (three,) * 2, (four, four)),
    }[name]
    limits = (types.int64, types.int64, types.float32)
    signature = tuple(types.Tuple(each) for each in (inputs, outputs, limits))
    build = getattr(numba_gpu, f"_build_{name}")
    kernel = build(head_dim, numba_gpu.tile_rows(head_dim)).py_func
    ptx = numba_ptx(kernel, signature)
    declared = [int(n_bytes) for n_bytes in re.findall(r"\.shared .*\.b8 \w+\[(\d+)\];", ptx)]
    assert len(declared) == 2
    assert sum(declared) <= 48 * 1024
