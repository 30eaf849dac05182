"""How fast do processes on this host reduce and exchange, by ring and by tree?

Run with ``pytest benches/bench_all_reduce.py --benchmark-only``; each result line stands alone
through `extra_info`. The times are those of the ranks themselves, the slowest of each round, and
not of the process that gives the orders. More ranks than cores measure the scheduler. There is
no predicted time: the profile of the host has no links between its cores.
"""

import os

import pytest

from kernels.all_reduce.cpu import RankGroup
from kernels.backends import host_device
from kernels.gemm.cpu import n_host_cores

RANKS = (2, 4)
SIZES = [2**power for power in (10, 14, 16, 18, 20, 22, 24)]
DTYPE = "float32"
BUDGET_S = 0.4
"""Time for one case; long messages get fewer rounds. [s]"""


class RankClock:
    """A clock that only the ranks move on: by the median of their slowest times."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


CLOCK = RankClock()


@pytest.fixture(scope="module", params=RANKS, ids=lambda n_ranks: f"{n_ranks}-ranks")
def group(request):
    with RankGroup(request.param, max_bytes=max(SIZES)) as ranks:
        yield ranks


def bench(benchmark, group, operation, algorithm, message_bytes):
    pilot = group.time(operation, algorithm=algorithm, message_bytes=message_bytes, n_rounds=3)
    n_rounds = int(min(200, max(3, BUDGET_S / 3 / pilot.median_s)))
    times = []

    def several_rounds():
        several = group.time(
            operation,
            algorithm=algorithm,
            message_bytes=message_bytes,
            dtype=DTYPE,
            n_rounds=n_rounds,
        )
        times.append(several)
        CLOCK.now_s += several.median_s

    benchmark.group = f"{operation} {group.n_ranks} ranks {message_bytes} bytes {DTYPE}"
    benchmark.pedantic(several_rounds, rounds=3, iterations=1)
    best = min(times, key=lambda several: several.median_s)
    benchmark.extra_info.update(
        device=host_device().name,
        n_threads=1,
        n_cores=n_host_cores(),
        load=os.getloadavg()[0],
        operation=operation,
        n_ranks=group.n_ranks,
        algorithm=algorithm,
        dtype=DTYPE,
        message_bytes=best.message_bytes,
        n_rounds=n_rounds,
        algorithm_bandwidth_bytes_per_s=best.algorithm_bandwidth_bytes_per_s,
        bus_bandwidth_bytes_per_s=best.bus_bandwidth_bytes_per_s,
    )


@pytest.mark.benchmark(timer=CLOCK)
@pytest.mark.parametrize("message_bytes", SIZES)
@pytest.mark.parametrize("algorithm", ["ring", "tree"])
def test_all_reduce(benchmark, group, algorithm, message_bytes):
    bench(benchmark, group, "all_reduce", algorithm, message_bytes)


@pytest.mark.benchmark(timer=CLOCK)
@pytest.mark.parametrize("message_bytes", [2**10, 2**20, 2**24])
@pytest.mark.parametrize(
    "operation", ["all_gather", "reduce_scatter", "all_to_all", "point_to_point"]
)
def test_other_operations(benchmark, group, operation, message_bytes):
    algorithms = {"all_to_all": "pairwise", "point_to_point": "direct"}
    bench(benchmark, group, operation, algorithms.get(operation, "ring"), message_bytes)
