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
from twin.training.plan_candidates import Layout, layouts
from twin.training.predictor import StepPredictor
from twin.training.step_bounds import ROUNDING_FRACTION

__all__ = ["choose_plan"]

COMFORTABLE_SHARE = 0.95
"""Plans are sought within this share of memory; fuller ones only when nothing else fits. [1]"""

LAYOUT, CHEAP, CLOSE = range(3)
"""What a bound is of: a whole layout, its plans of one recomputation, one plan that fits."""


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


class _Search:
    """Looks for a plan among layouts, and remembers what memory plans need."""

    def __init__(self, predictor: StepPredictor, found: list[Layout]) -> None:
        self._predictor = predictor
        self._layouts = found
        self._memory = MemoryCache(predictor.job)
        self._needed: dict[_Place, float] = {}

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
        bounds = self._predictor.bounds
        found = [
            _Open(bounds.cheap_s(layout.plan), _Place(i, 0), LAYOUT)
            for i, layout in enumerate(self._layouts)
        ]
        heapq.heapify(found)
        return found

    def _refined(self, of: _Open, limit_bytes: float) -> Iterator[_Open]:
        """Closer bounds of the same plans, but for those that do not fit."""
        bounds, places = self._predictor.bounds, self._places(of.place.i_layout)
        if of.known == LAYOUT:
            first = {self._recompute(place): place for place in reversed(places)}
            for place in first.values():
                yield _Open(bounds.cheap_s(self._plan(place)), place, CHEAP)
            return
        recompute = self._recompute(of.place)
        for place in places:
            if self._recompute(place) == recompute and self._needed_bytes(place) <= limit_bytes:
                yield _Open(bounds.unsharded_s(self._plan(place)), place, CLOSE)

    def _recompute(self, place: _Place) -> Recompute:
        return self._layouts[place.i_layout].states[place.i_states].recompute

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
