"""`twin validate systems`: text, JSON, verdict, files."""

from __future__ import annotations

import json

import pytest


def test_the_document_carries_version_command_hashes_and_systems(twin):
    answer = twin("validate", "systems", "--json")
    assert answer.code == 0
    document = json.loads(answer.out)
    assert list(document)[:3] == ["tweeling_version", "command", "profile_hashes"]
    assert "cluster/lumi-g" in document["profile_hashes"]
    assert set(document["systems"][0]) >= {"name", "measured_w", "predicted_w", "ape"}
    assert {entry["name"] for entry in document["by_quantity"]} == {
        "flop_per_s",
        "power_w",
        "flop_per_j",
    }


def test_the_text_fits_a_hundred_columns(twin):
    out = twin("validate", "systems").out
    assert "public systems: " in out
    assert "not known" in out
    assert "left aside" in out
    assert max(map(len, out.splitlines())) <= 100


def test_rows_go_to_parquet(twin, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    target = tmp_path / "rows.parquet"
    assert twin("validate", "systems", "--out", str(target)).code == 0
    assert "LUMI-G" in parquet.read_table(target).column("name").to_pylist()


def test_a_limit_and_a_baseline_judge_each_quantity(twin, tmp_path):
    assert twin("validate", "systems", "--fail-above", "0.5").code == 0
    answer = twin("validate", "systems", "--fail-above", "0.0001", "--json")
    assert answer.code == 1
    assert "power: median_ape" in answer.err
    document = json.loads(answer.out)
    baseline = tmp_path / "old.json"
    baseline.write_text(answer.out)
    assert twin("validate", "systems", "--baseline", str(baseline)).code == 0
    document["by_quantity"][1]["left_out_mape"] = 1e-6
    baseline.write_text(json.dumps(document))
    answer = twin("validate", "systems", "--baseline", str(baseline))
    assert answer.code == 1
    assert "power: left_out_mape was 0.0000" in answer.err


@pytest.mark.parametrize("text", ["{}", '{"by_quantity": 3}', '{"by_device": []}'])
def test_another_report_is_no_baseline(twin, tmp_path, text):
    baseline = tmp_path / "old.json"
    baseline.write_text(text)
    answer = twin("validate", "systems", "--baseline", str(baseline))
    assert answer.code == 2
    assert len(answer.err_lines) == 1


def test_a_file_that_is_not_there_and_a_bad_cell_are_one_line(twin, tmp_path):
    answer = twin("validate", "systems", str(tmp_path / "absent.csv"))
    assert (answer.code, len(answer.err_lines)) == (2, 1)
    bad = tmp_path / "bad.csv"
    bad.write_text("system,hpl_pflops\nLUMI-G,-1\n")
    answer = twin("validate", "systems", str(bad))
    assert (answer.code, len(answer.err_lines)) == (2, 1)
    assert 'bad.csv:2: column hpl_pflops: "-1"' in answer.err


def test_a_table_of_which_nothing_is_known_says_only_that(twin, tmp_path):
    table = tmp_path / "systems.csv"
    table.write_text("system\nnowhere\n")
    answer = twin("validate", "systems", str(table))
    assert answer.code == 0
    assert "1 systems, 0 predicted" in answer.out
    assert "PFLOP/s" not in answer.out
    answer = twin("validate", "systems", str(table), "--fail-above", "0.5")
    assert answer.code == 1
    assert "no row is predicted" in answer.err


def test_a_group_without_a_name_is_compared_with_nothing_and_refused(twin, tmp_path):
    baseline = tmp_path / "old.json"
    baseline.write_text('{"by_quantity": [{"name": null, "median_ape": 0.001}]}')
    answer = twin("validate", "systems", "--baseline", str(baseline))
    assert answer.code == 2
    assert "by_quantity[0].name: null" in answer.err
