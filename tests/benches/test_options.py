"""The benches as pytest is asked to run them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benches import conftest
from kernels import backends


class Config:
    """As much of pytest's configuration as the options need."""

    def __init__(self, **options):
        known = {"backend": "auto", "quick": False, "threads": None, "profiles": [], "device": None}
        self.option = SimpleNamespace(help=False, **known | {"no_energy": False} | options)

    def getoption(self, name):
        return getattr(self.option, name.removeprefix("--").replace("-", "_"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"backend": "rocm"}, "backend rocm: no driver"),
        ({"backend": "cpu", "device": "host-gpu"}, 'accelerator "host-gpu": unknown'),
        ({"backend": "cpu", "threads": 0}, "--threads 0: expected 1 to"),
        ({"backend": "cpu", "profiles": ["nowhere"]}, "--profiles nowhere: no such folder"),
    ],
)
def test_what_is_not_here_is_one_line_and_exit_code_2(options, said, monkeypatch):
    monkeypatch.setattr(backends, "_accelerator", lambda _backend: None)
    monkeypatch.setattr(backends, "why_missing", lambda _backend: "no driver")
    with pytest.raises(pytest.exit.Exception, match=said) as stopped:
        conftest.pytest_configure(Config(**options))
    assert stopped.value.returncode == 2
    assert "\n" not in stopped.value.msg


def test_files_of_the_benches_are_looked_at_before_anything_is_measured(tmp_path):
    torn = tmp_path / "torn.json"
    torn.write_text('{"benchmarks": [')
    for options, said in (
        ({"benchmark_json": tmp_path}, "is a folder; expected a file"),
        ({"benchmark_json": tmp_path / "no" / "x.json"}, "no such folder"),
        ({"benchmark_compare": str(tmp_path / "no.json")}, "no such file"),
        ({"benchmark_compare": str(torn)}, "no run of benches"),
    ):
        with pytest.raises(pytest.exit.Exception, match=said) as stopped:
            conftest.pytest_configure(Config(backend="cpu", **options))
        assert stopped.value.returncode == 2
        assert "\n" not in stopped.value.msg


def test_a_file_that_is_open_already_is_looked_at_by_its_name(tmp_path):
    with (tmp_path / "benches.json").open("wb") as written:
        config = Config(backend="cpu", quick=True, benchmark_json=written)
        conftest.pytest_configure(config)
    assert config.kernel_bench.is_quick


def test_the_host_is_there_for_everyone():
    config = Config(backend="cpu", quick=True, device="host-cpu")
    conftest.pytest_configure(config)
    assert config.kernel_bench.device.backend == "cpu"
    assert config.kernel_bench.profile.name == "host-cpu"
    selection = conftest.selection_of(config)
    assert (selection.is_host, selection.is_quick) == (True, True)


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
