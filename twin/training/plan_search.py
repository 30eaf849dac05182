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
import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

from twin.scenario.scenario import PlanRequest
from twin.training.memory import MemoryCache
from twin.training.plan import Plan, Recompute
from twin.training.plan_candidates import Layout, Sizes, first_breach, layouts
from twin.training.predictor import StepPredictor
from twin.training.step import recompute_share
from twin.training.step_bounds import ROUNDING_FRACTION

__all__ = ["choose_plan"]

COMFORTABLE_SHARE = 0.95
"""Plans are sought within this share of memory; fuller ones only when nothing else fits. [1]"""

GROUP, CHEAP, SHARDED, SAMPLED, CLOSE = range(5)
"""What a bound is of: plans whose layers are alike, from one recomputation on; those of one layout
and recomputation; one plan that fits; the same from kernels at two clocks, and at its own."""


class _Place(NamedTuple):
    """Where a plan stands among candidates."""

    i_layout: int
    i_states: int


class _Open(NamedTuple):
    """What is still to be looked at; the lowest bound comes first."""

    bound_s: float
    place: _Place
    """Of a plan that the bound is of."""
    known: int
    """What the bound is of."""
    i_recompute: int
    """Which recomputation, the one that repeats least first."""


class _Search:
    """Looks for a plan among layouts, and remembers what memory plans need."""

    def __init__(self, predictor: StepPredictor, found: list[Layout]) -> None:
        self._predictor, self._bounds = predictor, predictor.bounds
        self._layouts = found
        self._memory = MemoryCache(predictor.job)
        self._needed: dict[_Place, float] = {}
        self._recomputes = self._by_repeated_share()
        self._plans: dict[int, Plan] = {}
        self._refused: set[int] = set()
        self._groups: dict[tuple[int, int, int, bool], list[int]] = {}
        for i, layout in enumerate(found):
            self._groups.setdefault(_group_key(layout.sizes), []).append(i)

    def has_any(self) -> bool:
        """Whether any layout keeps the rules."""
        return any(self._is_allowed(i_layout) for i_layout in range(len(self._layouts)))

    def only(self) -> Plan | None:
        """The plan, where there is no choice."""
        if len(self._layouts) != 1 or len(self._places(0)) != 1:
            return None
        return self._plan(_Place(0, 0))

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
        waiting = [self._group(i, 0) for i in self._first_of_groups()]
        heapq.heapify(waiting)
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

    def _by_repeated_share(self) -> list[Recompute]:
        """Every recomputation that a layout leaves open, the least repeated work first."""
        shares: dict[Recompute, float] = {}
        for layout in {layout.states: layout for layout in self._layouts}.values():
            for states in layout.states:
                if states.recompute not in shares:
                    plan = layout.with_states(states)
                    shares[states.recompute] = recompute_share(self._predictor.job, plan)
        return sorted(shares, key=shares.__getitem__)

    def _first_of_groups(self) -> Iterator[int]:
        """A layout of each group that has any which keeps the rules."""
        for group in self._groups.values():
            yield from itertools.islice(filter(self._is_allowed, group), 1)

    def _group(self, i_layout: int, i_recompute: int) -> _Open:
        plan, recompute = self._plans[i_layout], self._recomputes[i_recompute]
        bound_s = self._bounds.balanced_s(plan, recompute)
        return _Open(bound_s, _Place(i_layout, 0), GROUP, i_recompute)

    def _refined(self, of: _Open, limit_bytes: float) -> Iterator[_Open]:
        """Closer bounds of the same plans, but for those that do not fit."""
        if of.known == GROUP:
            # What repeats more work takes no less time: it waits until this is worth a look.
            if of.i_recompute + 1 < len(self._recomputes):
                yield self._group(of.place.i_layout, of.i_recompute + 1)
            yield from self._opened_group(of, limit_bytes)
        elif of.known == CHEAP:
            yield from self._fitting(of, limit_bytes)
        elif of.known == SHARDED:
            yield of._replace(bound_s=self._bounds.sampled_s(self._plan(of.place)), known=SAMPLED)
        else:
            yield of._replace(bound_s=self._bounds.close_s(self._plan(of.place)), known=CLOSE)

    def _opened_group(self, of: _Open, limit_bytes: float) -> Iterator[_Open]:
        """Layouts of a group, but for those whose activations alone do not fit."""
        recompute, job = self._recomputes[of.i_recompute], self._predictor.job
        i_first = of.place.i_layout
        most_kept = limit_bytes / self._memory.kept_bytes(self._plans[i_first], recompute)
        for i_layout in self._groups[_group_key(self._layouts[i_first].sizes)]:
            sizes = self._layouts[i_layout].sizes
            n_micro_batches = job.global_batch // (sizes.dp * sizes.micro_batch)
            n_kept = self._memory.n_kept(sizes.pp, sizes.vpp, n_micro_batches)
            if n_kept <= most_kept and self._is_allowed(i_layout):
                bound_s = self._bounds.cheap_s(self._plans[i_layout], recompute)
                yield _Open(bound_s, _Place(i_layout, 0), CHEAP, of.i_recompute)

    def _fitting(self, of: _Open, limit_bytes: float) -> Iterator[_Open]:
        recompute, bounds = self._recomputes[of.i_recompute], self._bounds
        for i_states, states in enumerate(self._layouts[of.place.i_layout].states):
            place = _Place(of.place.i_layout, i_states)
            if states.recompute == recompute and self._needed_bytes(place) <= limit_bytes:
                yield _Open(bounds.sharded_s(self._plan(place)), place, SHARDED, of.i_recompute)

    def _places(self, i_layout: int) -> list[_Place]:
        n_states = len(self._layouts[i_layout].states) if self._is_allowed(i_layout) else 0
        return [_Place(i_layout, i) for i in range(n_states)]

    def _is_allowed(self, i_layout: int) -> bool:
        """Whether the sizes of a layout keep the rules; if so, it has a plan from now on."""
        if i_layout in self._plans or i_layout in self._refused:
            return i_layout in self._plans
        plan = self._layouts[i_layout].unsharded_plan(self._predictor.job)
        if plan is None:
            self._refused.add(i_layout)
            return False
        self._plans[i_layout] = plan
        return True

    def _plan(self, place: _Place) -> Plan:
        layout = self._layouts[place.i_layout]
        return layout.with_states(layout.states[place.i_states])

    def _needed_bytes(self, place: _Place) -> float:
        found = self._needed.get(place)
        if found is None:
            states = self._layouts[place.i_layout].states[place.i_states]
            found = self._memory.total_bytes(self._plans[place.i_layout], states)
            self._needed[place] = found
        return found


def _group_key(sizes: Sizes) -> tuple[int, int, int, bool]:
    """Layers of layouts with equal ones are alike, as `layer_key` has it for plans."""
    return (sizes.tp, sizes.cp, sizes.micro_batch, sizes.sequence_parallel)


def choose_plan(predictor: StepPredictor, request: PlanRequest) -> Plan:
    """The fastest plan that fits, among those that keep what the user pinned.

    Raises
    ------
    PlanError
        No candidate keeps the rules; the message is the first rule broken.
    """
    search = _Search(predictor, layouts(predictor.job, request))
    only = search.only()
    if only is not None:
        return only
    if not search.has_any():
        raise first_breach(predictor.job, request)
    capacity = predictor.job.machine.accelerator.memory.capacity_bytes
    for limit_bytes in (COMFORTABLE_SHARE * capacity, capacity):
        if search.fits_any(limit_bytes):
            return search.fastest(limit_bytes) or search.smallest()
    return search.smallest()
