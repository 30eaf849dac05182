"""Contests on the host: who runs, on which threads, and that results are right."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.benched.case import attention_case, gemm_case, operation_case, stream_case
from kernels.benched.contender import COPY, n_operand_sets
from kernels.benched.host import HostArena, HostArenaError, random_array
from kernels.survey.shapes import AttentionShape, GemmShape
from kernels.timing import RepeatPolicy

POLICY = RepeatPolicy(n_warmup=1, n_min=3, n_max=3, n_inner_max=1)
HEADS = AttentionShape(batch=1, heads_q=2, heads_kv=1, seq=16, head_dim=8, is_causal=True)


@pytest.fixture(scope="module")
def arena():
    return HostArena(n_threads=1)


@pytest.mark.parametrize("layout", ["NN", "TN", "NT"])
def test_both_products_are_the_same(arena, layout):
    shape = GemmShape(m=8, n=12, k=6, layout=layout)
    contest = arena.contest(gemm_case(shape, dtype="fp32"))
    found = [np.array(contest.contenders[name].call(0)) for name in ("numba", "blas")]
    assert found[0].shape == (8, 12)
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-5)
    samples = arena.measure(contest, ("numba", "blas"), POLICY)
    assert all(len(one.times_s) == 3 for one in samples.values())


def test_one_thread_says_so_and_is_timed_by_cpu_time(arena):
    contest = arena.contest(gemm_case(GemmShape(m=4, n=4, k=4, layout="NN"), dtype="fp64"))
    assert all(one.library.endswith("threads1") for one in contest.contenders.values())
    assert arena.clock == "CPU time of the process"
    with pytest.raises(HostArenaError, match="--threads 999: expected 1 to"):
        HostArena(n_threads=999)


@pytest.mark.parametrize(
    ("direction", "names"), [("fwd", {"numba", "unfused"}), ("bwd", {"numba"})]
)
def test_attention(arena, direction, names):
    contest = arena.contest(attention_case(HEADS, direction=direction, dtype="fp32"))
    assert names <= set(contest.contenders)
    if direction == "fwd":
        fused, unfused = (contest.contenders[name].call(0) for name in ("numba", "unfused"))
        np.testing.assert_allclose(fused.out, unfused, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("op", ["swiglu", "adamw"])
def test_operations_have_a_copy_beside_them(arena, monkeypatch, op):
    case = operation_case(op, direction="fwd", dtype="fp32", rows=4, cols=16)
    contest = arena.contest(case)
    assert {"numba", COPY} <= set(contest.contenders)
    assert contest.copy_bytes > 0
    contest.contenders["numba"].call(0)


def test_streams(arena):
    contest = arena.contest(stream_case("triad", dtype="fp64", vector_bytes=2**12))
    for contender in contest.contenders.values():
        contender.call(1)


def test_operands_rotate_beyond_the_cache_within_their_room():
    known = {"cache_bytes": 2**20, "room_bytes": 2**24, "n_max": 64}
    assert n_operand_sets(2**18, **known) == 14
    assert n_operand_sets(2**10, **known) == 64
    assert n_operand_sets(2**23, **known) == 2
    assert n_operand_sets(2**26, **known) == 1


def test_large_operands_repeat_their_values():
    values = random_array((2048, 1024), "fp64")
    assert values.dtype == np.float64
    assert values[0, 0] == values[1024, 0]
    assert abs(values.std() - 1.0) < 0.01
