"""Compiled host kernels are kept on disk, and forgotten when what they call has changed."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

from kernels.compiled_code import forget_older_code
from kernels.memory_bound.cpu_cross_entropy import cross_entropy_numba

HOST_MODULES = (
    "kernels.attention.host_backward",
    "kernels.attention.host_forward",
    "kernels.gemm.host_product",
    "kernels.memory_bound.host_activations",
    "kernels.memory_bound.host_cross_entropy",
    "kernels.memory_bound.host_norms",
)
CALL = """
import numpy as np
from kernels.memory_bound.cpu_cross_entropy import cross_entropy_numba
from kernels.memory_bound.host_cross_entropy import forward

cross_entropy_numba(np.ones((4, 4), np.float32), np.zeros(4, int))
print(sum(forward.stats.cache_hits.values()), sum(forward.stats.cache_misses.values()))
"""


def test_a_second_process_compiles_nothing():
    cross_entropy_numba(np.ones((4, 4), np.float32), np.zeros(4, int))
    found = subprocess.run([sys.executable, "-c", CALL], check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["1", "0"]


@pytest.mark.parametrize("name", HOST_MODULES)
def test_no_kernel_is_a_closure_which_the_disk_cache_would_never_find_again(name):
    module = importlib.import_module(name)
    kernels = [value for value in vars(module).values() if isinstance(value, Dispatcher)]
    assert kernels
    for kernel in kernels:
        assert kernel.py_func.__closure__ is None
        assert kernel.stats.cache_path is not None


@pytest.fixture
def module(tmp_path):
    """A kernel of caller.py with compiled code, and a module that it calls."""
    called, index = tmp_path / "called.py", tmp_path / "caller.kernel-1.py311.nbi"
    other = tmp_path / "other.kernel-1.py311.nbi"
    for path in (called, index, other):
        path.write_text("")
        os.utime(path, (1000, 1000))
    code = SimpleNamespace(co_filename=str(tmp_path / "caller.py"))
    kernel = SimpleNamespace(
        stats=SimpleNamespace(cache_path=str(tmp_path)), py_func=SimpleNamespace(__code__=code)
    )
    return kernel, SimpleNamespace(__file__=str(called)), index, other


def test_code_is_forgotten_when_what_it_calls_is_newer(module):
    kernel, called, index, other = module
    forget_older_code(kernel, called)
    assert index.exists()
    os.utime(Path(called.__file__), (2000, 2000))
    forget_older_code(kernel, called)
    assert not index.exists()
    assert other.exists()
