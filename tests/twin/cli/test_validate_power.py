"""`twin validate power`: text, JSON, verdict, files."""

from __future__ import annotations

import json

import pytest

from tests.twin.power_tables import POWER_HEADER, RUN_HEADER, power_line, run_line


@pytest.fixture
def tables(tmp_path):
    power, runs = tmp_path / "power.csv", tmp_path / "runs.csv"
    lines = [power_line(), power_line(benchmark="resnet")]
    power.write_text("\n".join([POWER_HEADER, *lines]) + "\n")
    runs.write_text("\n".join([RUN_HEADER, run_line("a")]) + "\n")
    return str(power), str(runs)


def test_the_document_carries_version_command_hashes_and_errors(twin, tables):
    answer = twin("validate", "power", *tables, "--json")
    assert answer.code == 0
    document = json.loads(answer.out)
    assert list(document)[:3] == ["tweeling_version", "command", "profile_hashes"]
    assert "node/dgx-h100" in document["profile_hashes"]
    keys = {"device", "workload", "n", "covered", "power_mape", "power_median_ape", "energy_mape"}
    assert set(document["by_device"][0]) >= keys
    (server,) = document["servers"]
    assert set(server["parts"]) == {"devices_w", "host_w", "fans_w", "supply_loss_w"}
    assert document["unpredicted"][0]["why"]


def test_the_text_fits_a_hundred_columns(twin, tables):
    out = twin("validate", "power", *tables).out
    assert "2 rows of server power, 1 predicted" in out
    assert "only decoders of language are modelled" in out
    body = [line for line in out.splitlines() if "power.csv" not in line and "runs.csv" not in line]
    assert max(map(len, body)) <= 100


def test_rows_go_to_parquet(twin, tables, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    target = tmp_path / "rows.parquet"
    assert twin("validate", "power", *tables, "--out", str(target)).code == 0
    (row,) = parquet.read_table(target).to_pylist()
    assert row["measured_power_w"] == 6800.0


def test_a_limit_holds_for_each_benchmark(twin, tables):
    assert twin("validate", "power", *tables, "--fail-above", "5").code == 0
    answer = twin("validate", "power", *tables, "--fail-above", "0.000001", "--json")
    assert answer.code == 1
    assert "H100 gpt3: power_median_ape" in answer.err
    assert json.loads(answer.out)["covered"] == 1


def test_a_report_is_its_own_baseline_and_a_better_one_fails(twin, tables, tmp_path):
    document = json.loads(twin("validate", "power", *tables, "--json").out)
    baseline = tmp_path / "old.json"
    baseline.write_text(json.dumps(document))
    assert twin("validate", "power", *tables, "--baseline", str(baseline)).code == 0
    document["by_device"][0]["power_mape"] = 1e-6
    document["by_device"][1] |= {"power_mape": 0.1, "power_median_ape": 0.1, "energy_mape": 0.1}
    baseline.write_text(json.dumps(document))
    answer = twin("validate", "power", *tables, "--baseline", str(baseline))
    assert answer.code == 1
    assert "gpt3: power_mape was 0.0000" in answer.err
    assert "resnet: is predicted in the baseline" in answer.err


@pytest.mark.parametrize("which", [0, 1])
def test_a_file_that_is_not_there_is_one_line(twin, tables, tmp_path, which):
    paths = list(tables)
    paths[which] = str(tmp_path / "absent.csv")
    answer = twin("validate", "power", *paths)
    assert answer.code == 2
    assert len(answer.err_lines) == 1
    assert "absent.csv" in answer.err


def test_a_bad_cell_is_one_line(twin, tables, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("\n".join([POWER_HEADER, power_line(watts="nan")]) + "\n")
    answer = twin("validate", "power", str(bad), tables[1])
    assert answer.code == 2
    assert len(answer.err_lines) == 1
    assert 'bad.csv:2: column mean_node_w: "nan"' in answer.err
