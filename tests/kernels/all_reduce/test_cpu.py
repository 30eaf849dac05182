"""Collectives of real processes against the float64 oracle."""

from contextlib import ExitStack

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.all_reduce import cpu_algorithms
from kernels.all_reduce.cpu import RankError, RankGroup
from kernels.all_reduce.cpu_algorithms import ALGORITHMS
from kernels.all_reduce.reference import OPERATIONS, collective_reference

N_RANKS = (1, 2, 3, 4)
MAX_BYTES = 2**21
EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52}
# Fewer elements than ranks, one element, odd lengths, and slices of each kind: one, one and a
# bit, and several in every shard.
LENGTHS = [1, 2, 3, 5, 8, 1000, 65_537, 200_003]
SLICE_BYTES = 2**17


@pytest.fixture(scope="module")
def groups():
    """One group per number of ranks; slices are short, so that vectors of a test have several."""
    before, cpu_algorithms.SLICE_BYTES = cpu_algorithms.SLICE_BYTES, SLICE_BYTES
    with ExitStack() as stack:
        yield {
            n_ranks: stack.enter_context(
                RankGroup(n_ranks, max_bytes=MAX_BYTES, start_method="fork")
            )
            for n_ranks in N_RANKS
        }
    cpu_algorithms.SLICE_BYTES = before


def vectors(n_ranks, length, dtype, seed=0):
    random = np.random.default_rng([seed, n_ranks, length])
    return [random.standard_normal(length).astype(dtype) for _ in range(n_ranks)]


def assert_agree(results, truth, *, dtype, inputs):
    """Moves are exact; a sum of n terms is off by at most n-1 roundings of the sum of sizes."""
    assert len(results) == len(truth)
    bound = (len(inputs) - 1) * EPSILON[dtype] * float(np.sum(np.abs(inputs), axis=0).max())
    for result, expected in zip(results, truth, strict=True):
        assert result.dtype == dtype
        assert result.shape == expected.shape
        assert np.all(np.abs(result - expected) <= bound)  # false for a NaN left from before


@pytest.mark.parametrize("n_ranks", N_RANKS)
@pytest.mark.parametrize(("operation", "algorithm"), ALGORITHMS)
def test_every_algorithm_agrees_with_the_oracle(groups, operation, algorithm, n_ranks):
    for dtype in EPSILON:
        for length in LENGTHS:
            if operation == "all_gather" and length * n_ranks * 8 > MAX_BYTES:
                continue
            inputs = vectors(n_ranks, length, dtype)
            results = groups[n_ranks].run(operation, algorithm=algorithm, inputs=inputs)
            truth = collective_reference(operation, inputs)
            assert_agree(results, truth, dtype=dtype, inputs=inputs)


@pytest.mark.parametrize(("operation", "algorithm"), ALGORITHMS)
def test_operations_that_only_move_are_exact_and_no_input_is_touched(groups, operation, algorithm):
    inputs = vectors(3, 1001, "float32")
    kept = [vector.copy() for vector in inputs]
    results = groups[3].run(operation, algorithm=algorithm, inputs=inputs)
    assert np.array_equal(inputs, kept)
    if "reduce" not in operation:
        for result, expected in zip(results, collective_reference(operation, kept), strict=True):
            assert np.array_equal(result, expected)


@pytest.mark.parametrize("algorithm", ["ring", "tree"])
@pytest.mark.parametrize("n_ranks", N_RANKS)
def test_all_ranks_hold_the_same_sum_to_the_last_bit(groups, algorithm, n_ranks):
    inputs = vectors(n_ranks, 70_001, "float32")
    first, *others = groups[n_ranks].run("all_reduce", algorithm=algorithm, inputs=inputs)
    assert all(np.array_equal(first, other) for other in others)


@settings(max_examples=15)
@given(
    n_ranks=st.sampled_from(N_RANKS),
    length=st.integers(1, 40),
    algorithm=st.sampled_from(["ring", "tree"]),
    seed=st.integers(0, 99),
)
def test_an_all_reduce_neither_makes_nor_loses_anything(groups, n_ranks, length, algorithm, seed):
    """Whole numbers have exact sums, so that nothing hides behind rounding."""
    random = np.random.default_rng(seed)
    inputs = [random.integers(-1000, 1000, length).astype("float64") for _ in range(n_ranks)]
    results = groups[n_ranks].run("all_reduce", algorithm=algorithm, inputs=inputs)
    assert sum(map(np.sum, results)) == n_ranks * sum(map(np.sum, inputs))


@settings(max_examples=15)
@given(
    operation=st.sampled_from(["all_to_all", "point_to_point", "reduce_scatter"]),
    n_ranks=st.sampled_from(N_RANKS),
    length=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_what_is_exchanged_or_scattered_adds_up(groups, operation, n_ranks, length, seed):
    random = np.random.default_rng(seed)
    inputs = [random.integers(-1000, 1000, length).astype("float64") for _ in range(n_ranks)]
    results = groups[n_ranks].run(operation, inputs=inputs)
    assert sum(map(np.sum, results)) == sum(map(np.sum, inputs))
    if operation != "reduce_scatter":
        assert sorted(np.concatenate(results)) == sorted(np.concatenate(inputs))


def test_scattering_then_gathering_is_an_all_reduce(groups):
    inputs = vectors(4, 4096, "float64")
    shards = groups[4].run("reduce_scatter", inputs=inputs)
    gathered = groups[4].run("all_gather", inputs=shards)
    assert np.array_equal(gathered, groups[4].run("all_reduce", algorithm="ring", inputs=inputs))


def test_every_operation_of_the_oracle_has_an_algorithm():
    assert {operation for operation, _ in ALGORITHMS} == set(OPERATIONS)


@pytest.mark.parametrize(("operation", "algorithm"), ALGORITHMS)
def test_times_come_round_by_round_with_the_message_as_nccl_tests_counts_it(
    groups, operation, algorithm
):
    times = groups[3].time(
        operation, algorithm=algorithm, message_bytes=10_000, dtype="float64", n_rounds=4
    )
    assert len(times.times_s) == 4
    assert min(times.times_s) > 0
    assert times.message_bytes == (9_984 if operation == "all_gather" else 10_000)
    assert times.algorithm_bandwidth_bytes_per_s == times.message_bytes / times.median_s
    share = {"all_reduce": 4 / 3, "point_to_point": 1.0}.get(operation, 2 / 3)
    expected = share * times.algorithm_bandwidth_bytes_per_s
    assert times.bus_bandwidth_bytes_per_s == pytest.approx(expected)


def test_a_group_still_works_after_a_refusal(groups):
    with pytest.raises(RankError, match="do not fit into max_bytes"):
        groups[2].run("all_reduce", inputs=vectors(2, MAX_BYTES, "float32"))
    assert groups[2].run("all_reduce", inputs=vectors(2, 3, "float32"))[0].shape == (3,)


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda g: g.run("sort", inputs=vectors(2, 1, "float32")), "all_reduce by tree"),
        (
            lambda g: g.run("all_gather", algorithm="tree", inputs=vectors(2, 1, "float32")),
            "'tree'",
        ),
        (lambda g: g.run("all_reduce", inputs=vectors(3, 1, "float32")), "expected 2 vectors"),
        (lambda g: g.run("all_reduce", inputs=[np.zeros(2), np.zeros(3)]), r"float64\[2\]"),
        (lambda g: g.run("all_reduce", inputs=[np.zeros(2, "i4")] * 2), "float32 or float64"),
        (lambda g: g.time("all_reduce", message_bytes=3), "message_bytes=3"),
        (lambda g: g.time("all_gather", message_bytes=7), "expected 8 bytes or more"),
        (lambda g: g.time("all_reduce", message_bytes=8, n_rounds=0), "n_rounds=0"),
        (lambda g: g.time("all_reduce", message_bytes=8, dtype="int8"), "'int8' is not summed"),
        (lambda g: g.time("all_reduce", message_bytes=2**30), "do not fit"),
        (lambda g: RankGroup(0, max_bytes=1), "n_ranks=0"),
        (lambda g: RankGroup(2, max_bytes=1).run("all_reduce", inputs=[]), "not open"),
        (lambda g: RankGroup(2, max_bytes=2**50).__enter__(), "ranks need"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(groups, call, what):
    with pytest.raises(RankError, match=what) as caught:
        call(groups[2])
    assert "\n" not in str(caught.value)
