"""`twin validate runs`: report, verdict, files."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from types import ModuleType

import pytest

from twin.validation.measured_servers import measured_servers


@dataclass(frozen=True)
class Report:
    predicted: int = 2
    coverage: float = 0.5
    mape: float = 0.08
    median_ape: float = 0.06
    p90_ape: float = 0.2
    interval_coverage: float = 0.75
    by_device: list = field(
        default_factory=lambda: [{"name": "H100", "n": 2, "mape": 0.08, "median_ape": 0.06}]
    )
    dense_core: dict = field(default_factory=lambda: {"n": 1, "median_ape": 0.03, "mape": None})
    by_source: list = field(default_factory=list)
    by_sharding: list = field(default_factory=list)
    unsupported: list = field(
        default_factory=lambda: [
            {"run_id": "c", "why": "no layers"},
            {"run_id": "d", "why": "no layers"},
        ]
    )
    runs: list = field(
        default_factory=lambda: [
            {"run_id": "a", "measured_step_time_s": 1.0, "predicted_step_time_s": 1.1, "ape": 0.1},
            {"run_id": "b", "measured_step_time_s": 2.0, "predicted_step_time_s": 2.1, "ape": 0.05},
        ]
    )


@pytest.fixture
def runs_csv(monkeypatch, fake, tmp_path):
    """A file to name, and a library that answers with a fixed report."""
    module = ModuleType("twin.validation.runs")
    module.validate_runs = lambda path, *, predictor: Report()
    monkeypatch.setitem(sys.modules, "twin.validation.runs", module)
    path = tmp_path / "runs.csv"
    path.write_text("run_id\n")
    return path


def test_json_has_the_keys_of_the_design(twin, runs_csv):
    document = json.loads(twin("validate", "runs", str(runs_csv), "--json").out)
    assert list(document)[:3] == ["tweeling_version", "command", "profile_hashes"]
    assert set(document) >= {
        *("predicted", "coverage", "mape", "median_ape", "p90_ape", "interval_coverage"),
        *("by_device", "by_source", "by_sharding", "unsupported", "runs"),
    }
    assert document["unsupported"][0] == {"run_id": "c", "why": "no layers"}


def test_text_has_errors_groups_and_reasons(twin, runs_csv):
    out = twin("validate", "runs", str(runs_csv)).out
    assert "2 runs predicted, 2 unsupported" in out
    assert "6.000 %" in out
    assert "6.0%" in out
    assert "H100" in out
    assert "3.000 %" in out.partition("dense rows that state their layout")[2]
    assert "2  no layers" in out


def test_text_names_runs_that_have_a_profile_of_their_own(twin, runs_csv, monkeypatch):
    server = measured_servers()[0]
    own = {"source_id": server.source_id, "device": server.device}
    report = Report(runs=[own, {"source_id": "another", "device": server.device}])
    module = sys.modules["twin.validation.runs"]
    monkeypatch.setattr(module, "validate_runs", lambda path, *, predictor: report)
    out = twin("validate", "runs", str(runs_csv)).out
    assert f"1 runs of {server.source_id} on {server.device}: {server.accelerator}" in out


def test_rows_go_to_parquet(twin, runs_csv, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    target = tmp_path / "rows.parquet"
    assert twin("validate", "runs", str(runs_csv), "--out", str(target)).code == 0
    assert parquet.read_table(target).column("run_id").to_pylist() == ["a", "b"]


def test_a_target_that_cannot_be_written_is_one_line(twin, runs_csv, tmp_path):
    answer = twin("validate", "runs", str(runs_csv), "--out", str(tmp_path / "no" / "x.parquet"))
    assert answer.code == 2
    assert len(answer.err_lines) == 1
    assert "--out" in answer.err


@pytest.mark.parametrize("name", ["", "rows.csv/x.parquet", "no/x.parquet"])
def test_a_target_in_no_folder_is_one_line(twin, runs_csv, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("")
    answer = twin("validate", "runs", str(runs_csv), "--out", name)
    assert answer.code == 2
    assert len(answer.err_lines) == 1
    assert "--out" in answer.err


@pytest.mark.parametrize(("limit", "code"), [("0.05", 1), ("0.06", 0), ("0.5", 0)])
def test_fail_above_judges_the_median_and_still_prints(twin, runs_csv, limit, code):
    answer = twin("validate", "runs", str(runs_csv), "--fail-above", limit, "--json")
    assert answer.code == code
    assert json.loads(answer.out)["median_ape"] == 0.06


@pytest.mark.parametrize(
    ("old", "code", "name"),
    [
        ({"median_ape": 0.06, "mape": 0.08, "p90_ape": 0.2, "coverage": 0.5}, 0, ""),
        ({"median_ape": 0.05, "mape": 0.08, "p90_ape": 0.2, "coverage": 0.5}, 1, "median_ape"),
        ({"median_ape": 0.06, "mape": 0.08, "p90_ape": 0.2, "coverage": 0.6}, 1, "coverage"),
        ({"median_ape": None, "mape": None}, 0, ""),
    ],
)
def test_a_baseline_that_was_better_fails(twin, runs_csv, tmp_path, old, code, name):
    baseline = tmp_path / "old.json"
    baseline.write_text(json.dumps(old))
    answer = twin("validate", "runs", str(runs_csv), "--baseline", str(baseline), "--json")
    assert answer.code == code
    assert name in answer.err
    assert json.loads(answer.out)["predicted"] == 2


def test_a_report_is_its_own_baseline(twin, runs_csv, tmp_path):
    baseline = tmp_path / "old.json"
    baseline.write_text(twin("validate", "runs", str(runs_csv), "--json").out)
    assert twin("validate", "runs", str(runs_csv), "--baseline", str(baseline)).code == 0


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", '{"a": 1}', "\x00\xff", '{"median_ape": "small"}'),
        *('{"median_ape": 0.1, "left_out": "no"}', '{"median_ape": 0.1, "coverage": [1]}'),
        '{"median_ape": 0.1, "by_device": [{"name": "H100", "mape": "small"}]}',
        '{"command": "twin validate kernels x.csv --json", "median_ape": 0.1}',
    ],
)
def test_a_baseline_that_is_no_report_is_one_line(twin, runs_csv, tmp_path, text):
    baseline = tmp_path / "old.json"
    baseline.write_text(text)
    answer = twin("validate", "runs", str(runs_csv), "--baseline", str(baseline))
    assert answer.code == 2
    assert len(answer.err_lines) == 1


def test_a_missing_file_and_a_folder_are_one_line(twin, runs_csv, tmp_path):
    for path in (tmp_path / "absent.csv", tmp_path):
        answer = twin("validate", "runs", str(path))
        assert answer.code == 2
        assert len(answer.err_lines) == 1
        assert str(path) in answer.err


def test_without_a_file_the_built_in_table_is_read(twin, runs_csv, monkeypatch, tmp_path):
    monkeypatch.setenv("TWEELING_DATA_DIR", str(tmp_path))
    out = twin("validate", "runs").out
    assert "published_runs.csv: 2 runs predicted" in out


def test_a_plot_is_refused_in_one_line_before_anything_is_predicted(twin, runs_csv, tmp_path):
    answer = twin("validate", "runs", str(runs_csv), "--plot", str(tmp_path / "plot.bmp"))
    assert answer.code == 2
    assert answer.out == ""
    assert len(answer.err_lines) == 1
    assert ".svg" in answer.err


def test_a_plot_without_its_extra_names_the_extra(twin, runs_csv, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    answer = twin("validate", "runs", str(runs_csv), "--plot", str(tmp_path / "plot.svg"))
    assert answer.code == 2
    assert "pip install 'tweeling[report]'" in answer.err
    assert len(answer.err_lines) == 1
    assert list(tmp_path.glob("*.svg")) == []


def test_a_plot_is_drawn_beside_the_report(twin, runs_csv, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr("twin.validation.runs_plot.check_plot", lambda path: None)
    monkeypatch.setattr(
        "twin.validation.runs_plot.write_runs_plot",
        lambda runs, *, name, path: drawn.update(n=len(runs), name=name, path=path),
    )
    target = tmp_path / "plot.svg"
    answer = twin("validate", "runs", str(runs_csv), "--plot", str(target), "--json")
    assert answer.code == 0
    assert json.loads(answer.out)["predicted"] == 2
    assert drawn == {"n": 2, "name": "runs.csv", "path": target}
