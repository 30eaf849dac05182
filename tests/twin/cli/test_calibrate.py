"""`twin calibrate --from`: fits, reports, writes profiles that work, goes on after a stop."""

import contextlib
import hashlib
import io
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hardware_profiles.calibration import Calibration
from hardware_profiles.catalogue import Catalogue
from kernels.calibration.profiles import calibrated_profile, write_calibrations
from kernels.calibration.render import rendered_calibration
from kernels.calibration.report import FitReport, fit_reports, in_order
from kernels.calibration.run import CalibrationResult
from kernels.calibration.session import Session
from kernels.families.inheritance import completed_calibration
from kernels.gemm.machine import gemm_machine
from kernels.gemm.precision import PRECISIONS
from kernels.gemm.timing import KERNEL_ALONE
from kernels.host.calibrate import calibrate_host
from kernels.prediction.gemm import GEMM_COLUMNS, GemmTimes
from tests.kernels.host.made_up import measuring, small_plan
from twin.cli.calibrate_ways import Calibrated
from twin.cli.main import run
from twin.cli.output_folder import held_folder

N_SHAPES = 500


def gemm_text(device, n_shapes):
    """Products as the device's constants have them, as a table."""
    rng = np.random.default_rng(11)
    sizes = np.floor(2.0 ** rng.uniform(5.0, 13.0, size=(n_shapes, 3)))
    sizes = np.column_stack([sizes, np.ones(n_shapes)])
    accelerator = Catalogue().accelerator(device)
    fitted, precision = completed_calibration(accelerator).gemm["bf16"], PRECISIONS["bf16"]
    machine = gemm_machine(
        accelerator,
        fitted,
        peak_flop_per_s=accelerator.compute.peak_flop_per_s["bf16"],
        fitted_dtype="bf16",
    )
    times_s = GemmTimes().kernel_times_s(
        sizes, precision, machine, library=KERNEL_ALONE, residual=None
    )
    rows = [
        f"{device},bf16,{m:.0f},{n:.0f},{k:.0f},1,bench,{float(1e6 * time_s)!r},TWEELING"
        for (m, n, k, _), time_s in zip(sizes, times_s, strict=True)
    ]
    return "\n".join(["device,dtype,m,n,k,batch,library,latency_us,source_id", *rows]) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Products of a device that nobody measured, as its family would take them."""
    folder = tmp_path_factory.mktemp("measurements")
    (folder / "gemm.csv").write_text(gemm_text("b300-sxm", N_SHAPES))
    return folder


@pytest.fixture(scope="module")
def calibrated(folder, tmp_path_factory):
    """A finished calibration: its folder and the document that the verb wrote."""
    out = tmp_path_factory.mktemp("fitted") / "calibrated"
    document = io.StringIO()
    with contextlib.redirect_stdout(document):
        code = run(("calibrate", "--from", str(folder), "--out", str(out), "--json"))
    assert code == 0
    return out, json.loads(document.getvalue())


def test_the_report_counts_what_was_set_aside_and_the_profile_can_be_used(twin, calibrated):
    out, document = calibrated
    assert list(document)[:3] == ["tweeling_version", "command", "profile_hashes"]
    (entry,), (large,) = document["devices"], document["parts"]
    for one in (entry, large):
        assert (one["device"], one["family"], one["dtype"]) == ("b300-sxm", "gemm", "bf16")
    assert large["n_fitted"] is None
    assert 0 < large["n_heldout"] < entry["n_heldout"]
    assert large["mape_heldout"] < 0.05
    hashes = document["profile_hashes"]
    assert {"accelerator/b300-sxm", "family/relatives"} <= set(hashes)
    assert entry["n_fitted"] + entry["n_heldout"] == N_SHAPES
    assert entry["median_ape_heldout"] < 0.03
    assert entry["mape_heldout"] >= 0.0
    assert not (out / ".fits").exists()
    shown = json.loads(twin("profiles", "show", "b300-sxm", "--profiles", str(out), "--json").out)
    keys = {figure["key"]: figure for figure in shown["figures"]}
    figure = keys["calibration.gemm.bf16.tensor_efficiency_fraction"]
    assert figure["figure_class"] == "fitted"
    assert "set aside" in figure["source"]
    checked = twin("profiles", "check", *(str(path) for path in out.rglob("b300*.toml")))
    assert checked.code == 0, checked.out


def test_the_fit_says_when_by_which_version_and_on_how_much(calibrated):
    out, _ = calibrated
    gemm = Catalogue([out]).accelerator("b300-sxm").calibration.gemm["bf16"]
    assert gemm.provenance.n_samples > 0.7 * N_SHAPES
    assert gemm.provenance.n_heldout > 0
    assert gemm.provenance.date is not None
    assert gemm.provenance.code_version is not None


def test_a_hash_of_code_is_one_of_code_that_is_there(folder, tmp_path):
    session = Session(folder=folder, cache=tmp_path / "fits")
    of_nothing = hashlib.sha256().hexdigest()
    assert not of_nothing.startswith(session.code_version.split("+")[1])
    with pytest.raises(ValueError, match=r"nowhere\.py: no code of that name"):
        session.cached(["a"], Calibration, Calibration, code=("nowhere.py",))


def test_facts_and_comments_above_the_tables_stay(calibrated):
    out, _ = calibrated
    (path,) = (path for path in out.rglob("b300-sxm.toml") if "accelerators" in path.parts)
    shipped = Catalogue().path("accelerator", "b300-sxm").read_text()
    facts = shipped.split("[calibration", 1)[0].split("# Below:", 1)[0].rstrip()
    assert path.read_text().startswith(facts)


def test_writing_again_changes_nothing():
    h100 = Catalogue().accelerator("h100-sxm").calibration
    once = calibrated_profile('name = "x"\n', h100)
    assert calibrated_profile(once, h100) == once
    assert rendered_calibration(h100) in once


def test_the_text_lists_libraries_and_parts_below_their_fit(twin, tmp_path, monkeypatch):
    products = Catalogue().accelerator("h100-sxm").calibration.gemm["bf16"]
    fit, *_ = fit_reports({"h100-sxm": Calibration(gemm={"bf16": products})})
    large = FitReport(
        device="h100-sxm",
        family="gemm",
        dtype="bf16",
        part="large",
        is_part=True,
        provenance=msgspec.structs.replace(
            fit.provenance, n_samples=None, heldout_mean_ape_fraction=0.5
        ),
    )
    everything = FitReport(
        device=None, family="collectives", part="all links", provenance=fit.provenance
    )
    reports = in_order((everything, fit, large))
    done = Calibrated(reports=reports, files=(), profile_hashes={})
    monkeypatch.setattr("twin.cli.calibrate.fitted_from", lambda *_, **__: done)
    answer = twin("calibrate", "--from", str(tmp_path), "--out", str(tmp_path / "out"))
    lines = answer.out.splitlines()
    of_libraries = [line for line in lines if any(name in line for name in fit.by_library)]
    first, second, last = (
        next(number for number, line in enumerate(lines) if words in line)
        for words in (str(fit.provenance.n_samples), "  large  ", "all links")
    )
    assert first < second < last
    assert len(of_libraries) == len(fit.by_library)
    assert "50.0 %" in lines[second]
    assert str(fit.provenance.n_samples) not in lines[second]
    assert lines[last].split()[0] == "all"


def test_finished_fits_are_not_done_again(folder, tmp_path):
    session = Session(folder=folder, cache=tmp_path / "fits")
    kind = type(Catalogue().accelerator("h100-sxm").calibration)
    made = []

    def fit():
        made.append(1)
        return kind()

    for _ in range(2):
        session.cached(["a", np.arange(3)], kind, fit, code=("smooth.py",))
    assert made == [1]
    session.cached(["a", np.arange(4)], kind, fit, code=("smooth.py",))
    session.cached(["a", np.arange(3)], kind, fit, code=("residual.py",))
    assert made == [1, 1, 1]
    session.drop_cache()
    assert not (tmp_path / "fits").exists()


@pytest.mark.parametrize("n_fits", [0, 2])
def test_an_interrupt_says_what_is_kept(twin, folder, tmp_path, monkeypatch, n_fits):
    out = tmp_path / "out"

    def interrupted(session):
        for key in range(n_fits):
            session.cached([key], Calibration, Calibration, code=("smooth.py",))
        raise KeyboardInterrupt

    monkeypatch.setattr("kernels.calibration.run.calibrate", interrupted)
    answer = twin("calibrate", "--from", str(folder), "--out", str(out))
    assert answer.code == 130
    assert not answer.out
    said = [line for line in answer.err_lines if "interrupted" in line]
    if n_fits:
        assert said == [
            f"twin: interrupted: finished fits (2) are kept in {out / '.fits'}; the same command "
            "goes on there"
        ]
    else:
        assert said == ["twin: interrupted before a fit was finished: nothing is kept"]
        assert not out.exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "holds none of gemm"),
        ("device,m\nx,1\n", "'dtype' is missing"),
        ("device,dtype,m,n,k,latency_us\nH100,bf16,1,1,1,-5\n", "line 2: latency_us = -5"),
        ("device,dtype,m,n,k,latency_us\nH100,bf16,1,1,1,5\n", "nothing could be fitted"),
        ("device,dtype,m,n,k,latency_us\nH100,int3,1,1,1,5\n", "nothing could be fitted"),
        ("device,dtype,m,n,k,latency_us\nUnheard,bf16,1,1,1,5\n", "nothing could be fitted"),
    ],
)
def test_bad_input_is_one_line_exit_two_and_nothing_written(twin, tmp_path, text, complaint):
    folder = tmp_path / "in"
    folder.mkdir()
    if text is not None:
        (folder / "gemm.csv").write_text(text)
    answer = twin("calibrate", "--from", str(folder), "--out", str(tmp_path / "out"))
    assert answer.code == 2
    assert complaint in answer.err_lines[-1]
    assert not (tmp_path / "out").exists()


def test_a_folder_that_another_run_writes_to_is_refused(twin, folder, tmp_path):
    out = tmp_path / "out"
    with held_folder(out):
        answer = twin("calibrate", "--from", str(folder), "--out", str(out))
        assert answer.code == 2
        assert "another calibration is writing there" in answer.err_lines[-1]
        assert len(answer.err_lines) == 1
    assert not out.exists()


@pytest.mark.parametrize("below", ["", "gemm.csv"])
def test_measurements_given_twice_are_refused(twin, folder, tmp_path, below):
    again = folder / ".." / folder.name / below
    answer = twin(
        "calibrate", "--from", str(folder), "--from", str(again), "--out", str(tmp_path / "out")
    )
    assert answer.code == 2
    said = f"--from {again}: read already with --from {folder}; its rows would count twice"
    assert answer.err_lines == [f"twin: {said}"]
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no folder that root cannot write to")
@pytest.mark.parametrize("way", ["--quick", "--from"])
def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_measured(twin, folder, way):
    words = [way, str(folder)] if way == "--from" else [way, "--backend", "cpu"]
    answer = twin("calibrate", *words, "--out", "/proc/nope")
    assert answer.code == 2
    assert "--out /proc/nope: cannot be written" in answer.err_lines[0]
    assert len(answer.err_lines) == 1


def test_a_missing_folder_is_named(twin, tmp_path):
    answer = twin("calibrate", "--from", str(tmp_path / "no"), "--out", str(tmp_path / "out"))
    assert answer.code == 2
    assert "no such file or folder" in answer.err_lines[-1]


def test_a_folder_that_takes_no_files_is_refused_before_anything_is_fitted(twin, folder, tmp_path):
    (tmp_path / "file").write_text("")
    answer = twin("calibrate", "--from", str(folder), "--out", str(tmp_path / "file" / "out"))
    assert answer.code == 2
    assert "cannot be written" in answer.err


def test_what_was_not_fitted_keeps_the_constants_of_the_profile(tmp_path):
    catalogue = Catalogue()
    whole = catalogue.accelerator("h200-sxm").calibration
    part = Calibration(gemm={"bf16": whole.gemm["fp8"]})
    write_calibrations({"h200-sxm": part}, catalogue=catalogue, out=tmp_path)
    read = Catalogue([tmp_path]).accelerator("h200-sxm").calibration
    known, now = whole.gemm["bf16"], read.gemm["bf16"]
    libraries = whole.gemm["fp8"].implementations
    assert libraries.items() <= now.implementations.items()
    assert set(now.implementations) == {*known.implementations, *libraries}
    assert msgspec.structs.replace(now, implementations=libraries) == whole.gemm["fp8"]
    assert read.gemm["fp8_block128"] == whole.gemm["fp8_block128"]
    assert read.attention == whole.attention
    assert read.collective == whole.collective
    assert read.memory_bound == whole.memory_bound


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--backend", "abacus"), "--backend: 'abacus' is no backend; use auto, cuda, rocm, cpu"),
        (("--backend", "cuda"), "backend cuda: no Nvidia driver"),
        (("--from", "x", "--quick"), "--quick: measures the device at hand"),
        (("--from", "x", "--backend", "cpu"), "--backend: measures the device at hand"),
        (("--device", "h100-sxm"), "--device: says of files what they do not"),
    ],
)
def test_options_that_cannot_be_met_are_one_line(twin, tmp_path, monkeypatch, options, said):
    monkeypatch.setattr("kernels.backends._has_driver", lambda _backend: False)
    monkeypatch.setattr("kernels.backends._accelerator", lambda _backend: None)
    answer = twin("calibrate", *options, "--out", str(tmp_path / "out"))
    assert answer.code == 2
    assert said in answer.err_lines[-1]
    assert len(answer.err_lines) == 1
    assert not (tmp_path / "out").exists()


def test_an_out_folder_that_is_a_file_is_refused_before_anything_is_measured(twin, tmp_path):
    (tmp_path / "out").write_text("")
    answer = twin("calibrate", "--backend", "cpu", "--out", str(tmp_path / "out"))
    assert answer.code == 2
    assert "cannot be written" in answer.err_lines[-1]
    assert len(answer.err_lines) == 1


def test_files_of_several_paths_are_joined(twin, folder, tmp_path, monkeypatch):
    """Half of the rows in one folder and half in another are fitted as all of them in one."""
    head, *rows = (folder / "gemm.csv").read_text().splitlines()
    for name, own in (("a", rows[::2]), ("b", rows[1::2])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "gemm.csv").write_text("\n".join([head, *own]) + "\n")
    seen = []

    def fit(session):
        seen.append(len(session.table("gemm.parquet", GEMM_COLUMNS)))
        return CalibrationResult(fitted={}, families={}, reports=())

    monkeypatch.setattr("kernels.calibration.run.calibrate", fit)
    froms = [word for name in "ab" for word in ("--from", str(tmp_path / name))]
    answer = twin("calibrate", *froms, "--out", str(tmp_path / "out"), "--json")
    assert answer.code == 0, answer.err
    assert seen == [N_SHAPES]
    missing = twin("calibrate", *froms, "--from", "nowhere", "--out", str(tmp_path / "out"))
    assert missing.code == 2
    assert "--from nowhere: no such file or folder" in missing.err_lines[-1]


def test_the_host_is_measured_fitted_and_predicted_on_at_once(twin, tmp_path, monkeypatch):
    """The verb from start to end on a made-up thread: document, profile check, prediction."""
    how, plan = measuring(), small_plan()

    def calibrated_host(out, *, is_quick):
        assert is_quick
        return calibrate_host(out, is_quick=True, plan=plan, how=how, prepare=lambda: None)

    monkeypatch.setattr("kernels.host.calibrate.calibrate_host", calibrated_host)
    out = tmp_path / "mine"
    answer = twin("calibrate", "--backend", "cpu", "--quick", "--out", str(out), "--json")
    assert answer.code == 0, answer.err
    document = json.loads(answer.out)
    judged = {(one["family"], one["part"]): one for one in document["devices"]}
    for key in (("gemm", "blas"), ("gemm", "numba"), ("attention", "fwd"), ("attention", "bwd")):
        assert judged[key]["dtype"] == "fp32"
        assert judged[key]["n_heldout"] >= 8
        assert judged[key]["mape_heldout"] <= 0.12
    checked = twin("profiles", "check", *(str(path) for path in sorted(out.rglob("*.toml"))))
    assert checked.code == 0, checked.out
    scenario = ("--cluster", document["cluster"], "--profiles", str(out), "--devices", "1")
    scenario += ("--model", "gpt2-124m", "--seq-len", "256", "--global-batch", "1")
    scenario += ("--precision", "fp32", "--framework", "numpy")
    predicted = json.loads(twin("predict", *scenario, "--json").out)
    breakdown = predicted["breakdown"]
    assert sum(breakdown.values()) == pytest.approx(predicted["step_time_s"])
    # Nothing that only devices behind a host have.
    assert breakdown["host_launch"] == pytest.approx(0.0, abs=1e-9)
    assert breakdown["host_step"] == 0.0
    explained = twin("explain", *scenario, "--depth", "6")
    assert "packing" in explained.out
    assert "adamw-fwd" in explained.out
