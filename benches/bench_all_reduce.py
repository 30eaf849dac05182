"""How fast are messages reduced and exchanged: among processes on the host, among GPUs by NCCL?

Messages of tensor, data and pipeline parallelism of the model catalogue, and sweeps. The times are
those of the ranks themselves, the slowest of each round, and not of the process that gives the
orders. More ranks than cores measure the scheduler. ``pytest benches/bench_all_reduce.py``.
"""

import pytest

from benches.conftest import selection_of
from benches.record import Outcome
from benches.replay import CLOCK
from benches.shapes import collective_cases
from kernels.all_reduce.bandwidth import bus_bandwidth_bytes_per_s
from kernels.all_reduce.cpu import RankGroup
from kernels.all_reduce.cpu_algorithms import ALGORITHMS
from kernels.benched.contender import own_library

pytestmark = pytest.mark.benchmark(timer=CLOCK)

N_PILOT, N_LEAST, N_MOST = 3, 5, 200
"""Rounds that say how long one takes, and bounds of those that are timed. [1]"""
HOST_RANKS = (2, 4)
N_ROUNDS_ON_GPUS = 20
ROUNDS_PER_GRAPH = 20
"""Rounds of one CUDA graph: a launch from Python takes longer than a small message. [1]"""
VENDOR = "nccl"
OWN_RANKS = range(2, 9)
OWN_ON_GPUS = ("one_shot", "two_shot")
OWN_MOST_BYTES = 2**24
"""Beyond it the vendor's library is better on any wires, and ours is not timed. [byte]"""
TYPES = {"fp32": "float32", "fp16": "float16"}


def pytest_generate_tests(metafunc):
    config = metafunc.config
    selection, backend = selection_of(config), config.kernel_bench.device.backend
    is_of_host = metafunc.function is bench_host
    if is_of_host != (backend == "cpu"):
        metafunc.parametrize(("case", "algorithm"), [])
        return
    numbers = HOST_RANKS[:1] if selection.is_quick else HOST_RANKS
    pairs = [
        pytest.param(case, algorithm, id=f"{case.name}-{algorithm}")
        for n_ranks in (numbers if is_of_host else (n_gpus(),))
        for case in collective_cases(selection, n_ranks=n_ranks)
        for algorithm in (_algorithms(case) if is_of_host else algorithms_on_gpus(case))
    ]
    metafunc.parametrize(("case", "algorithm"), pairs)


def _algorithms(case) -> list[str]:
    return [name for operation, name in ALGORITHMS if operation == case.details["operation"]]


def algorithms_on_gpus(case) -> tuple[str, ...]:
    """The vendor's library, and our own kernels where they take the message."""
    is_ours = case.details["operation"] == "all_reduce" and case.shape["ranks"] in OWN_RANKS
    if is_ours and case.shape["message_bytes"] <= OWN_MOST_BYTES:
        return (VENDOR, *OWN_ON_GPUS)
    return (VENDOR,)


def n_gpus() -> int:
    """GPUs that CuPy sees here, at least two: one has nobody to send to. [1]"""
    from kernels.gpu.cupy_module import why_no_gpu

    if why_no_gpu() is not None:
        return 2
    import cupy

    return max(2, cupy.cuda.runtime.getDeviceCount())


@pytest.fixture(scope="module")
def groups():
    """Groups of ranks by their number, started when the first case needs them."""
    found = {}
    largest_bytes = 2**24

    def group_of(n_ranks):
        if n_ranks not in found:
            for other in [*found]:
                found.pop(other).__exit__(None, None, None)
            found[n_ranks] = RankGroup(n_ranks, max_bytes=largest_bytes).__enter__()
        return found[n_ranks]

    yield group_of
    for group in found.values():
        group.__exit__(None, None, None)


def bench_host(benchmark, kernel_bench, groups, case, algorithm):
    group, message_bytes = groups(case.shape["ranks"]), case.shape["message_bytes"]
    given = {"algorithm": algorithm, "message_bytes": message_bytes, "dtype": TYPES[case.dtype]}
    operation = case.details["operation"]
    if benchmark.disabled:
        group.time(operation, n_rounds=1, **given)
        benchmark.pedantic(lambda: None)
        return
    pilot = group.time(operation, n_rounds=N_PILOT, **given)
    n_rounds = int(min(N_MOST, max(N_LEAST, kernel_bench.policy.budget_s / pilot.median_s)))
    times = group.time(operation, n_rounds=n_rounds, **given)
    finish(benchmark, kernel_bench, case, times, library=own_library(f"processes:{algorithm}"))


@pytest.fixture(scope="module")
def times_on_gpus(kernel_bench, pytestconfig):
    """Times by case and algorithm: ranks are started once, and meet once."""
    from kernels.all_reduce.gpu import GpuTask, require_nccl, time_on_gpus

    cupy, _nccl = require_nccl()
    n_ranks = int(cupy.cuda.runtime.getDeviceCount())
    if n_ranks < 2:
        pytest.skip("collectives need two GPUs; CuPy sees one")
    # CuPy captures graphs with CUDA only.
    rounds_per_graph = ROUNDS_PER_GRAPH if kernel_bench.device.backend == "cuda" else 0
    pairs = [
        (case, algorithm)
        for case in collective_cases(selection_of(pytestconfig), n_ranks=n_ranks)
        for algorithm in algorithms_on_gpus(case)
    ]
    tasks = [
        GpuTask(
            case.details["operation"],
            case.shape["message_bytes"],
            TYPES[case.dtype],
            N_ROUNDS_ON_GPUS,
            algorithm=algorithm,
            rounds_per_graph=rounds_per_graph,
        )
        for case, algorithm in pairs
    ]
    keys = [(case.name, algorithm) for case, algorithm in pairs]
    return dict(zip(keys, time_on_gpus(tasks), strict=True))


def bench_gpus(benchmark, kernel_bench, times_on_gpus, case, algorithm):
    vendor = "rccl" if kernel_bench.device.backend == "rocm" else VENDOR
    times = times_on_gpus[case.name, algorithm]
    if algorithm == VENDOR:
        finish(benchmark, kernel_bench, case, times, library=vendor)
        return
    vendor_s = {vendor: times_on_gpus[case.name, VENDOR].median_s}
    library = own_library(f"peers:{algorithm}")
    finish(benchmark, kernel_bench, case, times, library=library, vendor_s=vendor_s)


def finish(benchmark, kernel_bench, case, times, *, library, vendor_s=None):
    """Hand over what the ranks timed, with the bus bandwidth of nccl-tests."""
    benchmark.group = case.name
    is_on_gpus = kernel_bench.device.backend != "cpu"
    bandwidth = bus_bandwidth_bytes_per_s(
        case.details["operation"],
        message_bytes=times.message_bytes,
        time_s=times.median_s,
        n_ranks=times.n_ranks,
    )
    outcome = Outcome(
        case=case,
        library=library,
        framework="cupy" if is_on_gpus else "numpy",
        median_s=times.median_s,
        vendor_s=vendor_s or {},
        why_no_vendor="" if is_on_gpus else "no vendor's library joins processes of one host",
        why_no_energy="ranks are processes of their own, which the counter does not tell apart",
        details={
            "clock": "events on the device" if is_on_gpus else "clock on the wall",
            "n_threads": 1,
            "algorithm": times.algorithm,
            "bus_bandwidth_bytes_per_s": bandwidth,
        },
    )
    kernel_bench.record(benchmark, outcome, times.times_s)
