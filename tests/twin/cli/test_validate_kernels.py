"""`twin validate kernels`: text, JSON, verdict, files."""

import json

import pyarrow.parquet as pq
import pytest

ROWS = (
    "device,dtype,m,n,k,library,latency_us\n"
    "H100-SXM5-80GB,bf16,4096,4096,4096,vllm-0.24.0:x,190\n"
    "H100-SXM5-80GB,bf16,8192,4096,4096,vllm-0.24.0:x,380\n"
    "A100-SXM4-80GB,bf16,4096,4096,4096,sglang-0.5:x,560\n"
)


@pytest.fixture
def measured(tmp_path):
    path = tmp_path / "measured.csv"
    path.write_text(ROWS)
    return path


def test_the_document_carries_version_command_hashes_and_errors(twin, measured):
    answer = twin("validate", "kernels", str(measured), "--json")
    assert answer.code == 0
    document = json.loads(answer.out)
    assert list(document)[:3] == ["tweeling_version", "command", "profile_hashes"]
    assert set(document["profile_hashes"]) >= {"accelerator/h100-sxm", "accelerator/a100-sxm-80gb"}
    entries = document["by_device"]
    assert {entry["device"] for entry in entries} == {"H100-SXM5-80GB", "A100-SXM4-80GB"}
    keys = ("device", "family", "dtype", "direction", "n", "covered", "mape", "median_ape")
    assert set(entries[0]) >= {*keys, "p90_ape", "by_library"}
    assert entries[0]["direction"] is None


def test_the_text_names_each_device_and_library(twin, measured):
    out = twin("validate", "kernels", str(measured)).out
    assert "3 measured kernels, 3 predicted" in out
    assert "vllm-0.24.0:x" in out
    assert "A100-SXM4-80GB" in out


def test_every_row_is_written_with_its_prediction(twin, measured, tmp_path):
    out = tmp_path / "rows.parquet"
    assert twin("validate", "kernels", str(measured), "--out", str(out)).code == 0
    rows = pq.read_table(out).to_pylist()
    assert len(rows) == 3
    for row in rows:
        error = row["predicted_latency_us"] / row["latency_us"] - 1.0
        assert row["relative_error"] == pytest.approx(error)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_text_and_the_rows_say_why_something_is_not_predicted(twin, measured, tmp_path):
    measured.write_text(ROWS + "A100-SXM4-80GB,nvfp4,4096,4096,4096,x,560\n" * 2)
    out = tmp_path / "rows.parquet"
    answer = twin("validate", "kernels", str(measured), "--out", str(out))
    assert answer.code == 0
    lines = answer.out.splitlines()
    at = lines.index("not predicted")
    assert lines[at + 2].split(maxsplit=2) == ["2", "gemm", "a100-sxm-80gb has no peak for nvfp4"]
    rows = pq.read_table(out).to_pylist()
    assert [bool(row["why"]) for row in rows] == [False] * 3 + [True] * 2


def test_a_limit_holds_for_each_device(twin, measured):
    assert twin("validate", "kernels", str(measured), "--fail-above", "0.9").code == 0
    answer = twin("validate", "kernels", str(measured), "--fail-above", "0.000001")
    assert answer.code == 1
    assert "A100-SXM4-80GB gemm bf16: median_ape" in answer.err
    assert "H100-SXM5-80GB" in answer.err


def test_a_baseline_notices_what_got_worse(twin, measured, tmp_path):
    document = json.loads(twin("validate", "kernels", str(measured), "--json").out)
    same = tmp_path / "same.json"
    same.write_text(json.dumps(document))
    assert twin("validate", "kernels", str(measured), "--baseline", str(same)).code == 0
    document["by_device"][0]["mape"] = 0.0
    document["by_device"].append({**document["by_device"][0], "device": "Gone"})
    better = tmp_path / "better.json"
    better.write_text(json.dumps(document))
    answer = twin("validate", "kernels", str(measured), "--baseline", str(better))
    assert answer.code == 1
    assert "mape was 0.0000 in the baseline" in answer.err
    assert "Gone gemm bf16: is in the baseline and not in this report" in answer.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nowhere.csv",), "nowhere.csv"),
        ((), "PATH"),
        (("{measured}", "--fail-above", "nan"), "--fail-above"),
        (("{measured}", "--baseline", "{measured}"), "not a JSON report"),
        (("{measured}", "--out", "no/such/folder/x.parquet"), "a folder that exists"),
    ],
)
def test_bad_input_is_one_line_and_exit_two(twin, measured, arguments, complaint):
    answer = twin("validate", "kernels", *(part.format(measured=measured) for part in arguments))
    assert answer.code == 2
    assert complaint in answer.err
    assert answer.out == ""
