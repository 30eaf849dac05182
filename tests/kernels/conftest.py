"""Kernels in Numba compiled for a device: it takes the extra cudacheck, and no device."""

from importlib.metadata import PackageNotFoundError, version

import pytest


@pytest.fixture(scope="session")
def numba_ptx():
    """Return a function that gives the PTX of a function for given types of arguments."""
    from numba import config, cuda

    if config.ENABLE_CUDASIM:
        pytest.skip("Numba's simulator compiles nothing")
    for package in ("numba-cuda", "nvidia-nvvm"):
        try:
            version(package)
        except PackageNotFoundError:
            pytest.skip(f"{package} of the extra cudacheck is not installed")

    def compiled(function, signature):
        # Unoptimised it takes half the time; memory that is declared and types are the same.
        return cuda.compile_ptx(function, signature, cc=(8, 0), opt=False)[0]

    return compiled
