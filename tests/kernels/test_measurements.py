"""Tidy files: what is written is read back, and wrong files are named."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.measurements import (
    TABLES,
    AttentionMeasurement,
    GemmMeasurement,
    MeasurementError,
    read_measurements,
    write_json,
    write_measurements,
)


def gemm(**changes):
    fields = {
        "case": "a",
        "device": "D",
        "vendor": "v",
        "library": "l",
        "dtype": "bf16",
        "m": 1,
        "n": 2,
        "k": 3,
        **changes,
    }
    return GemmMeasurement(**fields)


@given(
    latency=st.none() | st.floats(1e-3, 1e9).map(lambda x: float(f"{x:.7g}")),
    m=st.integers(1, 10**9),
    flag=st.text("abc,\"' é;", max_size=8),
)
def test_rows_survive_the_file(tmp_path_factory, latency, m, flag):
    rows = [gemm(latency_us=latency, m=m, flag=flag), gemm(case="b", power_w=1.5)]
    path = tmp_path_factory.mktemp("t") / "gemm.csv"
    write_measurements(path, rows)
    assert read_measurements(path, GemmMeasurement) == rows


def test_truth_values_survive_the_file(tmp_path):
    row = AttentionMeasurement(
        case="a",
        device="D",
        vendor="v",
        library="l",
        dtype="bf16",
        batch=1,
        heads_q=2,
        heads_kv=1,
        seq_q=3,
        seq_kv=3,
        head_dim=64,
        causal=False,
        direction="bwd",
    )
    write_measurements(tmp_path / "x.csv", [row])
    assert read_measurements(tmp_path / "x.csv", AttentionMeasurement) == [row]


def test_the_columns_of_public_collections_are_there():
    names = {t: {f.name for f in dataclasses.fields(row_type)} for t, row_type in TABLES.items()}
    common = {"device", "vendor", "library", "latency_us", "source_id", "flag"}
    assert common | {"dtype", "m", "n", "k", "batch", "layout"} <= names["gemm"]
    assert (
        common | {"heads_q", "heads_kv", "seq_q", "seq_kv", "head_dim", "causal", "direction"}
        <= names["attention"]
    )
    assert {"op", "bytes", "GBps"} <= names["bandwidth"]
    assert {"op", "dtype", "rows", "cols"} <= names["memory_bound"]
    assert {"workload", "shape", "tflops", "power_w", "power_limit_w", "clock_mhz"} <= names[
        "power"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,colour\n", "column 'colour' is unknown"),
        ("case,device\n", "column 'vendor' is missing"),
        ("case,device,vendor,library,dtype,m,n,k\na,b,c,d,bf16,1,2\n", "x.csv:2: 7 values"),
        (
            "case,device,vendor,library,dtype,m,n,k\na,b,c,d,bf16,1,two,3\n",
            "x.csv:2: column 'n': 'two'; expected int",
        ),
    ],
)
def test_a_wrong_file_is_named_with_line_and_column(tmp_path, text, message):
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(MeasurementError, match=message):
        read_measurements(path, GemmMeasurement)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "environment.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["environment.json"]
