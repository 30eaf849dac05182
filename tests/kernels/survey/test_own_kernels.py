"""The project's own kernels in a survey: cases, rows beside each other, and where they stand."""

from __future__ import annotations

import io
import json

import pytest

from kernels.benched.contender import COPY, Contender, Contest
from kernels.measurements import (
    AttentionMeasurement,
    BandwidthMeasurement,
    GemmMeasurement,
    OperationMeasurement,
    read_measurements,
)
from kernels.survey.own_kernels import own_cases_here, own_kernel_cases
from kernels.survey.reading import NoSensor
from kernels.survey.runner import Limits, Progress, run_cases
from kernels.survey.sampler import Sampler
from kernels.survey.setting import Setting
from kernels.survey.standing import (
    FILE,
    own_standings,
    standing_document,
    tell_standings,
)
from kernels.survey.store import Store
from kernels.timing import Samples
from tests.kernels.benched.fake_device import DEVICE

RIVALS = {"gemm": ("vendor",), "attention": ("sdpa-flash", "sdpa-cudnn"), "ops": ("torch", COPY)}
TIMES_S = {"own": 2e-3, "vendor": 1.8e-3, "sdpa-flash": 1.6e-3, "sdpa-cudnn": 1.2e-3}
TIMES_S |= {"torch": 3e-3, COPY: 1e-3}


class Arena:
    """Says who runs a case and how long each takes; runs nothing."""

    device, n_threads, clock = DEVICE, 1, "a table"

    def contest(self, case):
        names = ("own", *RIVALS[case.family])
        contenders = {
            name: Contender(
                call=lambda _index: None,
                library=f"{name}-lib",
                framework="x",
                is_vendor=name != "own",
            )
            for name in names
        }
        return Contest(
            case=case, contenders=contenders, copy_bytes=2e9 if case.family == "ops" else 0.0
        )

    def measure(self, contest, names, policy):
        assert names[0] == "own"
        return {name: Samples(times_s=(TIMES_S[name],) * 3, n_inner=1) for name in names}

    def synchronize(self):
        pass


@pytest.fixture(scope="module")
def setting():
    return Setting(device=DEVICE, software="s", sampler=Sampler(NoSensor()), is_quick=True)


@pytest.fixture(scope="module")
def store(setting, tmp_path_factory):
    """A survey of the coarse cases."""
    environment = {"date": "2026-11-26T00:00:00Z", "device": {"name": DEVICE.name, "driver": "580"}}
    environment["software"] = {"cupy": "14.2.0"}
    found = Store(tmp_path_factory.mktemp("survey"), environment=environment)
    cases = [case for case in own_kernel_cases(setting, Arena()) if case.priority == 0]
    ending = run_cases(cases, store=found, limits=Limits(), progress=Progress(io.StringIO()))
    assert ending == "finished"
    return found


def test_the_coarse_cases_hold_what_is_promised(setting):
    cases = own_kernel_cases(setting, Arena())
    assert len({(case.family, case.key) for case in cases}) == len(cases)
    coarse = {case.key for case in cases if case.priority == 0}
    assert "own/gemm-bf16-8192x8192x8192/TN" in coarse
    for direction in ("fwd", "bwd"):
        assert f"own/attention-{direction}-bf16-b2-s8192-hq32-hkv32-d128-causal" in coarse
    products = [key for key in coarse if key.startswith("own/gemm")]
    assert len(products) > 60
    assert {case.family for case in cases} == {"gemm", "attention", "memory_bound"}


def test_each_row_has_its_rivals_beside_it(store):
    products = read_measurements(store.folder / "gemm.csv", GemmMeasurement)
    own, beside = products[0], products[1]
    assert beside.case == f"{own.case}/vendor"
    assert (own.library, beside.library) == ("own-lib", "vendor-lib")
    assert own.power_w is None
    calls = read_measurements(store.folder / "attention.csv", AttentionMeasurement)
    assert len(calls) == 3 * 4
    operations = read_measurements(store.folder / "memory_bound.csv", OperationMeasurement)
    copies = read_measurements(store.folder / "bandwidth.csv", BandwidthMeasurement)
    assert 2 * len(copies) == len(operations)
    assert copies[0].GBps == pytest.approx(2000.0)


def test_a_resumed_survey_leaves_out_what_is_there(store, setting):
    cases = [case for case in own_kernel_cases(setting, Arena()) if case.priority == 0]
    assert {(case.family, case.key) for case in cases} <= store.done()


def test_standings_are_ratios_of_speed(store):
    found = {one.what.split(" against")[0]: one for one in own_standings(store.all_rows())}
    cube = found["bf16 product of 8192^3"]
    assert (cube.n_cases, cube.ratio) == (1, pytest.approx(0.9))
    assert found["bf16 products of the models' layers"].ratio == pytest.approx(0.9)
    # The fastest of the two libraries counts.
    forward = found["attention fwd, causal, 8192 tokens, heads of 128,"]
    assert (forward.n_cases, forward.ratio) == (2, pytest.approx(0.6))
    row = next(r for r in store.all_rows() if r.case == "own/rmsnorm-fwd-bf16-8192x4096")
    operations = found["memory-bound operations"]
    assert operations.least_ratio <= row.bytes / 2e-3 / 2e12 <= operations.n_cases
    assert "target 0.85" in cube.words


def test_the_file_says_on_what_and_when(store, capsys):
    tell_standings(store)
    document = json.loads((store.folder / FILE).read_text())
    assert document["date"].startswith("2026-11-26")
    assert document["device"] == {"name": DEVICE.name, "driver": "580"}
    assert document["software"] == {"cupy": "14.2.0"}
    assert len(document["figures"]) == 5
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_a_survey_without_own_kernels_has_no_standing():
    assert own_standings([]) == []
    assert standing_document([], {})["figures"] == []


def test_without_cupy_one_line_says_that_they_are_left_out(setting, monkeypatch, capsys):
    monkeypatch.setattr("kernels.gpu.cupy_module.why_no_gpu", lambda: "cupy is not installed")
    assert own_cases_here(setting) == []
    assert capsys.readouterr().err == (
        "the project's own kernels are not measured: cupy is not installed\n"
    )
