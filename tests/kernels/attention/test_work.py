"""Work and traffic of attention, counted by hand."""

import numpy as np

from kernels.attention.mask import CAUSAL, Mask
from kernels.attention.work import attention_work


def test_full_attention_counts_every_pair():
    q, k = np.zeros((2, 6, 5, 4), "f4"), np.zeros((2, 3, 7, 4), "f4")
    forward = attention_work(q, k, direction="forward")
    assert forward.flop == 2 * 2 * (2 * 6) * 5 * 7 * 4
    # q and out; k and v; one logarithm per query.
    assert forward.traffic_bytes == 4 * (2 * 2 * 6 * 5 * 4 + 2 * 2 * 3 * 7 * 4 + 2 * 6 * 5)
    backward = attention_work(q, k, direction="backward")
    assert backward.flop == 5 * forward.flop // 2
    assert backward.traffic_bytes == 4 * (4 * 2 * 6 * 5 * 4 + 4 * 2 * 3 * 7 * 4 + 2 * 6 * 5)


def test_masks_leave_the_pairs_that_they_show():
    q = np.zeros((1, 1, 8, 1))
    assert attention_work(q, q, direction="forward", mask=CAUSAL).flop == 4 * 8 * 9 // 2
    window = Mask(is_causal=True, window=2)
    assert attention_work(q, q, direction="forward", mask=window).flop == 4 * 15


def test_nothing_takes_no_work():
    q, k = np.zeros((1, 1, 0, 4)), np.zeros((1, 1, 3, 4))
    assert attention_work(q, k, direction="backward").flop == 0
