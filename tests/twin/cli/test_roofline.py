"""`twin roofline`: which kernels, in which order, in which units; what is refused."""

from __future__ import annotations

import json
import sys

import pytest

from kernels.backends import host_device
from kernels.own_measurements import own_measurements

GEMM_HEAD = "device,dtype,m,n,k,library,latency_us\n"
LAYERLESS = ("--model", "none")
KEYS = {
    *("name", "family", "operation", "dtype", "shape", "flop", "bytes", "intensity_flop_per_byte"),
    *("measured_time_s", "measured_flop_per_s", "predicted_time_s", "roofline_time_s"),
    *("roofline_fraction", "prediction_error_fraction", "source"),
}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mine.csv"
    rows = [
        "H200,bf16,4096,4096,4096,mm,180",
        "H200,bf16,64,4096,4096,mm,40",
        "H100,bf16,8,8,8,mm,9",
    ]
    path.write_text(GEMM_HEAD + "\n".join(rows) + "\n")
    return path


def report(tmp_path, *benchmarks):
    path = tmp_path / "bench.json"
    document = {"machine_info": {}, "datetime": "2026-11-20T10:00:00+00:00"}
    entries = [
        {"name": "bench", "extra_info": extra, "stats": {"median": seconds}}
        for extra, seconds in benchmarks
    ]
    path.write_text(json.dumps(document | {"benchmarks": entries}))
    return path


def test_kernels_are_in_base_units_and_the_farthest_from_its_roof_comes_first(twin, table):
    answer = twin("roofline", "--device", "h200", "--from", str(table), *LAYERLESS, "--json")
    assert answer.code == 0
    document = json.loads(answer.out)
    assert list(document)[:4] == ["tweeling_version", "command", "profile_hashes", "device"]
    assert document["device"] == "h200-sxm"
    assert "accelerator/h200-sxm" in document["profile_hashes"]
    slim, square = document["kernels"]
    assert set(square) >= KEYS
    assert square["measured_time_s"] == pytest.approx(180e-6)
    assert square["flop"] == 2 * 4096**3
    assert square["bytes"] == 3 * 2 * 4096**2
    assert square["intensity_flop_per_byte"] == pytest.approx(4096 / 3)
    assert square["measured_flop_per_s"] == pytest.approx(square["flop"] / 180e-6)
    assert square["roofline_time_s"] == pytest.approx(square["flop"] / 989e12)
    assert square["roofline_limit"] == "arithmetic"
    assert square["roofline_fraction"] == pytest.approx(square["roofline_time_s"] / 180e-6)
    error = square["predicted_time_s"] / 180e-6 - 1.0
    assert square["prediction_error_fraction"] == pytest.approx(error)
    assert square["source"] == "mine.csv"
    assert slim["roofline_limit"] == "memory"
    assert slim["roofline_fraction"] < square["roofline_fraction"]
    assert "2 of 3 rows are timings of h200-sxm" in answer.err


def test_the_layer_of_a_model_is_predicted_and_nobody_measured_it(twin):
    words = ("--device", "a40", "--model", "llama-3-70b", "--tp", "8", "--seq-len", "2048")
    document = json.loads(twin("roofline", *words, "--json").out)
    assert document["layer"] == "llama-3-70b tp8 2k"
    assert {one["family"] for one in document["kernels"]} >= {"gemm", "attention", "ops"}
    for kernel in document["kernels"]:
        assert kernel["measured_time_s"] is None
        assert kernel["measured_flop_per_s"] is None
        assert kernel["prediction_error_fraction"] is None
        assert 0.0 < kernel["roofline_fraction"] <= 1.0


def test_a_report_of_pytest_benchmark_is_drawn_as_it_is(twin, tmp_path):
    pytest.importorskip("matplotlib")
    shape = {"device": "host-cpu", "dtype": "float32", "library": "numba"}
    path = report(
        tmp_path,
        (shape | {"m": 512, "n": 512, "k": 512}, 1e-3),
        (shape | {"op": "rmsnorm/bwd", "rows": 4096, "cols": 4096}, 1e-2),
    )
    out = tmp_path / "roofline.svg"
    answer = twin("roofline", "--from", str(path), "--out", str(out), *LAYERLESS)
    assert answer.code == 0
    assert "bench.json (2026-11-20)" in answer.out
    assert "rmsnorm-bwd" in answer.out
    assert f"written: {out}" in answer.out
    assert "2026-11-20" in out.read_text()


def test_what_is_wrong_with_a_file_is_said_once(twin, tmp_path):
    """Though it is looked into twice: of which device it is, and then what it holds."""
    product = {"device": "H200", "dtype": "bf16", "m": 512, "n": 512, "k": 512, "library": "mm"}
    path = report(tmp_path, (product, 20e-6), ({}, 0.1))
    answer = twin("roofline", "--from", str(path), *LAYERLESS)
    assert answer.code == 0
    assert len([line for line in answer.err_lines if "left aside: 1 benchmarks" in line]) == 1
    torn = tmp_path / "torn.csv"
    torn.write_text(GEMM_HEAD + "H200,bf16,64,64,64,mm,9")
    answer = twin("roofline", "--from", str(torn), *LAYERLESS)
    assert len([line for line in answer.err_lines if "may have been cut off" in line]) == 1


def test_a_backward_norm_moves_three_matrices(twin, tmp_path):
    extra = {"device": "host-cpu", "dtype": "float32", "op": "rmsnorm/bwd", "rows": 64, "cols": 32}
    path = report(tmp_path, (extra, 1e-2))
    document = json.loads(twin("roofline", "--from", str(path), *LAYERLESS, "--json").out)
    (kernel,) = document["kernels"]
    assert kernel["bytes"] == 3 * 64 * 32 * 4
    assert (kernel["flop"], kernel["intensity_flop_per_byte"]) == (0.0, 0.0)
    assert kernel["measured_bytes_per_s"] == pytest.approx(kernel["bytes"] / 1e-2)
    assert kernel["family"] == "ops"


def test_our_own_measurements_come_without_a_file_and_a_filter_chooses(twin):
    words = ("--device", "host-cpu", "--filter", "gemm fp32 measured>0")
    answer = twin("roofline", *words)
    assert answer.code == 0
    assert "by us, " in answer.out
    assert "fp64  " not in answer.out.split("measured kernels")[1]


def test_the_processor_at_hand_is_no_profile_s_unless_said(twin, tmp_path):
    extra = {"device": host_device().name, "dtype": "float32", "library": "numba"}
    path = report(tmp_path, (extra | {"m": 512, "n": 512, "k": 512}, 1e-3))
    answer = twin("roofline", "--from", str(path), *LAYERLESS)
    assert answer.code == 2
    assert "--device PROFILE" in answer.err_lines[-1]
    answer = twin("roofline", "--from", str(path), "--device", "host-cpu", *LAYERLESS)
    assert answer.code == 0
    assert "512 x 512 x 512" in answer.out


def test_the_folder_of_our_own_survey_tells_its_profile(twin):
    folder = own_measurements(("host-cpu",)).folder
    answer = twin("roofline", "--from", str(folder), *LAYERLESS, "--json")
    assert json.loads(answer.out)["device"] == "host-cpu"


def test_bandwidths_without_sizes_are_long_streams(twin, tmp_path):
    path = tmp_path / "membw.csv"
    path.write_text("device,op,GBps\nH200,copy,4200\n")
    document = json.loads(twin("roofline", "--from", str(path), *LAYERLESS, "--json").out)
    (kernel,) = document["kernels"]
    assert kernel["measured_bytes_per_s"] == pytest.approx(4.2e12)
    assert kernel["family"] == "membw"
    assert kernel["roofline_fraction"] == pytest.approx(4.2 / 4.8)


ROW = "H200,bf16,4096,4096,4096,mm,180\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n", "known format"),
        (GEMM_HEAD, "no rows"),
        (GEMM_HEAD + ROW + "H200,bf16,4096,4096,-4,mm,180\n", "line 3: k = -4"),
        (GEMM_HEAD + "H200,bf16,4096,4096,x,mm,180\n", "line 2: k = 'x' is no number"),
        (GEMM_HEAD + "H200,bf16,4096,4096,4,mm,0\n", "line 2: latency_us = 0"),
        (GEMM_HEAD + ROW + ROW.replace("180", "nan"), "line 3: latency_us = nan"),
        (GEMM_HEAD + ROW + ROW.replace("180", "inf"), "line 3: latency_us = inf"),
        (GEMM_HEAD + ROW + ROW.replace("180", "-1"), "line 3: latency_us = -1"),
        (GEMM_HEAD + ROW + ROW.replace("180", "NA"), "line 3: latency_us = 'NA' is no number"),
        (GEMM_HEAD + ROW + "H200,bf16,4096\n", "line 3: 3 values; expected 7; 'n' is missing"),
        (GEMM_HEAD + "H200,bf16,1e300,4096,4,mm,1\n", "line 2: m = 1e+300"),
        (GEMM_HEAD + ROW + ROW.replace("H200", "H100"), "choose one with --device"),
        (GEMM_HEAD + ROW.replace("H200", "H201"), "--device PROFILE, perhaps"),
        (GEMM_HEAD.replace("n,k", "k,k") + ROW, "known format"),
        (GEMM_HEAD.replace("library", "m") + ROW, "'m' stands there twice"),
        ('{"machine_info": {}, "benchmarks": [{', "line 1, column"),
    ],
)
def test_a_wrong_file_is_one_line(twin, tmp_path, text, complaint):
    path = tmp_path / "wrong.csv"
    path.write_text(text)
    answer = twin("roofline", "--from", str(path), *LAYERLESS)
    assert answer.code == 2
    assert len(answer.err_lines) == 1
    assert "wrong.csv" in answer.err
    assert complaint in answer.err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--device", "h201"), "--device: accelerator"),
        (("--device", "h200", "--from", "absent.csv"), "absent.csv: no such file or folder"),
        (("--device", "h200", "--out", "x.gif"), "--out x.gif: expected a name that ends in .svg"),
        (("--device", "h200", "--out", "no/x.svg"), "no such folder"),
        (("--device", "h200", "--model", "lama-9"), "is not in the catalogue"),
        (("--device", "h200", "--tp", "3"), "tp=3 does not divide"),
        (("--device", "h200", "--precision", "bf17"), "--precision bf17: expected one of"),
        (("--device", "h200", "--filter", "foo>3"), "foo: no such field"),
    ],
)
def test_a_wrong_option_is_one_line(twin, words, complaint):
    pytest.importorskip("matplotlib")
    answer = twin("roofline", *words)
    assert answer.code == 2
    assert len(answer.err_lines) == 1
    assert complaint in answer.err


def test_kernels_of_another_device_only_are_named(twin, table):
    answer = twin("roofline", "--device", "mi300x", "--from", str(table))
    assert answer.code == 2
    assert "no timed kernels of mi300x; it holds h100-sxm, h200-sxm" in answer.err


def test_without_the_extra_a_picture_is_refused_in_one_line(twin, table, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    answer = twin("roofline", "--from", str(table), "--device", "h200", "--out", "x.png")
    assert answer.code == 2
    assert "pip install 'tweeling[report]'" in answer.err_lines[0]
