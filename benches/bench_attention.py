"""How fast is the project's own attention on the host, and how fast the unfused form in NumPy?

Run with ``pytest benches/bench_attention.py``; each result line stands alone through `extra_info`.
"""

import numpy as np
import pytest

from kernels.attention.cpu import attention_backward_numba, attention_numba, attention_unfused
from kernels.attention.mask import CAUSAL, FULL, Mask
from kernels.attention.work import attention_work
from kernels.backends import host_device
from kernels.gemm.cpu import blas_name, n_host_cores

# Batch, heads, kv heads, length, head dim, mask: layers of small models, at sizes of a few seconds.
SHAPES = {
    "heads-of-64": (1, 4, 4, 1024, 64, CAUSAL),
    "grouped-heads-of-128": (1, 8, 2, 1024, 128, CAUSAL),
    "bidirectional": (4, 4, 4, 512, 64, FULL),
    "window-of-512": (1, 2, 1, 4096, 128, Mask(is_causal=True, window=512)),
}
CASES = [("numba", "forward"), ("numba", "backward"), ("numpy-unfused", "forward")]


@pytest.fixture(params=SHAPES)
def call(request):
    batch, heads, kv_heads, length, head_dim, mask = SHAPES[request.param]
    random = np.random.default_rng(2718)
    q, gradient = random.standard_normal((2, batch, heads, length, head_dim)).astype("f4")
    k, v = random.standard_normal((2, batch, kv_heads, length, head_dim)).astype("f4")
    return request.param, q, k, v, gradient, mask


@pytest.mark.parametrize(("library", "direction"), CASES, ids=lambda case: case)
def test_attention(benchmark, library, direction, call):
    name, q, k, v, gradient, mask = call
    run = {"numba": attention_numba, "numpy-unfused": attention_unfused}[library]
    operands = (q, k, v)
    if direction == "backward":
        operands = (*operands, attention_numba(q, k, v, mask=mask), gradient)
        run = attention_backward_numba
    work = attention_work(q, k, direction=direction, mask=mask)
    benchmark.group = f"attention {name} {direction} {q.dtype}"
    benchmark.extra_info.update(
        device=host_device().name,
        n_threads=n_host_cores(),
        library=library if library == "numba" else f"{library} on {blas_name()}",
        dtype=str(q.dtype),
        batch=q.shape[0],
        heads=q.shape[1],
        kv_heads=k.shape[1],
        head_dim=q.shape[3],
        query_len=q.shape[2],
        key_len=k.shape[2],
        causal=mask.is_causal,
        window=mask.window,
        direction=direction,
        flop=work.flop,
        bytes=work.traffic_bytes,
    )
    benchmark.pedantic(run, args=operands, kwargs={"mask": mask}, rounds=3, warmup_rounds=1)
