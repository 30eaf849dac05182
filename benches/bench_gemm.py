"""How fast are the project's matrix products, beside the vendor's library on the same operands?

Shapes of the layers of the model catalogue, and square ones. ``pytest benches/bench_gemm.py``.
"""

import pytest

from benches.conftest import selection_of
from benches.kernel_bench import contenders_of
from benches.replay import CLOCK
from benches.shapes import gemm_cases

pytestmark = pytest.mark.benchmark(timer=CLOCK)


def pytest_generate_tests(metafunc):
    backend = metafunc.config.kernel_bench.device.backend
    pairs = [
        pytest.param(case, name, id=f"{case.name}-{name}")
        for case in gemm_cases(selection_of(metafunc.config))
        for name in contenders_of(case, backend)
    ]
    metafunc.parametrize(("case", "contender"), pairs)


def bench_gemm(benchmark, kernel_bench, case, contender):
    kernel_bench.run(benchmark, case, contender)
