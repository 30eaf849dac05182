"""How far is the project's own host GEMM from the BLAS that NumPy carries?

Run with ``pytest benches/bench_gemm.py``; each result line stands alone through `extra_info`.
"""

import numpy as np
import pytest

from kernels.backends import host_device
from kernels.gemm.cpu import blas_name, gemm_blas, gemm_numba, n_host_cores

SHAPES = [(256, 256, 256), (1024, 1024, 1024), (64, 4096, 1024), (1000, 1030, 517)]
PRODUCTS = {"numba": gemm_numba, "blas": gemm_blas}


@pytest.fixture(params=SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def shape(request):
    return request.param


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("library", PRODUCTS)
def test_gemm(benchmark, library, dtype, shape):
    m, n, k = shape
    random = np.random.default_rng(2718)
    a = random.standard_normal((m, k)).astype(dtype)
    b = random.standard_normal((k, n)).astype(dtype)
    out = np.empty((m, n), dtype=dtype)
    product = PRODUCTS[library]
    product(a, b, out=out)  # compiles, where there is something to compile
    benchmark.group = f"gemm {m}x{n}x{k} {dtype}"
    benchmark.extra_info.update(
        device=host_device().name,
        n_threads=n_host_cores(),
        library="numba" if library == "numba" else blas_name(),
        dtype=dtype,
        m=m,
        n=n,
        k=k,
        flop=2 * m * n * k,
        bytes=a.nbytes + b.nbytes + out.nbytes,
    )
    benchmark.pedantic(product, args=(a, b), kwargs={"out": out}, rounds=5, warmup_rounds=1)
