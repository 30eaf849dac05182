"""How device times get into pytest-benchmark, which reads a clock before and after a call.

A launch on a GPU returns long before the kernel has run, so a clock on the host would time the
launch; events on the device time the kernel. And a call is repeated until its median is known, in
turn with the library that it is compared with, which pytest-benchmark's own loop cannot do. So
the samples are taken first (`kernels.timing.measure_in_turn`), and then replayed: the fixture's
timer is a clock that nothing moves but a round of the replay, by one sample. The statistics,
tables, JSON and comparisons of pytest-benchmark are then those of the device's times.
"""

from __future__ import annotations


class SampleClock:
    """A clock that stands still until a sample moves it."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


CLOCK = SampleClock()
"""Timer of every bench of a kernel: ``pytestmark = pytest.mark.benchmark(timer=CLOCK)``."""


def replay(benchmark, times_s):
    """Give times to the fixture as the durations of its rounds. [s]"""
    # Differences of small numbers keep all their digits near zero.
    CLOCK.now_s = 0.0
    left = iter(times_s)

    def restart():
        CLOCK.now_s = 0.0

    def one_round():
        CLOCK.now_s += next(left)

    benchmark.pedantic(one_round, setup=restart, rounds=len(times_s), iterations=1)
