"""Contests on a real GPU: every family has the project's kernel, checked, beside a library."""

from __future__ import annotations

import pytest

from kernels.backends import find_device
from kernels.benched.case import attention_case, gemm_case, operation_case, stream_case
from kernels.gpu.cupy_module import why_no_gpu
from kernels.survey.shapes import AttentionShape, GemmShape
from kernels.timing import RepeatPolicy

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(why_no_gpu() is not None, reason=str(why_no_gpu())),
]
HEADS = AttentionShape(batch=1, heads_q=4, heads_kv=2, seq=512, head_dim=128, is_causal=True)
CASES = (
    *(
        gemm_case(GemmShape(m=512, n=384, k=256, layout=layout), dtype="bf16")
        for layout in ("NN", "TN", "NT")
    ),
    gemm_case(GemmShape(m=512, n=384, k=256, layout="NN"), dtype="fp32"),
    *(attention_case(HEADS, direction=d, dtype="bf16") for d in ("fwd", "bwd")),
    *(
        operation_case(op, direction="fwd", dtype="bf16", rows=512, cols=1024)
        for op in ("rmsnorm", "layernorm", "swiglu", "gelu", "cross_entropy")
    ),
    operation_case("adamw", direction="fwd", dtype="fp32", rows=512, cols=1024),
    stream_case("copy", dtype="bf16", vector_bytes=2**22),
)


@pytest.fixture(scope="module")
def arena():
    from kernels.benched.device import DeviceArena

    return DeviceArena(find_device())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}{case.details.get('layout')}")
def test_the_projects_kernel_runs_and_is_right(arena, case):
    contest = arena.contest(case)
    assert "own" in contest.contenders, contest.absent
    policy = RepeatPolicy(n_warmup=1, n_min=3, n_max=3)
    samples = arena.measure(contest, tuple(contest.contenders), policy)
    assert all(found.timing.median_s > 0.0 for found in samples.values())
