"""Measures the cases of a plan in rounds, and keeps every visit.

A shared machine changes its speed by a factor of two within a minute, with what runs beside us on
the same core, while a single measurement sees hardly any spread. So every case is visited in many
short rounds, far apart in time, and each visit stands between two looks at two fixed calls, a small
product and a copy: what counts is the time of the case over theirs, and the middle of it over the
rounds.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from kernels.gemm.cpu import BlasError, blas_threads
from kernels.host.calls import Pool, case_call
from kernels.host.case import HostCase
from kernels.host.journal import Journal, Visit
from kernels.host.plan import HostPlan
from kernels.survey.runner import Progress
from kernels.timing import Timer, thread_cpu_timer

__all__ = ["Anchors", "Measuring", "measure_plan", "single_thread"]

POOL_BYTES = 96 * 2**20
"""Holds the operands of the largest case. [byte]"""

ANCHOR_SIZE = 192
"""Rows of the fixed product: it stays in the second-level cache. [elements]"""
ANCHOR_COPY_ELEMENTS = 2**18
"""Of the fixed copy: it fills the second-level cache. [elements]"""
ANCHOR_CALLS = 4
"""Calls of each in one look. [1]"""

INTERVAL_S = 5e-5
"""Shorter calls are timed several at a time. [s]"""
SHORTEST_CALL_S = 1e-7
"""No call of Python is shorter: a clock that stood still does not divide by zero. [s]"""
LONG_CALL_S = 4e-3
"""A call that takes longer warms its caches by itself: none comes before it. [s]"""
LARGEST_INNER = 64
LARGEST_INTERVALS = 40
"""Most calls in an interval, and most intervals in a visit. [1]"""

LEAST_ROUNDS = 3
"""Visits to each case that a middle needs; they go on past the deadline. [1]"""
GRACE_S = 20.0
"""Time by which they may pass it. [s]"""
HURRIED_ROUNDS = 2
"""Visits that are made in any case. [1]"""


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """One thread for the BLAS behind NumPy and for Numba inside the block."""
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with _single_blas_thread():
            yield
    finally:
        numba.set_num_threads(before)


@contextlib.contextmanager
def _single_blas_thread() -> Iterator[None]:
    """One thread; a BLAS that has no others, such as a reference one, is left alone."""
    try:
        manager = blas_threads(1)
        manager.__enter__()
    except BlasError as error:
        if any(os.environ.get(name) == "1" for name in THREAD_VARIABLES):
            yield
            return
        raise error from None
    try:
        yield
    finally:
        manager.__exit__(None, None, None)


THREAD_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""What pins a BLAS from outside, where it cannot be told from inside."""


class Anchors:
    """Two fixed calls that tell how fast the machine is at the moment."""

    def __init__(self, *, timer: Timer) -> None:
        self._timer = timer
        random = np.random.default_rng(1)
        self._a = random.standard_normal((ANCHOR_SIZE, ANCHOR_SIZE), dtype=np.float32)
        self._out = np.empty_like(self._a)
        self._source = np.ones(ANCHOR_COPY_ELEMENTS, np.float32)
        self._target = np.zeros_like(self._source)

    def look(self) -> tuple[float, float]:
        """Time of the product and of the copy, now. [s]"""
        product = self._timed(lambda _i: np.matmul(self._a, self._a, out=self._out))
        copy = self._timed(lambda _i: np.copyto(self._target, self._source))
        return product, copy

    def _timed(self, call: Callable[[int], object]) -> float:
        call(0)
        return median(self._timer.intervals_s(call, first=0, n_intervals=ANCHOR_CALLS, n_inner=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """How a plan is measured; the defaults are the real ones."""

    timer: Timer
    make_call: Callable[[HostCase, Pool], Callable[[], object]] = case_call
    progress: Progress
    pool_bytes: int = POOL_BYTES
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def on_this_thread(cls) -> Measuring:
        """By the CPU time of the thread that calls, which load beside it does not lengthen."""
        return cls(timer=thread_cpu_timer(), progress=Progress())


def measure_plan(plan: HostPlan, journal: Journal, how: Measuring, *, began_s: float) -> str:
    """Visit every case in every round that is not in the journal yet.

    Parameters
    ----------
    plan
        Cases and rounds.
    journal
        Open; gets a line for every visit.
    how
        Timer, progress and clock.
    began_s
        Start of the calibration on that clock: its deadline counts from there. [s]

    Returns
    -------
    str
        ``finished``, or ``deadline`` when rounds were left out for time.
    """
    done = {(visit.i_round, visit.case) for visit in journal.visits}
    todo = [
        (i_round, case)
        for i_round in range(plan.effort.n_rounds)
        for case in _order(plan.cases, i_round)
        if (i_round, case.key) not in done
    ]
    pool, anchors = Pool(how.pool_bytes // 4), Anchors(timer=how.timer)
    known_s = {visit.case: visit.seconds for visit in journal.visits}
    start_s = how.clock()
    deadline_s = began_s + plan.effort.deadline_s
    before = anchors.look()
    for position, (i_round, case) in enumerate(todo):
        now_s = how.clock()
        late_s = now_s - deadline_s
        is_over = late_s >= 0.0 and i_round >= LEAST_ROUNDS
        if is_over or (late_s >= GRACE_S and i_round >= HURRIED_ROUNDS):
            how.progress.show("out of time: the rounds so far count", now_s=now_s, is_last=True)
            return "deadline"
        _show(
            how,
            plan,
            position=position,
            todo=todo,
            spent_s=now_s - start_s,
            allowed_s=deadline_s - now_s,
        )
        call = how.make_call(case, pool)
        if known_s.get(case.key, 0.0) < LONG_CALL_S:
            call()
        seconds, n_calls = _timed(call, how.timer, visit_s=plan.effort.visit_s)
        known_s[case.key] = seconds
        after = anchors.look()
        journal.add(
            Visit(
                i_round=i_round,
                case=case.key,
                seconds=seconds,
                n_calls=n_calls,
                arithmetic_anchor_s=0.5 * (before[0] + after[0]),
                memory_anchor_s=0.5 * (before[1] + after[1]),
            )
        )
        before = after
    how.progress.show("measured", now_s=how.clock(), is_last=True)
    return "finished"


def _order(cases: Sequence[HostCase], i_round: int) -> list[HostCase]:
    """Another order in each round, so that no case always follows the same one."""
    order = np.random.default_rng(i_round).permutation(len(cases))
    return [cases[i] for i in order]


def _timed(call: Callable[[], object], timer: Timer, *, visit_s: float) -> tuple[float, int]:
    """Median time of one call and how many were timed. [s], [1]"""

    def indexed(_index: int) -> object:
        return call()

    def intervals_s(n_intervals: int, n_inner: int) -> list[float]:
        return timer.intervals_s(indexed, first=0, n_intervals=n_intervals, n_inner=n_inner)

    first_s = max(intervals_s(1, 1)[0], SHORTEST_CALL_S)
    if first_s >= visit_s:
        return first_s, 1
    n_inner = min(LARGEST_INNER, math.ceil(INTERVAL_S / first_s))
    n_intervals = min(LARGEST_INTERVALS, math.ceil(visit_s / (first_s * n_inner)))
    return median(intervals_s(n_intervals, n_inner)), n_intervals * n_inner


def _show(
    how: Measuring,
    plan: HostPlan,
    *,
    position: int,
    todo: Sequence[tuple[int, HostCase]],
    spent_s: float,
    allowed_s: float,
) -> None:
    i_round, case = todo[position]
    left = ""
    if position:
        rest_s = min(spent_s / position * (len(todo) - position), max(allowed_s, 0.0))
        left = f"{int(rest_s // 60)}m{int(rest_s % 60):02d} left  "
    text = f"[round {i_round + 1} of {plan.effort.n_rounds}] {left}{case.key}"
    how.progress.show(text, now_s=how.clock())
