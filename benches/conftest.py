"""Options and fixtures of the benches: which backend, how much, which profiles.

``pytest benches --backend cuda --quick`` works from the root. A backend that is not here is one
line and exit code 2. docs/benches.md describes everything.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benches.benchmark_files import check_compared, check_written
from hardware_profiles.errors import TweelingError
from kernels.backends import BACKENDS, find_device

BAD_INPUT = 2


def pytest_addoption(parser):
    group = parser.getgroup("kernel benches")
    backends = ", ".join(("auto", *BACKENDS))
    group.addoption("--backend", default="auto", help=f"{backends}; TWEELING_BACKEND too")
    group.addoption("--quick", action="store_true", help="few shapes, and kernels only")
    group.addoption("--threads", type=int, help="threads of the host; one is timed by CPU time")
    group.addoption(
        "--profiles", action="append", default=[], metavar="DIR", help="your own profiles"
    )
    group.addoption("--device", metavar="PROFILE", help="profile to take the device for")
    group.addoption("--no-energy", action="store_true", help="leave energy counters alone")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    if config.option.help:
        return
    try:
        _check_files(config)
        device = find_device(config.getoption("--backend"))
        # What is not here shall be said at once, before arrays and models are imported.
        from benches.kernel_bench import KernelBench
        from benches.record import catalogue_of, find_profile

        catalogue = catalogue_of(config.getoption("--profiles"))
        profile = find_profile(device, catalogue, named=config.getoption("--device"))
        config.kernel_bench = KernelBench(
            device,
            profile=profile,
            is_quick=config.getoption("--quick"),
            n_threads=config.getoption("--threads"),
            has_energy=not config.getoption("--no-energy"),
        )
    except TweelingError as error:
        pytest.exit(str(error), returncode=BAD_INPUT)


def _check_files(config):
    """What pytest-benchmark would find wrong only after measuring everything."""
    written = getattr(config.option, "benchmark_json", None)
    if written is not None:
        # Before pytest-benchmark 5.3 it is a file that is open already.
        check_written(written if isinstance(written, Path) else Path(written.name))
    compared = getattr(config.option, "benchmark_compare", None)
    if isinstance(compared, str):
        check_compared(compared)


def pytest_collection_modifyitems(config, items):
    """Leave out benches without a case here, and others than kernels where these are asked for."""
    bench = config.kernel_bench
    has_others = not bench.is_quick and bench.device.backend == "cpu"

    def is_wanted(item) -> bool:
        is_of_kernel = "kernel_bench" in item.fixturenames
        return (is_of_kernel and "NOTSET" not in item.name) or (not is_of_kernel and has_others)

    config.hook.pytest_deselected(items=[item for item in items if not is_wanted(item)])
    items[:] = [item for item in items if is_wanted(item)]


def selection_of(config):
    """How much is benched here, as `benches.shapes.Selection`."""
    from benches.shapes import Selection

    bench = config.kernel_bench
    return Selection(is_host=bench.device.backend == "cpu", is_quick=bench.is_quick)


@pytest.fixture(scope="session")
def kernel_bench(pytestconfig):
    """The device with everything that a bench of a kernel needs."""
    return pytestconfig.kernel_bench


def pytest_benchmark_update_machine_info(config, machine_info):
    """Say what was measured, and nothing that tells one machine from another."""
    machine_info.pop("node", None)
    machine_info.update(config.kernel_bench.machine_info())


def pytest_benchmark_compare_machine_info(config, machine_info, compared_benchmark):
    """Refuse a baseline of another device: names of benches do not tell devices apart."""
    before, now = compared_benchmark["machine_info"], machine_info
    for key in ("device", "backend", "n_threads"):
        if before.get(key) != now.get(key):
            msg = f"the baseline is of {key} {before.get(key)!r}, this is {now.get(key)!r}"
            pytest.exit(f"{msg}; record one with `make bench-baseline`", returncode=BAD_INPUT)
