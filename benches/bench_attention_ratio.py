"""Is the fused kernel faster than the unfused form on one thread, at 16 Ki causal tokens?

CPU time of the process, both forms in turn within one run, so that what else runs on the machine
weighs on both. ``python benches/bench_attention_ratio.py`` prints the figures; under pytest they
stand in `extra_info`. The unfused form needs 1 GiB for its scores.
"""

import time

import numba
import numpy as np
import pytest

from kernels.attention.cpu import attention_numba, attention_unfused
from kernels.attention.mask import CAUSAL
from kernels.attention.work import attention_work
from kernels.backends import host_device
from kernels.gemm.cpu import blas_name, blas_threads
from kernels.gemm.reference import relative_error_fraction

LENGTH = 16_384
HEAD_DIMS = (64, 128)
FORMS = {"fused": attention_numba, "unfused": attention_unfused}


class OneThread:
    """Both forms on the same operands, timed in turn."""

    def __init__(self, head_dim):
        random = np.random.default_rng(2718)
        self.operands = tuple(random.standard_normal((3, 1, 1, LENGTH, head_dim)).astype("f4"))
        self.cpu_time_s = {name: [] for name in FORMS}
        self.out = {}
        attention_numba(*(operand[:, :, :8] for operand in self.operands), mask=CAUSAL)  # compiles

    def round(self):
        before = numba.get_num_threads()
        numba.set_num_threads(1)
        try:
            with blas_threads(1):
                for name, form in FORMS.items():
                    start_s = time.process_time()
                    result = form(*self.operands, mask=CAUSAL)
                    self.cpu_time_s[name].append(time.process_time() - start_s)
                    self.out[name] = result if name == "unfused" else result.out
        finally:
            numba.set_num_threads(before)

    def figures(self):
        q, k, _ = self.operands
        flop = attention_work(q, k, direction="forward", mask=CAUSAL).flop
        fused_s, unfused_s = (min(self.cpu_time_s[name]) for name in ("fused", "unfused"))
        return {
            "fused_cpu_time_s": fused_s,
            "unfused_cpu_time_s": unfused_s,
            "speed_up_ratio": unfused_s / fused_s,
            "fused_flop_per_s": flop / fused_s,
            "difference_fraction": relative_error_fraction(self.out["fused"], self.out["unfused"]),
        }


@pytest.mark.parametrize("head_dim", HEAD_DIMS)
def test_fused_against_unfused(benchmark, head_dim):
    pair = OneThread(head_dim)
    benchmark.group = f"attention {LENGTH} causal, both forms in turn"
    benchmark.pedantic(pair.round, rounds=2)
    benchmark.extra_info.update(
        device=host_device().name,
        n_threads=1,
        library=f"numba and {blas_name()}",
        dtype="float32",
        head_dim=head_dim,
        query_len=LENGTH,
        key_len=LENGTH,
        **pair.figures(),
    )


if __name__ == "__main__":
    for size in HEAD_DIMS:
        both = OneThread(size)
        for _ in range(5):
            both.round()
        print(f"head_dim {size}:", {name: f"{x:.3g}" for name, x in both.figures().items()})
