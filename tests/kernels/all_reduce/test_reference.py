"""The oracle itself, on vectors that a reader can follow."""

import numpy as np
import pytest

from kernels.all_reduce.reference import collective_reference

VECTORS = [np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 30.0])]


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("all_reduce", [[11, 22, 33], [11, 22, 33]]),
        ("all_gather", [[1, 2, 3, 10, 20, 30], [1, 2, 3, 10, 20, 30]]),
        ("reduce_scatter", [[11, 22], [33]]),
        ("all_to_all", [[1, 2, 10, 20], [3, 30]]),
        ("point_to_point", [[10, 20, 30], [1, 2, 3]]),
    ],
)
def test_two_ranks(operation, expected):
    assert [vector.tolist() for vector in collective_reference(operation, VECTORS)] == expected


def test_an_all_gather_of_shards_of_a_sum_is_an_all_reduce():
    vectors = [np.arange(8.0) * (rank + 1) for rank in range(4)]
    shards = collective_reference("reduce_scatter", vectors)
    gathered = collective_reference("all_gather", shards)
    assert np.array_equal(gathered, collective_reference("all_reduce", vectors))


def test_exchanging_twice_gives_everybody_its_own_back():
    vectors = [np.arange(6.0) + 10 * rank for rank in range(3)]
    once = collective_reference("all_to_all", vectors)
    assert np.array_equal(collective_reference("all_to_all", once), vectors)


def test_sums_are_in_double_precision():
    vectors = [np.full(1, 0.1, dtype=np.float32)] * 1000
    total = collective_reference("all_reduce", vectors)[0]
    assert total.dtype == np.float64
    assert total[0] == pytest.approx(1000 * float(np.float32(0.1)), rel=1e-13)


@pytest.mark.parametrize(
    ("operation", "vectors", "what"),
    [
        ("broadcast", VECTORS, "'broadcast' is unknown; expected all_reduce"),
        ("all_reduce", [], "expected one vector per rank"),
        ("all_reduce", [np.zeros(2), np.zeros(3)], "all of one length"),
        ("all_reduce", [np.zeros((2, 2))], "expected one vector per rank"),
    ],
)
def test_what_has_no_meaning_is_refused(operation, vectors, what):
    with pytest.raises(ValueError, match=what):
        collective_reference(operation, vectors)
