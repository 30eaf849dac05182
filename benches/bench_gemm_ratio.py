"""How much of NumPy's BLAS does the package's own GEMM reach on one thread?

Thread CPU time, both in turn within one run, so that what else runs on the machine weighs on both.
The BLAS is told by `blas_threads` to use one thread, Numba by `set_num_threads`.
``python benches/bench_gemm_ratio.py`` prints the figures; under pytest they stand in `extra_info`.
"""

import time

import numba
import numpy as np
import pytest

from kernels.backends import host_device
from kernels.gemm.cpu import blas_name, blas_threads, gemm_blas, gemm_numba
from kernels.gemm.reference import relative_error_fraction

SIZE = 2048
N_ROUNDS = 7
PRODUCTS = {"numba": gemm_numba, "blas": gemm_blas}


class OneThread:
    """Both products of the same operands, timed in turn."""

    def __init__(self, dtype, sizes=(SIZE, SIZE, SIZE), transposed=""):
        self.m, self.n, self.k = sizes
        random = np.random.default_rng(2718)
        a_shape = (self.k, self.m) if "a" in transposed else (self.m, self.k)
        b_shape = (self.n, self.k) if "b" in transposed else (self.k, self.n)
        self.a = random.standard_normal(a_shape).astype(dtype)
        self.b = random.standard_normal(b_shape).astype(dtype)
        self.transposed = transposed
        self.out = {name: np.empty((self.m, self.n), dtype) for name in PRODUCTS}
        self.cpu_time_s = {name: [] for name in PRODUCTS}
        gemm_numba(self.a[:2, :2], self.b[:2, :2])  # compiles

    def round(self):
        before = numba.get_num_threads()
        numba.set_num_threads(1)
        try:
            with blas_threads(1):
                for name, product in PRODUCTS.items():
                    # Of all threads of the process: a pool may leave the work to another one.
                    start_s = time.process_time()
                    product(self.a, self.b, out=self.out[name], transposed=self.transposed)
                    self.cpu_time_s[name].append(time.process_time() - start_s)
        finally:
            numba.set_num_threads(before)

    def figures(self):
        flop = 2 * self.m * self.n * self.k
        numba_s, blas_s = (np.array(self.cpu_time_s[name]) for name in PRODUCTS)
        return {
            "numba_cpu_time_s": float(numba_s.min()),
            "blas_cpu_time_s": float(blas_s.min()),
            "numba_flop_per_s": flop / float(numba_s.min()),
            "blas_flop_per_s": flop / float(blas_s.min()),
            "blas_ratio": float(blas_s.min() / numba_s.min()),
            "median_blas_ratio": float(np.median(blas_s / numba_s)),
            "difference_fraction": relative_error_fraction(self.out["numba"], self.out["blas"]),
        }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numba_against_blas(benchmark, dtype):
    pair = OneThread(dtype)
    benchmark.group = f"gemm {SIZE}^3, own kernel and BLAS in turn"
    benchmark.pedantic(pair.round, rounds=N_ROUNDS)
    benchmark.extra_info.update(
        device=host_device().name,
        n_threads=1,
        library=f"numba and {blas_name()}",
        dtype=dtype,
        m=pair.m,
        n=pair.n,
        k=pair.k,
        **pair.figures(),
    )


if __name__ == "__main__":
    for kind in ("float32", "float64"):
        for layout in ("", "a", "b"):
            both = OneThread(kind, transposed=layout)
            for _ in range(N_ROUNDS):
                both.round()
            print(
                f"{kind} {SIZE}^3, transposed {layout!r}:",
                {name: f"{x:.3g}" for name, x in both.figures().items()},
                flush=True,
            )
