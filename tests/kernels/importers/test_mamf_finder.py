"""Logs of mamf-finder."""

import pytest

from kernels.measurement_tables import MeasurementError

FLOP = 2.0 * 4096.0**3


@pytest.mark.parametrize(
    ("name", "dtype", "library", "latency_us"),
    [
        ("mamf", "bf16", "torch.mm torch-2.9.0", FLOP / 600e12 * 1e6),
        ("mamf_1", "bf16", "torch.mm torch-2.9.0", FLOP / 600e12 * 1e6),
        ("mamf_4", "fp8", "torch._scaled_mm torch-2.9.0", FLOP / 1200e12 * 1e6),
    ],
)
def test_a_rate_becomes_the_time_of_its_shape(samples, imported, name, dtype, library, latency_us):
    table = imported(samples.all[name]).tables["gemm"]
    assert table["latency_us"][0] == pytest.approx(latency_us, rel=1e-12)
    assert (table["dtype"][0], table["library"][0]) == (dtype, library)
    assert [table[letter][0] for letter in "mnk"] == [4096.0] * 3
    assert table["device"][0] == "h100-sxm"


def test_a_captured_terminal_says_the_same_as_the_log(samples, imported):
    text = samples.all["mamf"]
    rows = [line for line in text.splitlines() if "|" in line]
    captured = text.replace("\n".join(rows), "\r".join(rows) + "\r\x1b[K")
    expected = imported(text).tables["gemm"]["latency_us"].tolist()
    assert imported(captured).tables["gemm"]["latency_us"].tolist() == expected


def test_rates_and_times_go_opposite_ways(samples, imported):
    text = samples.all["mamf"]
    faster = text.replace("600.0(median)  640.0(max) @", "660.0(median)  690.0(max) @")
    before, after = (imported(one).tables["gemm"]["latency_us"][0] for one in (text, faster))
    assert after < before


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("600.0(median)  640.0(max) @", "-1.0(median)  640.0(max) @", r"line 18: TFLOPS = '-1.0'"),
        ("600.0(median)  640.0(max) @", "abc(median)  640.0(max) @", r"line 18: TFLOPS = 'abc'"),
        ("@ 4096x4096x4096 ", "@ 4096x4096x ", "line 18: .* no whole progress line"),
        ("@ 4096x4096x4096 ", "@ 0x4096x4096 ", "line 18: M = '0'"),
        ("torch.bfloat16", "torch.complex64", "line 6: Dtype = .* no known number format"),
        ("name='NVIDIA H100 80GB HBM3'", "nobody", "line 6: the file does not name its device"),
    ],
)
def test_what_is_wrong_is_named_by_line(samples, imported, old, new, complaint):
    text = samples.all["mamf"]
    assert old in text
    with pytest.raises(MeasurementError, match=complaint):
        imported(text.replace(old, new, 1))


def test_a_log_without_shapes_is_refused(samples, imported):
    text = "\n".join(line for line in samples.all["mamf"].splitlines() if "|" not in line)
    with pytest.raises(MeasurementError, match="holds no shapes"):
        imported(text)
