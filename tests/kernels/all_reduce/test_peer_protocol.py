"""The signals of `peers.h` in every order that there is, for few ranks and calls.

A rank is a list of steps. A write and a read each take two, between which others may do anything; a
signal is sent in one step and arrives at any later time. Every state that can be reached is
visited: nobody may ever read what is being written or belongs to another call, and somebody can
always go on until all are done. The same search finds what is wrong where one thing is left out.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import pytest

INPUTS_READY, SHARDS_READY, INPUTS_READ, STEPS = 1, 2, 3, 4
KINDS = ("one_shot", "two_shot", "direct")
TORN = -1


class Protocol(NamedTuple):
    """What the kernels do, or what a faulty one would."""

    n_halves: int = 2
    has_second_meeting: bool = True
    has_ending: bool = True
    waits_for_equality: bool = False


class Step(NamedTuple):
    """Write, read or wait of a rank, or a signal to one peer."""

    what: str
    place: object
    """Buffer that is written or read, or number of the peer among the others."""
    number: int
    """Call that wrote the buffer, or value of the signal."""


def meeting(n_peers, value):
    yield from (Step("signal", peer, value) for peer in range(n_peers))
    yield Step("wait", None, value)


def call_steps(kind, call, n_peers, protocol):
    """One call of one rank."""
    half = call % protocol.n_halves
    inputs = "array" if kind == "direct" else ("inputs", half)
    yield Step("write", inputs, call)
    yield from meeting(n_peers, call * STEPS + INPUTS_READY)
    yield Step("read", inputs, call)
    if kind == "two_shot":
        yield Step("write", ("shards", half), call)
        if protocol.has_second_meeting:
            yield from meeting(n_peers, call * STEPS + SHARDS_READY)
        yield Step("read", ("shards", half), call)
    if kind == "direct" and protocol.has_ending:
        yield from meeting(n_peers, call * STEPS + INPUTS_READ)


class Ranks:
    """All ranks, which make the same calls; a state is where each is and what has arrived."""

    def __init__(self, kinds, n_ranks, protocol=Protocol()):  # noqa: B008 -- frozen
        self.n_ranks, self.protocol = n_ranks, protocol
        self.steps = []
        for call, kind in enumerate(kinds):
            for step in call_steps(kind, call, n_ranks - 1, protocol):
                self.steps += [step] * (2 if step.what in ("write", "read") else 1)
        self.others = [[p for p in range(n_ranks) if p != rank] for rank in range(n_ranks)]
        self.content, self.sent = self.histories()

    def histories(self):
        """What a rank's buffers hold, and what it has sent to each peer, after so many steps."""
        content, sent = [{}], [[0] * (self.n_ranks - 1)]
        for i, step in enumerate(self.steps):
            held, signals = dict(content[-1]), list(sent[-1])
            if step.what == "write":
                is_second = i > 0 and self.steps[i - 1] is step and held[step.place] == TORN
                held[step.place] = step.number if is_second else TORN
            elif step.what == "signal":
                signals[step.place] = step.number
            content.append(held)
            sent.append(signals)
        return content, sent

    def may_go_on(self, rank, at, arrived):
        step = self.steps[at[rank]]
        if step.what == "read":
            for peer in self.others[rank]:
                found = self.content[at[peer]].get(step.place)
                assert found == step.number, f"{step} of rank {rank} finds {found} at rank {peer}"
        if step.what != "wait":
            return True
        own = arrived[rank]
        if self.protocol.waits_for_equality:
            return all(value == step.number for value in own)
        return all(value >= step.number for value in own)

    def next_states(self, state):
        at, arrived = state
        for rank in range(self.n_ranks):
            if at[rank] < len(self.steps) and self.may_go_on(rank, at, arrived):
                yield (*at[:rank], at[rank] + 1, *at[rank + 1 :]), arrived
            for place, peer in enumerate(self.others[rank]):
                sent = self.sent[at[peer]][self.others[peer].index(rank)]
                if arrived[rank][place] != sent:
                    own = (*arrived[rank][:place], sent, *arrived[rank][place + 1 :])
                    yield at, (*arrived[:rank], own, *arrived[rank + 1 :])

    def visit_all(self):
        """Number of states; AssertionError in the one where something goes wrong."""
        first = ((0,) * self.n_ranks, ((0,) * (self.n_ranks - 1),) * self.n_ranks)
        seen, open_states = {first}, [first]
        while open_states:
            state = open_states.pop()
            found = list(self.next_states(state))
            is_done = all(place == len(self.steps) for place in state[0])
            assert found or is_done, f"all wait for ever at {state}"
            fresh = [other for other in found if other not in seen]
            seen.update(fresh)
            open_states += fresh
        return len(seen)


def test_two_ranks_never_read_too_early_or_too_late_and_never_get_stuck():
    for kinds in itertools.product(KINDS, repeat=3):
        assert Ranks(kinds, 2).visit_all() > 100


@pytest.mark.parametrize("kinds", [("one_shot",) * 3, ("two_shot", "direct", "one_shot")])
def test_nor_do_three_ranks(kinds):
    assert Ranks(kinds, 3).visit_all() > 1000


@pytest.mark.parametrize(
    ("protocol", "kinds", "what"),
    [
        (Protocol(n_halves=1), ("one_shot", "one_shot"), "number=0. of rank . finds -?1"),
        (Protocol(has_second_meeting=False), ("two_shot",), "finds None"),
        (Protocol(has_ending=False), ("direct", "direct"), "number=0. of rank . finds -?1"),
        (Protocol(waits_for_equality=True), ("one_shot", "two_shot"), "all wait for ever"),
    ],
)
def test_the_search_finds_what_a_faulty_protocol_does(protocol, kinds, what):
    with pytest.raises(AssertionError, match=what):
        Ranks(kinds, 2, protocol).visit_all()
