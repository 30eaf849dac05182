"""Timing on clocks that the test turns itself."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.timing import (
    EventTimer,
    HostTimer,
    RepeatPolicy,
    Timing,
    measure,
    measure_in_turn,
)


class Clock:
    """Stands still unless a call moves it."""

    def __init__(self):
        self.now_s = 0.0
        self.n_calls = 0

    def __call__(self):
        return self.now_s

    def work(self, *seconds):
        def call(index):
            self.n_calls += 1
            self.now_s += seconds[index % len(seconds)]

        return call


@given(st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=50))
def test_statistics_are_ordered_and_inside_the_samples(samples):
    timing = Timing.from_samples(samples)
    inside = pytest.approx
    assert timing.min_s <= timing.p10_s or timing.min_s == inside(timing.p10_s)
    assert timing.p10_s <= timing.median_s or timing.p10_s == inside(timing.median_s)
    assert timing.median_s <= timing.p90_s or timing.median_s == inside(timing.p90_s)
    assert timing.mad_s <= max(samples) - min(samples)
    assert timing.n == len(samples)


def test_statistics_of_known_samples():
    timing = Timing.from_samples([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (timing.median_s, timing.mad_s, timing.min_s) == (3.0, 1.0, 1.0)
    assert timing.mean_s == 22.0
    assert timing.spread_fraction == pytest.approx(1 / 3)


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="at least one interval"):
        Timing.from_samples([])


def test_one_sample_says_nothing_about_its_error():
    assert Timing.from_samples([1.0]).median_error_fraction == math.inf


def test_a_steady_call_stops_after_the_least_repeats():
    clock = Clock()
    policy = RepeatPolicy(n_warmup=1, n_min=5, budget_s=10.0)
    timing = measure(clock.work(1e-3), timer=HostTimer(clock=clock), policy=policy)
    assert timing.median_s == pytest.approx(1e-3)
    assert timing.n == 5
    assert timing.n_inner == 1


def test_a_noisy_call_is_repeated_until_its_median_is_known():
    clock = Clock()
    noisy = [1e-3 * (1 + 0.1 * math.sin(i * 1.7)) for i in range(101)]
    policy = RepeatPolicy(n_min=5, n_max=10_000, budget_s=100.0, relative_error_fraction=0.01)
    timing = measure(clock.work(*noisy), timer=HostTimer(clock=clock), policy=policy)
    assert timing.n > 5
    assert timing.median_error_fraction <= 0.01


def test_the_budget_ends_a_call_that_never_settles():
    clock = Clock()
    policy = RepeatPolicy(n_min=5, n_max=10**6, budget_s=0.5, relative_error_fraction=1e-9)
    timing = measure(clock.work(1e-3, 3e-3), timer=HostTimer(clock=clock), policy=policy)
    assert clock.now_s < 0.6
    assert timing.n < 500


def test_a_call_longer_than_the_budget_is_still_timed_twice():
    clock = Clock()
    timing = measure(clock.work(9.0), timer=HostTimer(clock=clock), policy=RepeatPolicy())
    assert timing.n == 2
    assert clock.n_calls <= 4


def test_short_calls_are_timed_several_at_a_time():
    clock = Clock()
    policy = RepeatPolicy(interval_s=1e-4, n_inner_max=64)
    timing = measure(clock.work(1e-5), timer=HostTimer(clock=clock), policy=policy)
    assert timing.n_inner in {10, 11}  # the pilot is a difference of floats
    assert timing.median_s == pytest.approx(1e-5)


def test_a_clock_too_coarse_for_the_call_does_not_divide_by_zero():
    clock = Clock()
    timing = measure(clock.work(0.0), timer=HostTimer(clock=clock), policy=RepeatPolicy(n_max=20))
    assert timing.median_s == 0.0


def test_calls_rotate_through_consecutive_indices():
    seen = []
    clock = Clock()

    def call(index):
        seen.append(index)
        clock.now_s += 1e-3

    measure(call, timer=HostTimer(clock=clock), policy=RepeatPolicy(n_warmup=2, n_min=4))
    assert seen == list(range(len(seen)))


def test_preparation_is_not_timed_and_synchronising_is():
    clock = Clock()

    def spend(seconds):
        clock.now_s += seconds

    timer = HostTimer(clock=clock, prepare=lambda: spend(5.0), synchronize=lambda: spend(0.25))
    assert timer.intervals_s(clock.work(1.0), first=0, n_intervals=1, n_inner=1) == [1.25]


class Stream:
    """A device that runs its queue while the host moves on, in one shared notion of time."""

    def __init__(self, clock, *, device_s, host_s):
        self._clock, self._device_s, self._host_s = clock, device_s, host_s
        self._free_s = 0.0
        self.delays_s = []

    def _enqueue(self, seconds):
        self._free_s = max(self._free_s, self._clock.now_s) + seconds

    def kernel(self, _index):
        self._clock.now_s += self._host_s
        self._enqueue(self._device_s)

    def record(self):
        return max(self._free_s, self._clock.now_s)

    def elapsed_s(self, start, stop):
        return stop - start

    def synchronize(self):
        self._clock.now_s = max(self._clock.now_s, self._free_s)

    def delay(self, seconds):
        self.delays_s.append(seconds)
        self._enqueue(seconds)


@pytest.mark.parametrize("device_s", [2e-6, 2e-5, 1e-3])
def test_device_time_does_not_contain_the_hosts_launch(device_s):
    clock = Clock()
    stream = Stream(clock, device_s=device_s, host_s=1e-5)
    timing = measure(stream.kernel, timer=EventTimer(stream, clock=clock), policy=RepeatPolicy())
    assert timing.median_s == pytest.approx(device_s, rel=1e-6)


def test_long_kernels_need_no_delay():
    clock = Clock()
    stream = Stream(clock, device_s=1e-2, host_s=1e-5)
    measure(stream.kernel, timer=EventTimer(stream, clock=clock), policy=RepeatPolicy())
    assert stream.delays_s == []


def test_calls_in_turn_feel_the_same_slow_machine():
    clock, slow = Clock(), [1.0]
    order = []

    def of(name, seconds):
        def call(_index):
            order.append(name)
            slow[0] *= 1.02  # the machine gets slower with every call
            clock.now_s += seconds * slow[0]

        return call

    calls = {"ours": of("ours", 2e-3), "theirs": of("theirs", 1e-3)}
    policy = RepeatPolicy(n_warmup=1, n_min=9, n_max=9, relative_error_fraction=0.0)
    found = measure_in_turn(calls, timer=HostTimer(clock=clock), policy=policy)
    assert [len(samples.times_s) for samples in found.values()] == [9, 9]
    ratio = found["ours"].timing.median_s / found["theirs"].timing.median_s
    assert ratio == pytest.approx(2.0, rel=0.1)
    assert order[-18:] == [*["ours"] * 3, *["theirs"] * 3] * 3


def test_a_call_whose_median_is_known_lets_the_others_go_on():
    clock = Clock()
    noisy = [1e-3 * (1 + 0.3 * math.sin(i * 1.7)) for i in range(101)]
    calls = {"steady": clock.work(1e-3), "noisy": clock.work(*noisy)}
    policy = RepeatPolicy(n_min=6, n_max=40, budget_s=100.0, relative_error_fraction=1e-3)
    found = measure_in_turn(calls, timer=HostTimer(clock=clock), policy=policy)
    assert len(found["steady"].times_s) == 6
    assert len(found["noisy"].times_s) == 40


def test_a_budget_leaves_three_intervals_of_each_call():
    clock = Clock()
    policy = RepeatPolicy(budget_s=1e-3)
    found = measure_in_turn(
        {"a": clock.work(1.0), "b": clock.work(2.0)}, timer=HostTimer(clock=clock), policy=policy
    )
    assert [len(samples.times_s) for samples in found.values()] == [3, 3]
