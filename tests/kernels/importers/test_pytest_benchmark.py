"""JSON of pytest-benchmark."""

import json

import pytest

from kernels.backends import host_device
from kernels.measurement_tables import MeasurementError


def test_medians_become_microseconds_and_others_are_counted(samples, imported, caplog):
    found = imported(samples.all["pytest"])
    assert found.n_rows == {"gemm": 1, "ops": 1}
    gemm, operation = found.tables["gemm"], found.tables["ops"]
    assert gemm["latency_us"][0] == 2000.0
    assert (gemm["dtype"][0], gemm["device"][0]) == ("fp32", "h100-sxm")
    assert operation["op"][0] == "rmsnorm-bwd"
    assert "left aside: 1 benchmarks whose extra_info names no kernel" in caplog.text


def test_an_operation_of_one_direction_takes_the_name_that_tables_know(samples, imported):
    extra = samples.operation_extra | {"op": "adamw"}
    found = imported(samples.report(samples.benchmark(extra)))
    assert found.tables["ops"]["op"][0] == "adamw-fwd"


def test_a_collective_takes_the_wires_that_the_user_names(samples, imported):
    extra = {"family": "collectives", "device": "H100", "dtype": "bfloat16", "op": "all_reduce"}
    extra |= {"ranks": 8, "message_bytes": 2**20}
    text = samples.report(samples.benchmark(extra))
    table = imported(text, link="NVLink4+NVSwitch").tables["collectives"]
    assert (table["link"][0], table["ranks"][0]) == ("NVLink4+NVSwitch", 8.0)


STREAM = {"family": "membw", "device": "H100", "library": "x", "op": "copy", "bytes": 2**30}


def test_a_stream_becomes_a_bandwidth(samples, imported):
    table = imported(samples.report(samples.benchmark(STREAM, 0.5e-3))).tables["membw"]
    assert table["op"].tolist() == ["copy"]
    assert table["GBps"][0] == pytest.approx(2**30 / 0.5e-3 / 1e9)
    with pytest.raises(MeasurementError, match=r"extra_info: bytes = '-1'"):
        imported(samples.report(samples.benchmark(STREAM | {"bytes": -1})))


def test_an_operation_with_a_direction_keeps_its_name(samples, imported):
    extra = samples.operation_extra | {"op": "rmsnorm", "direction": "bwd"}
    table = imported(samples.report(samples.benchmark(extra))).tables["ops"]
    assert (table["op"][0], table["direction"][0]) == ("rmsnorm", "bwd")


def test_the_profile_that_a_bench_took_its_device_for_comes_first(samples, imported):
    extra = samples.gemm_extra | {"device": "Some processor", "profile": "host-cpu"}
    table = imported(samples.report(samples.benchmark(extra))).tables["gemm"]
    assert table["device"].tolist() == ["host-cpu"]
    unknown = extra | {"profile": "of-another-machine"}
    table = imported(samples.report(samples.benchmark(unknown)), device="h200-sxm").tables["gemm"]
    assert table["device"].tolist() == ["h200-sxm"]


def test_this_processor_is_no_profile_s_unless_the_user_says_so(samples, imported):
    extra = samples.gemm_extra | {"device": host_device().name}
    text = samples.report(samples.benchmark(extra))
    with pytest.raises(MeasurementError, match=r"name of this processor, .* --device PROFILE"):
        imported(text)
    assert imported(text, device="host-cpu").tables["gemm"]["device"].tolist() == ["host-cpu"]


def test_a_part_of_the_host_is_said_to_be_one(samples, imported, caplog):
    extra = samples.gemm_extra | {"profile": "host-cpu", "backend": "cpu"}
    imported(samples.report(samples.benchmark(extra | {"n_threads": 2})))
    assert "part of their device" not in caplog.text
    imported(samples.report(samples.benchmark(extra | {"n_threads": 1})))
    assert "1 benchmarks ran on a part of their device (1 threads, profile host-cpu" in caplog.text


def test_a_sliding_window_is_left_aside(samples, imported, caplog):
    extra = {"family": "attention", "device": "H100", "dtype": "bf16", "library": "x"}
    extra |= {"batch": 1, "heads_q": 8, "heads_kv": 8, "seq_q": 64, "seq_kv": 64, "head_dim": 64}
    extra |= {"causal": True, "direction": "fwd", "window": None}
    both = [samples.benchmark(extra), samples.benchmark(extra | {"window": 16})]
    assert imported(samples.report(*both)).n_rows == {"attention": 1}
    assert "1 benchmarks of attention in a sliding window" in caplog.text


def test_keys_of_another_scheme_are_refused(samples, imported):
    extra = samples.gemm_extra | {"scheme_version": 2}
    with pytest.raises(MeasurementError, match="scheme_version = 2; expected 1"):
        imported(samples.report(samples.benchmark(extra)))


def test_nothing_of_ours_is_an_error(samples, imported):
    with pytest.raises(MeasurementError, match="none of 1 benchmarks says in extra_info"):
        imported(samples.report(samples.benchmark({})))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"m": -1}, r"benchmarks\[0\]\.extra_info: m = '-1'; expected a whole number"),
        ({"m": "__import__('os')"}, r"benchmarks\[0\]\.extra_info: m = "),
        ({"m": True}, r"benchmarks\[0\]\.extra_info: m = 'True'"),
        (
            {"family": "zzz"},
            r"benchmarks\[0\]\.extra_info: family = 'zzz' of '.*'; expected",
        ),
        ({"dtype": 32}, r"benchmarks\[0\]\.extra_info: dtype = 32; expected text"),
        ({"dtype": None}, r"benchmarks\[0\]\.extra_info: key 'dtype' is missing"),
        ({"device": "Xeon"}, r"benchmarks\[0\]\.extra_info: device 'Xeon' is no name or alias"),
        ({"device": None}, r"extra_info: the file does not name its device"),
    ],
)
def test_a_wrong_case_is_named_by_key(samples, imported, change, complaint):
    with pytest.raises(MeasurementError, match=complaint):
        imported(samples.report(samples.benchmark(samples.gemm_extra | change)))


@pytest.mark.parametrize("median", [-0.002, 0, None, "x", True])
def test_a_wrong_time_is_named_by_key(samples, imported, median):
    text = samples.report(samples.benchmark(samples.gemm_extra, median))
    with pytest.raises(MeasurementError, match=r"benchmarks\[0\]\.stats: median"):
        imported(text)


def test_missing_keys_are_named(samples, imported):
    bare = {"extra_info": samples.gemm_extra}
    with pytest.raises(MeasurementError, match=r"benchmarks\[0\]\.stats: key 'median' is missing"):
        imported(samples.report(bare))
    with pytest.raises(MeasurementError, match=r"benchmarks\[0\]: expected an object"):
        imported(samples.report(3))
    with pytest.raises(MeasurementError, match="key 'benchmarks' is missing"):
        imported(json.dumps({"machine_info": {}}))


def test_broken_json_is_named_by_line_and_column(samples, imported):
    text = samples.all["pytest"]
    with pytest.raises(MeasurementError, match=r"line \d+, column \d+: no JSON"):
        imported(text[: len(text) // 2])
    with pytest.raises(MeasurementError, match=r"nested too deeply|no JSON"):
        imported('{"benchmarks": ' + "[" * 200_000)
