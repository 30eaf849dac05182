"""From samples to pytest-benchmark and extra_info, and back through the importer."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import pytest

from benches import baseline, bench_all_reduce, kernel_bench
from benches.kernel_bench import KernelBench
from benches.record import Bed, Outcome, Profile, extra_info, find_profile
from benches.replay import CLOCK, replay
from hardware_profiles.catalogue import Catalogue
from hardware_profiles.errors import TweelingError
from kernels.all_reduce.round_times import RoundTimes
from kernels.backends import BackendError, Device, host_device
from kernels.benched.case import (
    attention_case,
    collective_case,
    gemm_case,
    operation_case,
    stream_case,
)
from kernels.benched.contender import COPY, Contender, Contest
from kernels.importers.files import import_file
from kernels.importers.request import ImportRequest
from kernels.survey.reading import NoSensor, Reading
from kernels.survey.shapes import AttentionShape, GemmShape
from kernels.timing import Samples

CATALOGUE = Catalogue()
H200 = Device(
    backend="cuda",
    vendor="nvidia",
    name="NVIDIA H200",
    framework="cupy",
    architecture="sm_90",
    n_units=132,
    memory_bytes=141 * 2**30,
    cache_bytes=50 * 2**20,
)
HEADS = AttentionShape(batch=2, heads_q=32, heads_kv=8, seq=8192, head_dim=128, is_causal=True)
CASES = {
    "gemm": gemm_case(GemmShape(m=8192, n=8192, k=8192, layout="TN", role="r"), dtype="bf16"),
    "attention": attention_case(HEADS, direction="fwd", dtype="bf16"),
    "ops": operation_case("rmsnorm", direction="bwd", dtype="bf16", rows=8192, cols=4096),
    "membw": stream_case("copy", dtype="bf16", vector_bytes=2**30),
    "collectives": collective_case(
        "all_reduce", dtype="fp16", n_ranks=8, message_bytes=2**26, link="NVLink4+NVSwitch"
    ),
}
NULLS = {"roofline_fraction", "predicted_time_s", "prediction_error_fraction", "vendor_ratio"}
NULLS |= {"energy_per_launch_j"}


class Fixture:
    """As much of pytest-benchmark's fixture as a bench uses."""

    disabled, group = False, ""

    def __init__(self):
        self.extra_info, self.times_s = {}, []

    def pedantic(self, target, *, setup, rounds, iterations):
        for _ in range(rounds):
            setup()
            start_s = CLOCK()
            target()
            self.times_s.append(CLOCK() - start_s)


def bed(device=H200, profile=None, **changed):
    known = {"n_threads": 1, "clock": "events", "driver": "580.1", "packages": {"cupy": "14.2.0"}}
    profile = profile or find_profile(device, CATALOGUE)
    return Bed(device=device, profile=profile, **{**known, **changed})


def outcome(case, **changed):
    known = {"library": "tweeling-0.1.0:own", "framework": "cupy", "median_s": 2e-3}
    return Outcome(case=case, **{**known, **changed})


def test_samples_are_what_pytest_benchmark_sees():
    fixture = Fixture()
    replay(fixture, [1e-6, 3e-6, 2e-6])
    assert fixture.times_s == [1e-6, 3e-6, 2e-6]


def test_every_family_has_the_same_keys_and_a_reason_for_every_null():
    shapes = {"m", "n", "k", "batch", "layout", "rows", "cols", "ranks", "nodes", "link"}
    shapes |= {"message_bytes", "heads_q", "heads_kv", "seq_q", "seq_kv", "head_dim", "causal"}
    shapes |= {"window"}
    keys = set()
    for case in CASES.values():
        found = extra_info(outcome(case), bed())
        keys |= {frozenset(set(found) - shapes)}
        assert {key for key in NULLS if found[key] is None} == set(found["reasons"]) & NULLS
        json.dumps(found)
    assert len(keys) == 1


def test_figures_of_a_product_on_a_known_device():
    found = extra_info(outcome(CASES["gemm"], vendor_s={"a": 1.8e-3, "b": 1.6e-3}), bed())
    assert found["profile"] == "h200-sxm"
    assert found["vendor_ratio"] == pytest.approx(0.8)
    assert found["roofline_fraction"] == pytest.approx(2 * 8192**3 / 989.4e12 / 2e-3, rel=0.01)
    assert found["predicted_time_s"] == pytest.approx(1.5e-3, rel=0.2)
    error = found["predicted_time_s"] / 2e-3 - 1.0
    assert found["prediction_error_fraction"] == pytest.approx(error)
    assert found["flop_per_s"] == pytest.approx(2 * 8192**3 / 2e-3)


@pytest.mark.parametrize("family", ["attention", "ops", "collectives"])
def test_other_families_are_predicted_too(family):
    found = extra_info(outcome(CASES[family]), bed())
    assert found["predicted_time_s"] > 0
    assert 0 < found["roofline_fraction"] < 3


def test_a_device_without_a_profile_has_reasons_instead_of_figures():
    unknown = Profile(why_none="no profile carries the name")
    found = extra_info(outcome(CASES["gemm"]), bed(profile=unknown))
    assert found["profile"] is None
    assert found["reasons"]["predicted_time_s"] == "no profile carries the name"


def test_one_core_is_not_held_against_a_profile_of_two():
    host = bed(host_device(), profile=find_profile(host_device(), CATALOGUE, named="host-cpu"))
    found = extra_info(outcome(CASES["gemm"]), host)
    assert found["roofline_fraction"] is None
    assert "of 2 cores together" in found["reasons"]["roofline_fraction"]


def test_profiles_are_found_by_name_or_said():
    assert find_profile(H200, CATALOGUE).name == "h200-sxm"
    assert find_profile(host_device(), CATALOGUE, named="host-cpu").name == "host-cpu"
    surveyed = dataclasses.replace(host_device(), name="Intel(R) Xeon(R) Processor", n_units=2)
    assert find_profile(surveyed, CATALOGUE).accelerator is None
    with pytest.raises(TweelingError, match="unknown"):
        find_profile(H200, CATALOGUE, named="nothing-like-it")


class Arena:
    device, n_threads, clock = H200, 1, "a table"

    def contest(self, case):
        def contender(library, *, is_vendor=False):
            return Contender(
                call=lambda _i: None, library=library, framework="x", is_vendor=is_vendor
            )

        contenders = {"own": contender("ours"), "vendor": contender("theirs", is_vendor=True)}
        contenders |= {COPY: contender("copy")} if case.family == "ops" else {}
        return Contest(
            case=case, contenders=contenders, absent={"sdpa": "no torch"}, copy_bytes=1e9
        )

    def measure(self, contest, names, policy):
        times = {"own": 2e-3, "vendor": 1e-3, COPY: 0.5e-3}
        return {
            name: Samples(times_s=(times[name],) * 3, n_inner=2)
            for name in names
            if name in contest.contenders
        }

    def synchronize(self):
        pass


class Counter:
    """A counter of energy that moves by a joule with every reading."""

    name, power_limit_w = "nvml", 700.0

    def __init__(self):
        self.energy_j = 0.0

    def read(self):
        self.energy_j += 1.0
        return Reading(time_s=0.0, energy_j=self.energy_j)

    def describe(self):
        return {"driver": "580.1"}


def test_a_gpu_without_cupy_is_one_line(monkeypatch):
    monkeypatch.setattr(kernel_bench, "why_no_gpu", lambda: "cupy is not installed")
    with pytest.raises(BackendError, match=r"backend cuda: .* need CuPy: cupy is not installed"):
        KernelBench(H200, profile=Profile(), is_quick=True)


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.setattr(kernel_bench, "why_no_gpu", lambda: None)
    made = KernelBench(H200, profile=find_profile(H200, CATALOGUE), is_quick=True)
    made.arena, made.sensor = Arena(), NoSensor()
    return made


def test_a_bench_times_the_vendor_beside_itself_and_keeps_its_own_samples(bench):
    fixture = Fixture()
    bench.run(fixture, CASES["ops"], "own")
    assert fixture.times_s == pytest.approx([2e-3] * 3)
    assert fixture.group == "rmsnorm-bwd-bf16-8192x4096"
    found = fixture.extra_info
    assert found["vendor_ratio"] == 0.5
    own_bytes_per_s = CASES["ops"].traffic_bytes / 2e-3
    assert found["copy_bandwidth_fraction"] == pytest.approx(own_bytes_per_s / (1e9 / 0.5e-3))
    assert found["n_inner"] == 2
    vendors = Fixture()
    bench.run(vendors, CASES["ops"], "vendor")
    assert vendors.extra_info["reasons"]["vendor_ratio"] == "this is the vendor's library"


def test_energy_is_measured_where_a_counter_is(bench):
    bench.sensor, fixture = Counter(), Fixture()
    bench.run(fixture, CASES["gemm"], "own")
    # Batches of 10 ms hold five calls of 2 ms, and each reading is a joule later.
    assert fixture.extra_info["energy_per_launch_j"] == pytest.approx(0.2)
    assert fixture.extra_info["driver"] == "580.1"


def test_who_cannot_run_is_skipped_with_the_reason(bench):
    with pytest.raises(pytest.skip.Exception, match="no torch"):
        bench.run(Fixture(), CASES["gemm"], "sdpa")


@pytest.fixture
def report(tmp_path):
    """JSON as pytest-benchmark writes it, with one bench of each family."""
    stats = {"median": 2e-3, "mean": 2e-3, "data": [2e-3] * 9}
    document = {
        "machine_info": {"device": H200.name},
        "benchmarks": [
            {"name": family, "extra_info": extra_info(outcome(case), bed()), "stats": dict(stats)}
            for family, case in CASES.items()
        ],
    }
    path = tmp_path / "benches.json"
    path.write_text(json.dumps(document))
    return path


def test_what_benches_write_is_imported_for_every_family(report):
    found = import_file(report, ImportRequest(catalogue=CATALOGUE))
    assert found.n_rows == dict.fromkeys(CASES, 1)
    assert {table["device"][0] for table in found.tables.values()} == {"h200-sxm"}
    assert found.tables["collectives"]["latency_us"][0] == 2000.0
    assert found.tables["ops"]["direction"][0] == "bwd"


def test_a_baseline_folder_that_is_a_file_is_one_line(report, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(baseline.VARIABLE, str(tmp_path / "file"))
    assert baseline.main(["record", str(report)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be written" in line


def test_a_baseline_is_kept_by_device_without_samples(report, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(baseline.VARIABLE, str(tmp_path / "kept"))
    monkeypatch.setattr(baseline, "find_device", lambda _backend: SimpleNamespace(name=H200.name))
    assert baseline.main(["where"]) == 1
    assert "no baseline of NVIDIA H200 yet" in capsys.readouterr().err
    assert baseline.main(["record", str(report)]) == 0
    assert baseline.main(["where"]) == 0
    path = tmp_path / "kept" / "nvidia-h200.json"
    assert capsys.readouterr().out.split() == [str(path)] * 2
    stored = json.loads(path.read_text())
    assert len(stored["benchmarks"]) == len(CASES)
    assert all("data" not in one["stats"] for one in stored["benchmarks"])


@pytest.mark.parametrize("text", ["{", "{}", '{"machine_info": {"device": "x"}, "benchmarks": []}'])
def test_what_is_no_run_becomes_no_baseline(text, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(baseline.VARIABLE, str(tmp_path / "kept"))
    path = tmp_path / "run.json"
    path.write_text(text)
    assert baseline.main(["record", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "kept").exists()


def all_reduce_case(**changed):
    known = {"dtype": "fp16", "n_ranks": 8, "message_bytes": 2**18, "link": "NVLink4+NVSwitch"}
    return collective_case("all_reduce", **{**known, **changed})


def test_our_own_all_reduce_is_timed_where_it_takes_the_message():
    assert bench_all_reduce.algorithms_on_gpus(all_reduce_case())[1:] == ("one_shot", "two_shot")
    for vendors_alone in (
        all_reduce_case(message_bytes=2**26),
        all_reduce_case(n_ranks=16),
        collective_case("all_gather", dtype="fp16", n_ranks=8, message_bytes=2**18, link="x"),
    ):
        assert bench_all_reduce.algorithms_on_gpus(vendors_alone) == ("nccl",)


def test_our_own_all_reduce_stands_beside_the_vendors():
    case, fixture = all_reduce_case(), Fixture()
    times = RoundTimes(
        operation="all_reduce",
        algorithm="one_shot",
        dtype="float16",
        n_ranks=8,
        message_bytes=2**18,
        times_s=(2e-5, 2e-5, 2e-5),
    )
    nccl = dataclasses.replace(times, algorithm="nccl", times_s=(3e-5, 3e-5, 3e-5))
    bench = SimpleNamespace(device=H200, record=lambda _fixture, one, _times: results.append(one))
    results = []
    by_key = {(case.name, "nccl"): nccl, (case.name, "one_shot"): times}
    for algorithm in ("nccl", "one_shot"):
        bench_all_reduce.bench_gpus(fixture, bench, by_key, case, algorithm)
    vendor, own = (extra_info(one, bed()) for one in results)
    assert (vendor["library"], vendor["vendor_ratio"]) == ("nccl", None)
    assert own["vendor_ratio"] == pytest.approx(1.5)
    assert own["library"].endswith("peers:one_shot")
