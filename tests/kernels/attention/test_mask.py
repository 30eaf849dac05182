"""Truths about masks, from the definition of what a query sees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.attention.mask import CAUSAL, FULL, Mask

LENGTHS = st.integers(0, 12)


@given(LENGTHS, LENGTHS, st.booleans(), st.none() | st.integers(1, 15))
def test_a_query_sees_keys_by_their_distance_from_its_position(
    query_len, key_len, is_causal, window
):
    seen = Mask(is_causal=is_causal, window=window).visible(query_len, key_len)
    for i in range(query_len):
        for j in range(key_len):
            distance = j - (i + key_len - query_len)
            is_hidden = (is_causal and distance > 0) or (
                window is not None and abs(distance) >= window
            )
            assert seen[i, j] == (not is_hidden)


@given(LENGTHS, LENGTHS, st.booleans(), st.none() | st.integers(1, 15))
def test_visible_pairs_are_those_of_the_matrix(query_len, key_len, is_causal, window):
    mask = Mask(is_causal=is_causal, window=window)
    assert mask.n_visible_pairs(query_len, key_len) == mask.visible(query_len, key_len).sum()


def test_the_last_query_stands_at_the_last_key():
    assert CAUSAL.visible(2, 5).tolist() == [
        [True, True, True, True, False],
        [True, True, True, True, True],
    ]
    assert CAUSAL.visible(3, 1).tolist() == [[False], [False], [True]]


def test_full_hides_nothing():
    assert FULL.n_visible_pairs(7, 9) == 63


def test_a_window_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"window=0: expected at least 1"):
        Mask(window=0)
