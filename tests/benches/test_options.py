"""The benches as pytest is asked to run them."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from benches import conftest
from kernels.backends import why_missing


def run(repository, *options):
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    environment.pop("PYTEST_XDIST_WORKER", None)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "benches/", "-p", "no:cacheprovider", *options],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(why_missing("rocm") is None, reason="an AMD GPU is here")
def test_a_backend_that_is_not_here_is_one_line(repository):
    done = run(repository, "--backend", "rocm")
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if "backend rocm:" in line]
    assert lines
    assert "ROCm runtime" in lines[0] or "sees no rocm device" in lines[0]


class Item:
    """As much of a collected bench as is looked at."""

    def __init__(self, name, *fixtures):
        self.name, self.fixturenames = name, fixtures


@pytest.mark.parametrize(
    ("backend", "is_quick", "kept"),
    [("cpu", False, ["gemm", "screens"]), ("cpu", True, ["gemm"]), ("cuda", False, ["gemm"])],
)
def test_kernels_alone_are_benched_on_a_gpu_and_in_a_hurry(backend, is_quick, kept):
    items = [
        Item("gemm", "benchmark", "kernel_bench"),
        Item("gpus[NOTSET]", "kernel_bench"),
        Item("screens", "benchmark"),
    ]
    left_out = []
    config = SimpleNamespace(
        kernel_bench=SimpleNamespace(is_quick=is_quick, device=SimpleNamespace(backend=backend)),
        hook=SimpleNamespace(pytest_deselected=lambda items: left_out.extend(items) or None),
    )
    conftest.pytest_collection_modifyitems(config, items)
    assert [item.name for item in items] == kept
    assert len(items) + len(left_out) == 3


def info(**changed):
    known = {"device": "NVIDIA H200", "backend": "cuda", "n_threads": 1, "driver": "580.1"}
    return {**known, **changed}


def test_a_baseline_of_another_device_is_refused_and_another_driver_is_not():
    compare = conftest.pytest_benchmark_compare_machine_info
    compare(None, info(), {"machine_info": info(driver="570.2")})
    with pytest.raises(pytest.exit.Exception, match="of device 'NVIDIA H100', this is"):
        compare(None, info(), {"machine_info": info(device="NVIDIA H100")})


def test_nothing_tells_one_machine_from_another():
    found = {"node": "my-computer"}
    told = SimpleNamespace(kernel_bench=SimpleNamespace(machine_info=info))
    conftest.pytest_benchmark_update_machine_info(told, found)
    assert found == info()
