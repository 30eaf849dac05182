"""How near do memory-bound kernels come to the bandwidth that a copy reaches?

Norms, activations, loss and optimizer step of the layers of the model catalogue, each timed in turn
with a copy and with torch where it is installed; copies and triads over sizes.
``pytest benches/bench_memory_bound.py``.
"""

import pytest

from benches.conftest import selection_of
from benches.kernel_bench import contenders_of
from benches.replay import CLOCK
from benches.shapes import operation_cases, stream_cases

pytestmark = pytest.mark.benchmark(timer=CLOCK)


def pytest_generate_tests(metafunc):
    backend = metafunc.config.kernel_bench.device.backend
    make = stream_cases if metafunc.function is bench_stream else operation_cases
    pairs = [
        pytest.param(case, name, id=f"{case.name}-{name}")
        for case in make(selection_of(metafunc.config))
        for name in contenders_of(case, backend)
    ]
    metafunc.parametrize(("case", "contender"), pairs)


def bench_operation(benchmark, kernel_bench, case, contender):
    kernel_bench.run(benchmark, case, contender)


def bench_stream(benchmark, kernel_bench, case, contender):
    kernel_bench.run(benchmark, case, contender)
