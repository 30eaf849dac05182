"""Timing of kernels: warm-up, enough repeats for a stated confidence, median and spread.

Only the standard library and NumPy are imported, so that a bare machine with a GPU can use it; the
event timer takes the framework's events through a small protocol instead of importing it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

__all__ = [
    "EventSource",
    "EventTimer",
    "HostTimer",
    "RepeatPolicy",
    "Samples",
    "Timer",
    "Timing",
    "measure",
    "measure_in_turn",
    "process_cpu_timer",
    "thread_cpu_timer",
]

Call = Callable[[int], object]
"""One call of the kernel; the running index lets it rotate among buffers."""

MAD_TO_SIGMA = 1.4826
"""Standard deviation over median absolute deviation of a normal distribution. [1]"""

MEDIAN_ERROR_FACTOR = math.sqrt(math.pi / 2)
"""Standard error of a median over that of a mean, normal distribution, large n. [1]"""

LEAST_INTERVALS = 3
"""Intervals of each of several calls, whatever the budget: a ratio needs a median. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Statistics over repeated calls; every time is that of one call."""

    n: int
    """Intervals that were timed. [1]"""
    n_inner: int
    """Calls in each interval. [1]"""
    median_s: float
    """Median over intervals. [s]"""
    mad_s: float
    """Median absolute deviation from the median. [s]"""
    min_s: float
    """Fastest interval. [s]"""
    p10_s: float
    """Tenth percentile. [s]"""
    p90_s: float
    """Ninetieth percentile. [s]"""
    mean_s: float
    """Mean over intervals. [s]"""

    @classmethod
    def from_samples(cls, samples_s: Sequence[float], *, n_inner: int = 1) -> Timing:
        """Summarise the times of single calls.

        Parameters
        ----------
        samples_s
            Time per call in each interval, at least one. [s]
        n_inner
            Calls that each interval held. [1]

        Returns
        -------
        Timing
            The summary. [s]
        """
        if not samples_s:
            msg = "samples_s is empty; expected at least one interval"
            raise ValueError(msg)
        values = np.asarray(samples_s, dtype=np.float64)
        median = float(np.median(values))
        return cls(
            n=len(values),
            n_inner=n_inner,
            median_s=median,
            mad_s=float(np.median(np.abs(values - median))),
            min_s=float(values.min()),
            p10_s=float(np.quantile(values, 0.1)),
            p90_s=float(np.quantile(values, 0.9)),
            mean_s=float(values.mean()),
        )

    @property
    def spread_fraction(self) -> float:
        """Median absolute deviation over the median. [1]."""
        return self.mad_s / self.median_s if self.median_s > 0 else 0.0

    @property
    def median_error_fraction(self) -> float:
        """Relative standard error of the median, by the normal approximation. [1].

        It knows only the noise inside this run: on a shared machine the same call can move by more
        minutes later.
        """
        if self.n < 2:
            return math.inf
        return MEDIAN_ERROR_FACTOR * MAD_TO_SIGMA * self.spread_fraction / math.sqrt(self.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What was timed of one call, interval by interval."""

    times_s: tuple[float, ...]
    """Time per call in each interval. [s]"""
    n_inner: int
    """Calls in each interval. [1]"""

    @property
    def timing(self) -> Timing:
        """The summary. [s]."""
        return Timing.from_samples(self.times_s, n_inner=self.n_inner)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatPolicy:
    """When to stop repeating."""

    n_warmup: int = 3
    """Calls before anything is timed; fewer where one call takes most of the budget. [1]"""
    n_min: int = 7
    """Intervals that are timed whatever the spread, budget allowing. [1]"""
    n_max: int = 200
    """Intervals after which no more are timed. [1]"""
    relative_error_fraction: float = 0.01
    """Stop once the median's standard error is below this share. [1]"""
    budget_s: float = 0.25
    """Stop once this much time has been measured. [s]"""
    interval_s: float = 100e-6
    """Shortest interval: shorter calls are timed several at a time. [s]"""
    n_inner_max: int = 64
    """Most calls in one interval. [1]"""


class Timer(Protocol):
    """Something that can time intervals of calls."""

    def intervals_s(self, call: Call, *, first: int, n_intervals: int, n_inner: int) -> list[float]:
        """Time per call in each of `n_intervals` intervals of `n_inner` calls. [s]."""
        ...


class HostTimer:
    """Times on the host.

    `synchronize` waits for a device that works asynchronously, and is timed; `prepare` runs before
    each interval and is not.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.perf_counter,
        synchronize: Callable[[], object] | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        self._clock = clock
        self._synchronize = synchronize
        self._prepare = prepare

    def intervals_s(self, call: Call, *, first: int, n_intervals: int, n_inner: int) -> list[float]:
        """Time per call in each interval, by the host's clock. [s]."""
        samples = []
        for i_interval in range(n_intervals):
            if self._prepare is not None:
                self._prepare()
            start = self._clock()
            for i_inner in range(n_inner):
                call(first + i_interval * n_inner + i_inner)
            if self._synchronize is not None:
                self._synchronize()
            samples.append((self._clock() - start) / n_inner)
        return samples


def thread_cpu_timer() -> HostTimer:
    """Timer of one thread's CPU time: immune to other load, blind to helper threads."""
    return HostTimer(clock=time.thread_time)


def process_cpu_timer() -> HostTimer:
    """Timer of the process's CPU time: immune to other load, and sees helper threads work."""
    return HostTimer(clock=time.process_time)


class EventSource(Protocol):
    """A framework's device events on its current stream."""

    def record(self) -> object:
        """Put a new event into the stream and return it."""
        ...

    def elapsed_s(self, start: object, stop: object) -> float:
        """Device time between two events that have both passed. [s]."""
        ...

    def synchronize(self) -> None:
        """Wait until the device has done everything queued."""
        ...

    def delay(self, seconds: float) -> None:
        """Keep the stream busy for about this long, without blocking the host."""
        ...


class EventTimer:
    """Times on the device with events.

    A kernel shorter than its launch on the host would be timed as the launch. So each interval of
    short calls is queued behind a delay on the device that is long enough for the host to queue
    the whole interval; the calls then run back to back.
    """

    LEAD_FACTOR = 1.5
    """Delay over the host's time to queue an interval. [1]"""
    LEAD_MAX_S = 0.02
    """Longest delay. [s]"""
    LONG_CALL_FACTOR = 10.0
    """Device time over host time per call above which no delay is needed. [1]"""

    def __init__(
        self, source: EventSource, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._source = source
        self._clock = clock

    def intervals_s(self, call: Call, *, first: int, n_intervals: int, n_inner: int) -> list[float]:
        """Time per call in each interval, by the device's clock. [s]."""
        host_s, device_s = self._probe(call, first)
        lead_s = min(self.LEAD_MAX_S, self.LEAD_FACTOR * host_s * n_inner)
        if device_s > self.LONG_CALL_FACTOR * host_s:
            lead_s = 0.0
        pairs = []
        for i_interval in range(n_intervals):
            if lead_s > 0:
                self._source.delay(lead_s)
            start = self._source.record()
            for i_inner in range(n_inner):
                call(first + i_interval * n_inner + i_inner)
            pairs.append((start, self._source.record()))
        self._source.synchronize()
        return [self._source.elapsed_s(start, stop) / n_inner for start, stop in pairs]

    def _probe(self, call: Call, index: int) -> tuple[float, float]:
        """Host time to queue one call, and its time on the device including that. [s]."""
        self._source.synchronize()
        start = self._source.record()
        began = self._clock()
        call(index)
        host_s = self._clock() - began
        stop = self._source.record()
        self._source.synchronize()
        return host_s, self._source.elapsed_s(start, stop)


def measure(call: Call, *, timer: Timer, policy: RepeatPolicy | None = None) -> Timing:
    """Time a call until its median is known well enough or the budget is spent.

    Parameters
    ----------
    call
        The kernel; it is given a running index, by which it may rotate among buffers so that
        operands come from memory and not from a cache.
    timer
        Host, CPU-time or device-event timer.
    policy
        When to stop; the defaults suit kernels of microseconds to milliseconds.

    Returns
    -------
    Timing
        Statistics of one call. [s]
    """
    rule = policy or RepeatPolicy()
    index, pilot_s = _warm_up(call, timer=timer, rule=rule)
    n_inner = _calls_per_interval(pilot_s, rule=rule)
    n_batch = _first_batch(pilot_s, rule=rule)
    samples: list[float] = []
    spent_s = 0.0
    while True:
        batch = timer.intervals_s(call, first=index, n_intervals=n_batch, n_inner=n_inner)
        index += n_batch * n_inner
        samples += batch
        spent_s += sum(batch) * n_inner
        timing = Timing.from_samples(samples, n_inner=n_inner)
        known = timing.median_error_fraction <= rule.relative_error_fraction
        if known or spent_s >= rule.budget_s or len(samples) >= rule.n_max:
            return timing
        n_batch = min(n_batch, rule.n_max - len(samples))


def measure_in_turn(
    calls: Mapping[str, Call], *, timer: Timer, policy: RepeatPolicy | None = None
) -> dict[str, Samples]:
    """Time several calls in turn, so that whatever else the machine does weighs on all of them.

    Each call is repeated until its median is known well enough or its budget is spent; the others
    go on without it.

    Parameters
    ----------
    calls
        The kernels by name; each is given a running index of its own.
    timer
        Host, CPU-time or device-event timer.
    policy
        When to stop, for each call.

    Returns
    -------
    dict
        Samples by name. [s]
    """
    rule = policy or RepeatPolicy()
    courses = {
        name: _Course(call, timer=timer, rule=rule, n_calls=len(calls))
        for name, call in calls.items()
    }
    waiting = list(courses.values())
    while waiting:
        for course in waiting:
            course.go_on()
        waiting = [course for course in waiting if not course.is_done]
    return {
        name: Samples(times_s=tuple(course.times_s), n_inner=course.n_inner)
        for name, course in courses.items()
    }


class _Course:
    """The repeats of one call among several."""

    def __init__(self, call: Call, *, timer: Timer, rule: RepeatPolicy, n_calls: int) -> None:
        self._call, self._timer, self._rule = call, timer, rule
        self._index, pilot_s = _warm_up(call, timer=timer, rule=rule)
        self.n_inner = _calls_per_interval(pilot_s, rule=rule)
        n_first = _first_batch(pilot_s, rule=rule)
        # In turn means a few at a time; a call alone has nobody to take turns with.
        self._n_batch = n_first if n_calls == 1 else max(1, n_first // 3)
        self.times_s: list[float] = []

    def go_on(self) -> None:
        """Time a few more intervals."""
        n_batch = max(1, min(self._n_batch, self._rule.n_max - len(self.times_s)))
        self.times_s += self._timer.intervals_s(
            self._call, first=self._index, n_intervals=n_batch, n_inner=self.n_inner
        )
        self._index += n_batch * self.n_inner

    @property
    def is_done(self) -> bool:
        """Whether enough is known, or enough was spent."""
        n_times = len(self.times_s)
        if n_times < min(LEAST_INTERVALS, self._rule.n_max):
            return False
        if n_times >= self._rule.n_max or sum(self.times_s) * self.n_inner >= self._rule.budget_s:
            return True
        if n_times < self._rule.n_min:
            return False
        timing = Timing.from_samples(self.times_s)
        return timing.median_error_fraction <= self._rule.relative_error_fraction


def _warm_up(call: Call, *, timer: Timer, rule: RepeatPolicy) -> tuple[int, float]:
    """Warm up, and time one call; returns the next index and that time. [s]."""
    index = min(1, rule.n_warmup)
    if index:
        call(0)
    pilot_s = timer.intervals_s(call, first=index, n_intervals=1, n_inner=1)[0]
    index += 1
    while index <= rule.n_warmup and pilot_s * index < rule.budget_s:
        pilot_s = timer.intervals_s(call, first=index, n_intervals=1, n_inner=1)[0]
        index += 1
    return index, pilot_s


def _calls_per_interval(pilot_s: float, *, rule: RepeatPolicy) -> int:
    if pilot_s <= 0:
        return rule.n_inner_max
    return max(1, min(rule.n_inner_max, math.ceil(rule.interval_s / pilot_s)))


def _first_batch(pilot_s: float, *, rule: RepeatPolicy) -> int:
    """Intervals per batch: `n_min`, but no fewer than two and no more than the budget holds."""
    if pilot_s <= 0:
        return rule.n_min
    return max(2, min(rule.n_min, math.ceil(rule.budget_s / pilot_s)))
