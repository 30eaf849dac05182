"""How fast is flash attention, forward and backward, beside torch's and the unfused form?

Causal attention of the layers of the model catalogue, and sweeps over lengths, head widths, masks
and windows. ``pytest benches/bench_attention.py``.
"""

import pytest

from benches.conftest import selection_of
from benches.kernel_bench import contenders_of
from benches.replay import CLOCK
from benches.shapes import attention_cases

pytestmark = pytest.mark.benchmark(timer=CLOCK)


def pytest_generate_tests(metafunc):
    backend = metafunc.config.kernel_bench.device.backend
    pairs = [
        pytest.param(case, name, id=f"{case.name}-{name}")
        for case in attention_cases(selection_of(metafunc.config))
        for name in contenders_of(case, backend)
    ]
    metafunc.parametrize(("case", "contender"), pairs)


def bench_attention(benchmark, kernel_bench, case, contender):
    kernel_bench.run(benchmark, case, contender)
