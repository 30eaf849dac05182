"""One shot or two: what the model says of ranks that read each other's memory."""

from __future__ import annotations

import importlib.util
import math

import pytest

from kernels.all_reduce.model import (
    PeerLimits,
    PeerMachine,
    one_shot_time_s,
    peer_limits,
    two_shot_time_s,
)
from kernels.all_reduce.peer_limits import limits_of_device
from kernels.all_reduce.peer_model import one_shot_limit_bytes

MACHINE = PeerMachine(meeting_s=4e-6, meeting_per_rank_s=1e-7, bandwidth_bytes_per_s=3e11)
H100 = "NVIDIA H100 80GB HBM3"
ROOM_BYTES = 2.0**24


@pytest.mark.parametrize("n_ranks", [3, 4, 8])
def test_both_take_the_same_time_at_the_limit_and_one_shot_less_below(n_ranks):
    limit_bytes = one_shot_limit_bytes(n_ranks, MACHINE)
    at_limit = (one_shot_time_s(limit_bytes, n_ranks, MACHINE),)
    assert at_limit == pytest.approx((two_shot_time_s(limit_bytes, n_ranks, MACHINE),))
    for share, is_one in ((0.5, True), (2.0, False)):
        own = [
            time_s(share * limit_bytes, n_ranks, MACHINE)
            for time_s in (one_shot_time_s, two_shot_time_s)
        ]
        assert (own[0] < own[1]) == is_one


def test_two_ranks_never_gain_by_a_second_shot():
    assert math.isinf(one_shot_limit_bytes(2, MACHINE))
    for message_bytes in (1e3, 1e6, 1e9):
        one, two = (f(message_bytes, 2, MACHINE) for f in (one_shot_time_s, two_shot_time_s))
        assert one < two


def test_more_ranks_and_faster_meetings_leave_less_to_one_shot():
    assert one_shot_limit_bytes(8, MACHINE) < one_shot_limit_bytes(4, MACHINE)
    fast = MACHINE._replace(meeting_s=1e-6)
    assert one_shot_limit_bytes(8, fast) < one_shot_limit_bytes(8, MACHINE)


def test_the_vendor_takes_over_where_it_is_predicted_to_be_faster():
    def vendor_s(message_bytes):
        return 2e-5 + message_bytes / 4e11

    limits = peer_limits(8, MACHINE, vendor_s, most_bytes=ROOM_BYTES)
    assert limits.one_shot_bytes == one_shot_limit_bytes(8, MACHINE)
    assert two_shot_time_s(limits.peer_bytes, 8, MACHINE) <= vendor_s(limits.peer_bytes)
    above = limits.peer_bytes * 1.5
    assert two_shot_time_s(above, 8, MACHINE) > vendor_s(above)
    names = [limits.algorithm(size) for size in (1.0, limits.peer_bytes, above)]
    assert names == ["one_shot", "two_shot", "vendor"]
    assert peer_limits(8, MACHINE, lambda _b: 1.0, most_bytes=5e5).peer_bytes == 5e5
    assert peer_limits(8, MACHINE, lambda _b: 0.0, most_bytes=5e5) == PeerLimits(0.0, 0.0)


def test_limits_of_an_h100_are_near_those_that_vllm_found_by_trial():
    """256 KiB for eight ranks and 512 KiB for four (vllm, csrc/custom_all_reduce.cuh)."""
    eight, four = (limits_of_device(H100, n, most_bytes=ROOM_BYTES) for n in (8, 4))
    assert eight.one_shot_bytes == pytest.approx(2**18, rel=0.5)
    assert four.one_shot_bytes == pytest.approx(2**19, rel=0.75)
    assert 2**22 < eight.peer_bytes < ROOM_BYTES


def test_a_device_without_a_profile_has_the_assumed_limits(monkeypatch):
    unknown = limits_of_device("a GPU that nobody knows", 4, most_bytes=ROOM_BYTES)
    assert unknown == PeerLimits(2.0**19, 2.0**23)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert limits_of_device(H100, 4, most_bytes=ROOM_BYTES) == unknown
