"""Operator tables of SimuMax."""

import pytest

from kernels.measurement_tables import MeasurementError

PRODUCT = "b=1, m=4096, k=8192, n=1024, layout=TN, accumulate=False, out_dtype=bf16"
PEAK_FLOP_PER_US = 2000e6


@pytest.fixture
def tables(samples, imported):
    return imported(samples.all["simumax"], device="b200-sxm").tables


def test_a_share_of_the_peak_becomes_the_time_of_its_product(tables):
    table = tables["gemm"]
    assert len(table) == 1
    assert [table[letter][0] for letter in "mnk"] == [4096.0, 1024.0, 8192.0]
    flop = 2.0 * 4096 * 1024 * 8192
    assert table["latency_us"][0] == pytest.approx(flop / (0.5 * PEAK_FLOP_PER_US), rel=1e-12)
    assert (table["device"][0], table["dtype"][0], table["layout"][0]) == ("b200-sxm", "bf16", "TN")


def test_the_work_of_attention_counts_masked_pairs_too(tables):
    table = tables["attention"]
    assert table["direction"].tolist() == ["fwd", "bwd"]
    flop = 4.0 * 4096 * 4096 * 32 * 128
    forward_us, backward_us = table["latency_us"]
    assert forward_us == pytest.approx(flop / (0.8 * PEAK_FLOP_PER_US), rel=1e-12)
    assert backward_us == pytest.approx(2.5 * flop / (0.5 * PEAK_FLOP_PER_US), rel=1e-12)
    assert table["causal"].all()


def test_what_no_table_takes_is_counted(samples, imported, caplog):
    imported(samples.all["simumax"], device="b200-sxm")
    assert "1 products that add to their result" in caplog.text
    assert "1 rows of attention whose values are narrower" in caplog.text
    assert "1 rows of group_matmul" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (f'"{PRODUCT}": 0.5', f'"{PRODUCT}": -0.5', r"op\.matmul\..*m=4096.*share = '-0.5'"),
        (f'"{PRODUCT}": 0.5', f'"{PRODUCT}": "much"', r"op\.matmul\..*share = 'much'"),
        ("m=4096, k=8192", "m=4096.5, k=8192", r"op\.matmul\..*m = '4096.5'"),
        ("m=4096, k=8192", "k=8192", r"op\.matmul\..*says no m"),
        (f'"{PRODUCT}": 0.5', f'"{PRODUCT}": 48.7', r"share = 48\.7; expected a share of the peak"),
        (f'"{PRODUCT}": 0.5', f'"{PRODUCT}": 1e-320', r"op\.matmul\..*gives no time"),
        ("layout=TN", "layout=TT", r"layout = 'TT'; expected NN, TN or NT"),
        ("accumulate=False", "accumulate=no", r"accumulate = 'no'; expected True or False"),
        ("accumulate=False, ", "", r"says no accumulate; expected True or False"),
        ("kv_head_num=8", "kv_head_num=7", r"kv_head_num = 7; expected a divisor of head_num = 32"),
        ("out_dtype=bf16", "out_dtype=bf61", r"out_dtype = 'bf61' is no known number format"),
        ('"op": {', '"ops": {', r"key 'accelerator\.op' is missing"),
        ('"tflops": 2000.0', '"tflops": 0', r"op\.default|op\.matmul: tflops = '0'"),
        ('"accurate_efficient_factor": {', '"accurate_efficient_factor": 1, "x": {', "by shape"),
    ],
)
def test_what_is_wrong_is_named_by_key(samples, imported, old, new, complaint):
    text = samples.all["simumax"]
    assert old in text
    with pytest.raises(MeasurementError, match=complaint):
        imported(text.replace(old, new), device="b200-sxm")


def test_a_cut_off_file_is_refused_by_line(samples, imported):
    text = samples.all["simumax"]
    with pytest.raises(MeasurementError, match=r"line \d+, column \d+: no JSON"):
        imported(text[: len(text) // 2], device="b200-sxm")


def test_its_device_must_be_said(samples, imported):
    with pytest.raises(MeasurementError, match="does not name its device; say which with --device"):
        imported(samples.all["simumax"])
