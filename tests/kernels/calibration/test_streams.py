"""Fits of memory-bound operations recover planted parameters and reach their bars."""

import numpy as np
import pytest

from hardware_profiles.catalogue import Catalogue
from kernels.calibration.session import Session
from kernels.calibration.simplex import judge
from kernels.calibration.stream_fit import FittedOperation, OperationFitter, fit_occupancy
from kernels.calibration.stream_rows import OperationRows, operation_rows
from kernels.calibration.streams import (
    bandwidth_errors,
    family_memory_bound,
    fit_streams,
    memory_bound_calibrations,
)
from kernels.memory_bound.machine import eager_plan, operation_facts
from kernels.memory_bound.occupancy import OccupancyMachine, occupied_bandwidth_bytes_per_s

FITTER = OperationFitter()
TRUTH = {
    "traffic_ratio": 1.1,
    "launch_s": 12e-6,
    "row_s": 0.0,
    "unaligned_row_s": 0.0,
    "long_row_bytes": 0.0,
    "long_row_traffic_ratio": 1.0,
    "long_row_sharpness": 6.0,
    "element_s": 0.0,
    "overlap_exponent": 6.0,
    "fill_rows": 0.0,
    "cached_bandwidth_ratio": 1.0,
}


def planted_rows(values=TRUTH, *, name="add", accelerator="a100-sxm-80gb", share=0.87):
    """Rows of an operation with these parameters, some of them small enough for the cache."""
    rng = np.random.default_rng(5)
    sizes = np.column_stack(
        [
            np.floor(2.0 ** rng.uniform(10, 20, 200)),
            np.floor(2.0 ** rng.uniform(9, 14, 200)),
            np.full((200, 3), (4.0, 3.0, 1.0)),
        ]
    )
    rows = OperationRows(
        accelerator=Catalogue().accelerator(accelerator),
        name=name,
        sizes=sizes,
        measured_s=np.ones(200),
        heldout=np.zeros(200, dtype=bool),
        keys=np.arange(200),
        is_eager=name.endswith(("-fwd", "-bwd")),
    )
    planted = FittedOperation(parameters=values, residual=None)
    rows.measured_s[:] = FITTER.predict_s(rows, share, planted)
    return rows


def test_a_fit_recovers_planted_parameters():
    fitted = FITTER.fit(planted_rows(), 0.87)
    assert fitted.parameters["cached_bandwidth_ratio"] == 1.0
    assert fitted.parameters["traffic_ratio"] == pytest.approx(1.1, rel=0.01)
    assert fitted.parameters["launch_s"] == pytest.approx(12e-6, rel=0.05)
    assert fitted.residual is None


def test_operations_are_faster_in_the_cache_where_rows_show_it():
    fitted = FITTER.fit(planted_rows(TRUTH | {"cached_bandwidth_ratio": 2.5}), 0.87)
    assert fitted.parameters["cached_bandwidth_ratio"] == pytest.approx(2.5, rel=0.1)


def test_two_devices_of_an_architecture_tell_arithmetic_from_traffic():
    truth = TRUTH | {"traffic_ratio": 1.2, "launch_s": 5e-6, "element_s": 6e-10}
    sets = [
        planted_rows(truth, name="gelu-fwd", accelerator=name, share=0.9)
        for name in ("h100-sxm", "h200-sxm")
    ]
    fitted = fit_streams(FITTER, sets, {"h100-sxm": 0.9, "h200-sxm": 0.9})
    found = fitted.operations["h100-sxm", "gelu-fwd"]
    assert found.parameters == fitted.operations["h200-sxm", "gelu-fwd"].parameters
    assert found.parameters["element_s"] == pytest.approx(6e-10, rel=0.03)
    assert found.parameters["traffic_ratio"] == pytest.approx(1.2, rel=0.03)
    assert found.parameters["launch_s"] == pytest.approx(5e-6, rel=0.1)


def test_long_rows_follow_the_source_where_rows_hold_no_short_ones():
    rows = planted_rows(name="cross_entropy-bwd", accelerator="h100-sxm")
    rows.sizes[:, 1:4] = (65536.0, 2.0, 2.0)
    plan = eager_plan("cross_entropy-bwd")
    known = TRUTH | {"traffic_ratio": 2.0, "serial_row_s": plan.serial_row_s}
    known |= {"long_row_bytes": plan.long_row_bytes}
    known |= {"long_row_traffic_ratio": plan.long_row_traffic_ratio, "long_row_sharpness": 1000.0}
    planted = FittedOperation(parameters=known, residual=None)
    rows.measured_s[:] = FITTER.predict_s(rows, 0.9, planted)
    (found,) = FITTER.fit_eager([(rows, 0.9)], plan)
    short = rows.where(rows.keys >= 0)
    short.sizes[:, 1] = 8192.0
    predicted_s, expected_s = (FITTER.predict_s(short, 0.9, one) for one in (found, planted))
    assert np.median(np.abs(predicted_s / expected_s - 1.0)) < 0.05


def test_rows_held_in_registers_are_told_from_traffic():
    plan = eager_plan("softmax-fwd")
    truth = TRUTH | {
        "traffic_ratio": 1.0,
        "launch_s": 4e-6,
        "held_row_columns": plan.held_row_columns,
        "held_row_s": 3e-6,
        "held_register_s": 1.5e-7,
        "overlap_exponent": 3.0,
    }
    sets = [
        planted_rows(truth, name="softmax-fwd", accelerator=name, share=0.9)
        for name in ("h100-sxm", "h200-sxm")
    ]
    found = FITTER.fit_eager([(rows, 0.9) for rows in sets], plan)[0].parameters
    assert found["held_row_s"] == pytest.approx(3e-6, rel=0.05)
    assert found["held_register_s"] == pytest.approx(1.5e-7, rel=0.1)


def test_what_one_device_does_differently_becomes_its_correction_by_width_of_element():
    plan = eager_plan("gelu-fwd")
    truth = TRUTH | {"launch_s": 5e-6, "element_s": 4e-10}
    plain, other = (
        planted_rows(truth, name="gelu-fwd", accelerator=name, share=0.9)
        for name in ("h100-sxm", "h200-sxm")
    )
    for rows in (plain, other):
        rows.sizes[::2, 2] = 2.0
        rows.measured_s[:] = FITTER.predict_s(
            rows, 0.9, FittedOperation(parameters=truth, residual=None)
        )
    octaves_from_4096 = np.abs(np.log2(other.sizes[:, 1]) - 12.0)
    is_bent = (other.sizes[:, 2] == 4.0) & (octaves_from_4096 < 1.0)
    other.measured_s[is_bent] *= 1.06
    of_plain, of_other = FITTER.fit_eager([(plain, 0.9), (other, 0.9)], plan)
    assert of_plain.parameters == of_other.parameters
    assert of_other.residual is not None
    ratios = FITTER.predict_s(other, 0.9, of_other) / FITTER.predict_s(
        other, 0.9, FittedOperation(parameters=of_other.parameters, residual=None)
    )
    assert np.median(ratios[is_bent]) > 1.03
    assert np.abs(ratios[other.sizes[:, 2] == 2.0] - 1.0).max() < 0.02


def test_what_rows_of_softmax_are_too_short_for_is_told_by_the_loss():
    truth = TRUTH | {
        "traffic_ratio": 2.0,
        "launch_s": 2e-5,
        "held_row_columns": 9216.0,
        "held_row_s": 2e-6,
        "held_register_s": 2e-7,
        "plain_row_bytes": 49152.0,
        "plain_round_s": 3e-5,
        "plain_rest_s": 8e-6,
        "overlap_exponent": 3.0,
    }
    sets = []
    for device in ("h100-sxm", "h200-sxm"):
        loss = planted_rows(truth, name="cross_entropy-fwd", accelerator=device, share=0.9)
        loss.sizes[:, 1] = 2.0 * loss.sizes[:, 1] + 30_000.0
        planted = FittedOperation(parameters=truth, residual=None)
        loss.measured_s[:] = FITTER.predict_s(loss, 0.9, planted)
        softmax = planted_rows(
            truth | {"traffic_ratio": 1.0}, name="softmax-fwd", accelerator=device, share=0.9
        )
        sets += [softmax.where(softmax.sizes[:, 1] < 8192.0), loss]
    fitted = fit_streams(FITTER, sets, {"h100-sxm": 0.9, "h200-sxm": 0.9})
    found = fitted.operations["h200-sxm", "softmax-fwd"].parameters
    assert found["plain_round_s"] == pytest.approx(3e-5, rel=0.15)
    assert found["plain_rest_s"] == pytest.approx(8e-6, rel=0.15)


def test_rows_that_begin_anywhere_cost_what_others_do_where_none_was_measured():
    truth = TRUTH | {"row_s": 3e-7, "unaligned_row_s": 3e-7}
    rows = planted_rows(truth, name="layernorm")
    found = FITTER.fit(rows, 0.87).parameters
    assert found["unaligned_row_s"] == found["row_s"] == pytest.approx(3e-7, rel=0.2)
    rows.sizes[::2, 4] = 0.0
    planted = FittedOperation(parameters=truth | {"unaligned_row_s": 9e-7}, residual=None)
    rows.measured_s[:] = FITTER.predict_s(rows, 0.87, planted)
    found = FITTER.fit(rows, 0.87).parameters
    assert found["unaligned_row_s"] == pytest.approx(9e-7, rel=0.2)


def test_a_device_alone_stays_near_what_its_architecture_told():
    known = Catalogue().accelerator("h200-sxm").calibration.memory_bound.operations["gelu-fwd"]
    rows = planted_rows(name="gelu-fwd", accelerator="h200-sxm", share=0.9)
    rows.sizes[:, 1:4] = (14336.0, 2.0, 2.0)
    own = {name: getattr(known, name) for name in TRUTH}
    planted = FittedOperation(parameters=own, residual=None)
    rows.measured_s[:] = 1.1 * FITTER.predict_s(rows, 0.9, planted)
    few = rows.where(rows.keys < 3)
    found = fit_streams(FITTER, [few], {"h200-sxm": 0.9}).operations["h200-sxm", "gelu-fwd"]
    assert found.parameters["element_s"] == pytest.approx(own["element_s"], rel=0.2)
    predicted_s = FITTER.predict_s(rows, 0.9, found)
    assert np.median(predicted_s / rows.measured_s) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(
    ("device", "library"), [("MI300X", "torch-2.11:eager"), ("H100-SXM5-80GB", "liger")]
)
def test_only_eager_rows_on_nvidia_have_the_kernels_of_the_source(tmp_path, device, library):
    header = "device,op,direction,dtype,rows,cols,library,latency_us"
    line = f"{device},rmsnorm,fwd,bf16,8192,4096,{library},60.0"
    (tmp_path / "ops.csv").write_text(f"{header}\n{line}\n")
    session = Session(folder=tmp_path)
    found = [
        one for one in operation_rows(session) if (one.name, len(one.sizes)) == ("rmsnorm-fwd", 1)
    ]
    assert [one.is_eager for one in found] == [False]


def test_operations_that_no_model_knows_are_named(tmp_path, caplog):
    header = "device,op,direction,dtype,rows,cols,library,latency_us"
    (tmp_path / "ops.csv").write_text(f"{header}\nMI100,rmsnorm,sideways,bf16,64,64,x,60.0\n")
    assert operation_rows(Session(folder=tmp_path)) == []
    assert "no model knows are left out: rmsnorm-sideways (1 rows)" in caplog.text


def test_every_eager_operation_moves_its_operands_at_least_once():
    facts = operation_facts()
    plans = {name: eager_plan(name) for name in facts["eager"]}
    assert set(plans) <= set(facts["passes"])
    for name, plan in plans.items():
        assert plan.kernels >= 1, name
        assert plan.traffic_ratio >= 1.0, name
        assert (plan.long_row_traffic_ratio or 1.0) >= 1.0, name
    assert eager_plan("add") is None


def test_occupancy_is_fitted_by_littles_law():
    occupancy = np.linspace(0.03, 1.0, 32)
    machine = OccupancyMachine(1.0, 0.9, 0.35, 3.0)
    share = np.array([occupied_bandwidth_bytes_per_s(one, machine) for one in occupancy])
    fitted = fit_occupancy(occupancy, share)
    assert fitted.peak_fraction == pytest.approx(0.9, rel=0.02)
    assert fitted.saturation_fraction == pytest.approx(0.35, rel=0.05)
    alone = fit_occupancy(np.ones(1), np.array([0.8]))
    assert alone.peak_fraction == 0.8


@pytest.mark.parametrize("name", ["l4", "a100-pcie-80gb"])
def test_sizes_set_aside_are_within_two_per_cent(shared_data, name):
    session = Session(folder=shared_data("measurements"))
    fitter = OperationFitter()
    own = [rows for rows in operation_rows(session) if rows.accelerator.name == name]
    fitted = fit_streams(fitter, [rows.where(~rows.heldout) for rows in own], {})
    unseen = [rows.where(rows.heldout) for rows in own]
    predicted = [
        fitter.predict_s(rows, fitted.efficiency[name], fitted.operations[name, rows.name])
        for rows in unseen
    ]
    measured = np.concatenate([rows.measured_s for rows in unseen])
    errors = judge(np.concatenate(predicted), measured)
    assert errors.median_ape_fraction < 0.02
    assert errors.mean_ape_fraction < 0.08


def test_a_family_takes_over_shares_and_operations(shared_data, monkeypatch):
    session = Session(folder=shared_data("measurements"))
    own = [rows for rows in operation_rows(session) if rows.accelerator.name == "l4"]
    monkeypatch.setattr("kernels.calibration.streams.operation_rows", lambda _session: own)
    monkeypatch.setattr("kernels.calibration.streams.bandwidth_tables", lambda _session: [])
    found = memory_bound_calibrations(session)
    assert 0.7 < found["l4"].bandwidth_efficiency_fraction < 0.85
    family = family_memory_bound([(Catalogue().accelerator("l4"), found["l4"])])
    assert family.provenance.figure_class == "inherited"
    assert set(family.operations) == set(found["l4"].operations)
    assert all(one.residual is None for one in family.operations.values())
    for name, one in found["l4"].operations.items():
        spread = family.operations[name].provenance.relative_spread_fraction
        assert spread >= one.provenance.relative_spread_fraction


OPERATIONS = """\
device,op,direction,dtype,rows,cols,library,latency_us
H200-SXM,rmsnorm,bwd,bf16,8192,4096,x,60.0
H200-SXM,gelu,,fp32,8192,4096,x,80.0
"""
SURVEYED = """\
case,device,vendor,op,direction,dtype,rows,cols,bytes,library,latency_us
rmsnorm/fwd/8192x4096,h200-sxm,nvidia,rmsnorm,fwd,bf16,8192,4096,1,torch-2:eager,40.0
own/rmsnorm-fwd-bf16-8192x4096,h200-sxm,nvidia,rmsnorm,fwd,bf16,8192,4096,1,tweeling-1:x,30.0
"""


def test_directions_count_and_kernels_of_ours_do_not(tmp_path, monkeypatch):
    (tmp_path / "ops.csv").write_text(OPERATIONS)
    surveyed = tmp_path / "surveys" / "h200-sxm"
    surveyed.mkdir(parents=True)
    (surveyed / "memory_bound.csv").write_text(SURVEYED)
    monkeypatch.setattr("kernels.calibration.session.MEASURED", tmp_path / "surveys")
    found = operation_rows(Session(folder=tmp_path))
    times_us = {rows.name: (rows.measured_s * 1e6).round(6).tolist() for rows in found}
    assert times_us == {"rmsnorm-bwd": [60.0], "gelu": [80.0], "rmsnorm-fwd": [40.0]}


def test_two_tables_of_a_device_are_one_set(tmp_path, monkeypatch):
    surveyed = tmp_path / "surveys" / "h200-sxm"
    surveyed.mkdir(parents=True)
    (surveyed / "memory_bound.csv").write_text(SURVEYED)
    folder = tmp_path / "own"
    folder.mkdir()
    header, first, _ = SURVEYED.splitlines()
    lines = (header, first.replace("40.0", "42.0"), first.replace("4096", "2048"))
    (folder / "memory_bound.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr("kernels.calibration.session.MEASURED", tmp_path / "surveys")
    (rows,) = operation_rows(Session(folder=folder))
    assert (rows.measured_s * 1e6).round(6).tolist() == [40.0, 42.0, 40.0]
    assert rows.keys.tolist() == [1, 1, 0]
    assert rows.is_eager


@pytest.mark.parametrize("element_bytes", [2.0, 4.0])
def test_corrections_of_kernels_that_are_not_known_hold_for_their_width(element_bytes):
    rows = planted_rows(name="rmsnorm-fwd", accelerator="mi300x")
    rows.sizes[:, 2] = element_bytes
    planted = FittedOperation(parameters=TRUTH, residual=None)
    rows.measured_s[:] = FITTER.predict_s(rows, 0.87, planted)
    rows.measured_s[:] *= np.exp(0.1 * np.sin(1.5 * np.log2(rows.sizes[:, 1])))
    fitted = FITTER.fit(rows, 0.87)
    bare = FittedOperation(parameters=fitted.parameters, residual=None)
    missed, plain = (
        np.mean(np.abs(FITTER.predict_s(rows, 0.87, one) / rows.measured_s - 1.0))
        for one in (fitted, bare)
    )
    assert missed < 0.6 * plain
    rows.sizes[:, 2] = 6.0 - element_bytes
    assert FITTER.predict_s(rows, 0.87, fitted) == pytest.approx(FITTER.predict_s(rows, 0.87, bare))


def test_provenance_names_the_sources_of_the_rows(tmp_path):
    header = "device,op,direction,dtype,rows,cols,library,latency_us,source_id"
    rows = [
        f"L4,{op},,fp32,{2**size},{1024},x,{10 + 2**size / 500},{source}"
        for op, source in (("add", "my-lab"), ("gelu", ""))
        for size in range(10, 18)
    ]
    (tmp_path / "ops.csv").write_text("\n".join((header, *rows)) + "\n")
    found = memory_bound_calibrations(Session(folder=tmp_path))["l4"].operations
    assert "(my-lab)" in found["add"].provenance.source
    assert "(measurements that name no source)" in found["gelu"].provenance.source


def test_streams_are_judged_at_occupancies_that_were_not_fitted(tmp_path):
    machine = OccupancyMachine(1.0, 0.9, 0.35, 3.0)
    peak_gb_per_s = Catalogue().accelerator("l4").memory.bandwidth_bytes_per_s / 1e9
    header = "device,op,GBps,library,source_id"
    lines = [
        f"L4,copy,{peak_gb_per_s * occupied_bandwidth_bytes_per_s(one / 100, machine)},"
        f"gpu-stream block=32 occupancy={one}%,x"
        for one in range(5, 101, 5)
    ]
    (tmp_path / "membw.csv").write_text("\n".join((header, *lines)) + "\n")
    session = Session(folder=tmp_path)
    errors = bandwidth_errors(session)["l4"]
    assert 0 < errors.n_rows < 20
    assert errors.median_ape_fraction < 0.02
