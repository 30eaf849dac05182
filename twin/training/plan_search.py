"""The best plan for a job: the fastest that fits, of all that the user left open.

Every plan counts, few are evaluated whole. The search goes on where the lowest bound of a step is,
refines that bound, and ends when the lowest is above the fastest step found (`step_bounds`). When
none fits, the plan that needs least memory is returned, so that the answer can say by how much it
misses.

References
----------
A. Land, A. Doig, An Automatic Method of Solving Discrete Programming Problems, Econometrica 28(3),
1960 (branch and bound).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from typing import NamedTuple

from twin.scenario.scenario import PlanRequest
from twin.training.memory import MemoryCache
from twin.training.plan import Plan, Recompute
from twin.training.plan_candidates import Layout, States, layouts
from twin.training.predictor import StepPredictor
from twin.training.step import recompute_share
from twin.training.step_bounds import ROUNDING_FRACTION

__all__ = ["choose_plan"]

COMFORTABLE_SHARE = 0.95
"""Plans are sought within this share of memory; fuller ones only when nothing else fits. [1]"""

CHEAP, SHARDED, CLOSE = range(3)
"""What a bound is of: plans of a layout from one recomputation on; one plan that fits; the same,
with kernels at its clock."""


class _Place(NamedTuple):
    """Where a plan stands among candidates."""

    i_layout: int
    i_states: int


class _Open(NamedTuple):
    """What is still to be looked at; the lowest bound comes first."""

    bound_s: float
    place: _Place
    """Of the first plan that the bound is of."""
    known: int
    """What the bound is of."""
    i_recompute: int
    """Which of the layout's recomputations."""


class _Choice(NamedTuple):
    """States of a layout that recompute the same."""

    recompute: Recompute
    i_states: tuple[int, ...]


class _Search:
    """Looks for a plan among layouts, and remembers what memory plans need."""

    def __init__(self, predictor: StepPredictor, found: list[Layout]) -> None:
        self._predictor = predictor
        self._layouts = found
        self._memory = MemoryCache(predictor.job)
        self._needed: dict[_Place, float] = {}
        self._by_recompute: dict[tuple[States, ...], list[_Choice]] = {}

    def fits_any(self, limit_bytes: float) -> bool:
        """Whether any plan needs no more: the last layouts, in the smallest parts, come first."""
        return any(
            self._needed_bytes(place) <= limit_bytes
            for i_layout in reversed(range(len(self._layouts)))
            for place in self._places(i_layout)
        )

    def smallest(self) -> Plan:
        """The plan that needs least memory; of equal ones the first among candidates."""
        every = (place for i in range(len(self._layouts)) for place in self._places(i))
        return self._plan(min(every, key=self._needed_bytes))

    def fastest(self, limit_bytes: float) -> Plan | None:
        """The fastest plan within a limit of memory; of equal ones the first among candidates."""
        waiting = self._whole_layouts()
        best_s, best = math.inf, None
        while waiting:
            lowest = heapq.heappop(waiting)
            if lowest.bound_s > best_s * (1.0 + ROUNDING_FRACTION):
                break
            if lowest.known != CLOSE:
                for closer in self._refined(lowest, limit_bytes):
                    heapq.heappush(waiting, closer)
                continue
            time_s = self._predictor.step(self._plan(lowest.place)).time_s
            if best is None or (time_s, lowest.place) < (best_s, best):
                best_s, best = time_s, lowest.place
        return None if best is None else self._plan(best)

    def _whole_layouts(self) -> list[_Open]:
        found = [self._cheap(i, 0) for i in range(len(self._layouts))]
        heapq.heapify(found)
        return found

    def _cheap(self, i_layout: int, i_recompute: int) -> _Open:
        layout = self._layouts[i_layout]
        recompute, i_states = self._choices(layout)[i_recompute]
        bound_s = self._predictor.bounds.cheap_s(layout.plan, recompute)
        return _Open(bound_s, _Place(i_layout, i_states[0]), CHEAP, i_recompute)

    def _refined(self, of: _Open, limit_bytes: float) -> Iterator[_Open]:
        """Closer bounds of the same plans, but for those that do not fit."""
        bounds, place = self._predictor.bounds, of.place
        if of.known == SHARDED:
            yield of._replace(bound_s=bounds.close_s(self._plan(place)), known=CLOSE)
            return
        choices = self._choices(self._layouts[place.i_layout])
        # What repeats more work takes no less time: it waits until this is worth a look.
        if of.i_recompute + 1 < len(choices):
            yield self._cheap(place.i_layout, of.i_recompute + 1)
        for i_states in choices[of.i_recompute].i_states:
            one = _Place(place.i_layout, i_states)
            if self._needed_bytes(one) <= limit_bytes:
                yield _Open(bounds.sharded_s(self._plan(one)), one, SHARDED, of.i_recompute)

    def _choices(self, layout: Layout) -> list[_Choice]:
        """The states of a layout by recomputation, the least repeated work first."""
        found = self._by_recompute.get(layout.states)
        if found is None:
            grouped: dict[Recompute, list[int]] = {}
            for i, states in enumerate(layout.states):
                grouped.setdefault(states.recompute, []).append(i)

            def repeated_share(choice: _Choice) -> float:
                plan = layout.with_states(layout.states[choice.i_states[0]])
                return recompute_share(self._predictor.job, plan)

            choices = (_Choice(recompute, tuple(places)) for recompute, places in grouped.items())
            found = self._by_recompute[layout.states] = sorted(choices, key=repeated_share)
        return found

    def _places(self, i_layout: int) -> list[_Place]:
        return [_Place(i_layout, i) for i in range(len(self._layouts[i_layout].states))]

    def _plan(self, place: _Place) -> Plan:
        layout = self._layouts[place.i_layout]
        return layout.with_states(layout.states[place.i_states])

    def _needed_bytes(self, place: _Place) -> float:
        found = self._needed.get(place)
        if found is None:
            found = self._needed[place] = self._memory.total_bytes(self._plan(place))
        return found


def choose_plan(predictor: StepPredictor, request: PlanRequest) -> Plan:
    """The fastest plan that fits, among those that keep what the user pinned.

    Raises
    ------
    PlanError
        No candidate keeps the rules; the message is the first rule broken.
    """
    found = layouts(predictor.job, request)
    if len(found) == 1 and len(found[0].states) == 1:
        return found[0].with_states(found[0].states[0])
    search = _Search(predictor, found)
    capacity = predictor.job.machine.accelerator.memory.capacity_bytes
    for limit_bytes in (COMFORTABLE_SHARE * capacity, capacity):
        if search.fits_any(limit_bytes):
            return search.fastest(limit_bytes) or search.smallest()
    return search.smallest()
