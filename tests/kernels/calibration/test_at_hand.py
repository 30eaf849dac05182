"""A calibration of a GPU at hand, with a survey that is made up and fits that are known."""

import csv
import json

import pytest

from hardware_profiles.calibration import Calibration
from hardware_profiles.catalogue import Catalogue
from hardware_profiles.check import check_files
from kernels.backends import Device
from kernels.calibration.at_hand import calibrate_device
from kernels.calibration.report import fit_reports
from kernels.calibration.run import CalibrationResult
from kernels.families.inheritance import family_calibration
from kernels.measurement_tables import MeasurementError
from kernels.measurements import BandwidthMeasurement, GemmMeasurement, PowerMeasurement
from kernels.survey.store import Store
from kernels.survey.survey import Survey

SIZES = (512, 1024, 2048, 4096)
LOADS = ((600.0, 240.0, 650.0), (300.0, 2000.0, 600.0), (0.0, 4000.0, 450.0))


def device_called(name):
    return Device(
        backend="cuda",
        vendor="nvidia",
        name=name,
        framework="torch",
        architecture="sm_90",
        n_units=100,
        memory_bytes=64 * 2**30,
        cache_bytes=32 * 2**20,
    )


def surveyed(name, request, *, ending="finished", has_rows=True):
    """A survey of products at 500 Tflop/s, a copy at 3 TB/s and six loads."""
    shared = {"device": name, "vendor": "nvidia", "library": "torch-2:mm", "clock_mhz": 1600.0}
    store = Store(request.folder, environment={"device": {"name": name}})
    if has_rows:
        for size in SIZES:
            time_us = 2e6 * size**3 / 500e12
            row = {"dtype": "bf16", "m": size, "n": size, "k": size, "latency_us": time_us}
            store.add([GemmMeasurement(**shared, **row, case=f"bf16/{size}")])
        copy = {"op": "copy", "bytes": 2**30, "GBps": 3000.0, "latency_us": 358.0}
        store.add([BandwidthMeasurement(**shared, **copy, case="copy")])
        for number, (tflops, gbps, power_w) in enumerate(LOADS * 2):
            load = {"tflops": tflops, "GBps": gbps, "power_w": power_w, "power_limit_w": 700.0}
            kind = {"workload": "gemm", "dtype": "bf16", "duration_s": 5.0}
            store.add([PowerMeasurement(**shared, **load, **kind, case=f"load{number}")])
    store.flush(ending=ending)
    return Survey(device=device_called(name), store=store, ending=ending)


@pytest.fixture
def fitted(monkeypatch):
    """In place of the fits, which have tests of their own: constants of a family."""
    seen = []
    h100 = family_calibration("hopper").gemm["bf16"]

    def fit(session):
        seen.append(session)
        rows = session.table("gemm.parquet", ("device", "dtype", "m", "n", "k", "latency_us"))
        (name,) = session.by_accelerator(rows)
        own = {name: Calibration(gemm={"bf16": h100})}
        return CalibrationResult(fitted=own, families={}, reports=fit_reports(own))

    monkeypatch.setattr("kernels.calibration.at_hand.calibrate", fit)
    return seen


def calibrate(name, out, **changes):
    return calibrate_device(
        device_called(name),
        out,
        is_quick=True,
        survey=lambda request: surveyed(name, request, **changes),
    )


def test_a_known_device_keeps_its_profile_and_gets_the_fit(fitted, tmp_path):
    outcome = calibrate("NVIDIA H200", tmp_path)
    machine = Catalogue((tmp_path,)).machine(outcome.cluster)
    assert machine.accelerator.name == "h200-sxm"
    assert machine.node.n_devices == 1
    assert machine.accelerator.calibration.power.provenance.n_samples == len(LOADS) * 2
    assert machine.accelerator.compute == Catalogue().accelerator("h200-sxm").compute
    assert {one.device for one in outcome.reports} == {"h200-sxm"}
    assert all(path.is_file() for path in outcome.files)


def test_an_unknown_device_gets_a_profile_of_what_was_measured(fitted, tmp_path):
    outcome = calibrate("NVIDIA X9000", tmp_path)
    device = Catalogue((tmp_path,)).machine(outcome.cluster).accelerator
    assert device.name == "nvidia-x9000"
    assert device.compute.peak_flop_per_s == {"bf16": pytest.approx(500e12)}
    assert device.memory.bandwidth_bytes_per_s == 3e12
    assert (device.power.tdp_w, device.compute.boost_clock_hz) == (700.0, 1.6e9)
    assert device.calibration.gemm
    profiles = sorted(tmp_path.rglob("*.toml"))
    assert len(profiles) == 3
    findings = check_files(profiles, Catalogue())
    assert not [one.message for one in findings if one.severity == "error"]


def test_an_interrupted_survey_is_gone_on_with(fitted, tmp_path, caplog):
    asked = []

    def survey(request):
        asked.append(request)
        ending = "interrupted" if len(asked) == 1 else "finished"
        return surveyed("NVIDIA H200", request, ending=ending)

    with caplog.at_level("INFO"):
        with pytest.raises(KeyboardInterrupt):
            calibrate_device(device_called("NVIDIA H200"), tmp_path, is_quick=False, survey=survey)
        assert "the same command goes on there" in caplog.text
        calibrate_device(device_called("NVIDIA H200"), tmp_path, is_quick=False, survey=survey)
    assert "going on with the survey" in caplog.text
    assert all(request.resumes for request in asked)
    assert asked[0].folder == asked[1].folder
    assert asked[0].time_limit_s is None


def test_a_quick_survey_has_a_time_limit(fitted, tmp_path):
    limits = []

    def survey(request):
        limits.append(request.time_limit_s)
        return surveyed("NVIDIA H200", request)

    calibrate_device(device_called("NVIDIA H200"), tmp_path, is_quick=True, survey=survey)
    assert limits[0] < 120.0


def test_a_survey_without_rows_makes_no_profile(fitted, tmp_path):
    with pytest.raises(MeasurementError, match="holds no matrix product"):
        calibrate("NVIDIA X9000", tmp_path, has_rows=False)
    assert not list(tmp_path.rglob("*.toml"))


def test_tables_that_only_surveys_have_are_read_from_their_folder(fitted, tmp_path):
    calibrate("NVIDIA H200", tmp_path)
    (session,) = fitted
    assert session.has_table("bandwidth.csv")
    tables = session.survey_tables("bandwidth.csv", ("device", "op", "GBps"))
    assert "copy" in {str(op) for table in tables for op in table["op"]}
    (path,) = tmp_path.rglob("power.csv")
    with path.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * len(LOADS)
    assert json.loads((path.parent / "environment.json").read_text())["ending"] == "finished"
