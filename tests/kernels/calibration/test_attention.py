"""Fits of attention find what was planted, keep to the bars on real rows, pass constants on."""

import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hardware_profiles.calibration import AttentionCalibration, Calibration, Provenance
from hardware_profiles.catalogue import Catalogue
from kernels.calibration.attention import attention_calibrations
from kernels.calibration.attention_backward import pass_ratio, with_pass_ratio
from kernels.calibration.attention_family import family_attention, scaled_attention
from kernels.calibration.attention_rows import attention_rows
from kernels.calibration.attention_rules import load_rules
from kernels.calibration.fit_attention import (
    NO_BLOCKS,
    AttentionFitter,
    heldout_mask,
    parameter_ranges,
    starts,
)
from kernels.calibration.profiles import calibrated_profile, write_calibrations
from kernels.calibration.run import calibrate
from kernels.calibration.session import Session
from kernels.calibration.simplex import judge
from kernels.calibration.split import is_heldout
from kernels.compiled_formula import PlainFormulas
from kernels.measurement_tables import MeasurementError, Table
from kernels.prediction.attention import AttentionTimes

MEDIAN_BAR, MEAN_BAR = 0.07, 0.10

SHIPPED = Path(__file__).parents[3] / "kernels" / "measured" / "h100-sxm"
PROVENANCE = Provenance(figure_class="fitted", source="test", relative_spread_fraction=0.05)


def measured_folder() -> Path:
    root = os.environ.get("TWEELING_DATA_DIR", str(Path(__file__).parents[3] / ".." / "shared"))
    folder = Path(root) / "measurements"
    if not folder.is_dir():
        pytest.skip(f"no measurements at {folder}: set TWEELING_DATA_DIR")
    return folder


def test_a_survey_of_the_package_is_counted_once():
    (rows,) = (
        one for one in attention_rows(Session(folder=SHIPPED)) if one.accelerator.name == "h100-sxm"
    )
    lines = (SHIPPED / "attention.csv").read_text(encoding="utf-8").count("\n") - 1
    assert len(rows.rows) <= lines


def entry(**changes):
    values = starts(parameter_ranges().forward) | NO_BLOCKS | changes
    return AttentionCalibration(
        **{"backward_matrix_efficiency_fraction": 0.5} | values,
        provenance=PROVENANCE,
        backward_provenance=PROVENANCE,
    )


def synthetic_rows(n=1200, direction="fwd"):
    rng = np.random.default_rng(11)
    kv_heads = 2.0 ** rng.integers(0, 4, n)
    length = np.floor(2.0 ** rng.uniform(4.0, 14.0, n))
    return Table(
        columns={
            "dtype": np.full(n, "bf16", dtype=object),
            "batch": 2.0 ** rng.integers(0, 5, n),
            "heads_q": kv_heads * 2.0 ** rng.integers(0, 4, n),
            "heads_kv": kv_heads,
            "seq_q": length,
            "seq_kv": length,
            "head_dim": rng.choice([64.0, 128.0], n),
            "causal": rng.random(n) < 0.5,
            "direction": np.full(n, direction, dtype=object),
            "library": np.full(n, "", dtype=object),
        }
    )


@pytest.fixture(scope="module")
def fitter():
    return AttentionFitter()


@pytest.fixture(scope="module")
def hopper():
    return Catalogue().accelerator("h100-sxm")


def with_times(fitter, hopper, rows, values):
    times_s = fitter.predicted_s(rows, hopper, values)
    return Table(columns=rows.columns | {"latency_us": times_s * 1e6})


PLANTED = starts(parameter_ranges().forward) | NO_BLOCKS
PLANTED |= {
    "matrix_efficiency_fraction": 0.6,
    "block_latency_s": 0.5e-6,
    "launch_s": 12e-6,
    "group_packing_fraction": 0.9,
    "side_key_ratio": 3.0,
}


def test_a_fit_recovers_planted_parameters(fitter, hopper):
    rows = with_times(fitter, hopper, synthetic_rows(), PLANTED)
    start = starts(parameter_ranges().forward) | NO_BLOCKS
    found = fitter.forward(rows, hopper, relative=start)
    predicted_s = fitter.predicted_s(rows, hopper, found)
    assert judge(predicted_s, rows["latency_us"] * 1e-6).p90_ape_fraction < 0.02
    for name in ("matrix_efficiency_fraction", "launch_s", "group_packing_fraction"):
        assert found[name] == pytest.approx(PLANTED[name], rel=0.1)


def test_a_fit_of_the_backward_pass_holds_the_forward_one(fitter, hopper):
    truth = {
        "backward_matrix_efficiency_fraction": 0.45,
        "backward_latency_ratio": 1.5,
        "backward_side_ratio": 3.0,
        "backward_launch_s": 40e-6,
    }
    rows = with_times(fitter, hopper, synthetic_rows(400, "bwd"), PLANTED | truth)
    found = fitter.backward(rows, hopper, PLANTED)
    assert set(found) == set(truth)
    expected = truth["backward_matrix_efficiency_fraction"]
    assert found["backward_matrix_efficiency_fraction"] == pytest.approx(expected, rel=0.05)


def test_thin_rows_leave_the_prior_in_place(fitter, hopper):
    rows = with_times(fitter, hopper, synthetic_rows(3), PLANTED)
    found = fitter.forward(rows, hopper, relative=PLANTED)
    assert found == pytest.approx(PLANTED, rel=0.1)


def test_a_thin_table_alone_starts_from_its_implementation_in_the_profile(tmp_path):
    """Three calls leave nearly all of it in place: there is no other device to lean on."""
    library = "transformer-engine:attention"
    lines = [
        f"b200-sxm,bf16,1,{heads},{heads},4096,4096,128,true,fwd,{library},{latency_us},TWEELING"
        for heads, latency_us in ((24, 120.0), (32, 150.0), (64, 260.0))
    ]
    head = f"{HEAD},latency_us,source_id"
    (tmp_path / "attention.csv").write_text("\n".join([head, *lines]) + "\n")
    found = attention_calibrations(Session(folder=tmp_path))["b200-sxm"]["cudnn"]
    known = Catalogue().accelerator("b200-sxm").calibration.attention["cudnn"]
    assert found.query_block == known.query_block
    for name in ("block_latency_s", "join_exponent"):
        assert getattr(found, name) == pytest.approx(getattr(known, name), rel=0.3)


HEAD = "device,dtype,batch,heads_q,heads_kv,seq_q,seq_kv,head_dim,causal,direction,library"
N_HEADS = (24, 32, 48)
"""None of them set aside."""


def calls_of(device, *libraries):
    lines = [
        f"{device},bf16,1,{heads},{heads},4096,4096,128,true,fwd,{library},{5.0 * heads},TWEELING"
        for library, n_calls in libraries
        for heads in N_HEADS[:n_calls]
    ]
    return "\n".join([f"{HEAD},latency_us,source_id", *lines]) + "\n"


@pytest.fixture
def leant_on(monkeypatch, tmp_path):
    """What the fits of a table lean on, by order; each of them leaves it as it is."""
    found = []

    def forward(_fitter, _rows, _accelerator, *, relative=None):
        found.append(relative)
        return relative

    def fitted(text, catalogue=None):
        (tmp_path / "attention.csv").write_text(text)
        session = Session(folder=tmp_path, catalogue=catalogue or Catalogue())
        return attention_calibrations(session), found

    monkeypatch.setattr(AttentionFitter, "forward", forward)
    monkeypatch.setattr("kernels.prediction.attention.FormulaCompiler", PlainFormulas)
    return fitted


def is_of(parameters, known):
    return all(
        parameters[name] == pytest.approx(getattr(known, name))
        for name in ("matrix_efficiency_fraction", "block_latency_s", "launch_s", *NO_BLOCKS)
    )


def test_errors_of_fitted_rows_do_not_pass_for_those_of_rows_set_aside(leant_on):
    text = calls_of("b200-sxm", ("trtllm-1", 3))
    found, _ = leant_on(text)
    provenance = found["b200-sxm"]["trtllm"].provenance
    assert (provenance.n_samples, provenance.n_heldout) == (3, 0)
    assert provenance.heldout_median_ape_fraction is None
    assert "nothing set aside; the rows fitted: median" in provenance.source


def test_calls_set_aside_are_judged_by_device_and_type(tmp_path, leant_on):
    aside = next(n for n in range(16, 200, 4) if is_heldout("attention", (n, n, 128)))
    text = calls_of("b200-sxm", ("trtllm-1", 3))
    text += f"b200-sxm,fp16,1,{aside},{aside},4096,4096,128,true,fwd,trtllm-1,500.0,TWEELING\n"
    leant_on(text)
    session = Session(folder=tmp_path)
    attention_calibrations(session)
    (report,) = session.noted
    assert (report.device, report.dtype, report.part) == ("b200-sxm", "fp16", "forward")
    assert (report.provenance.n_samples, report.provenance.n_heldout) == (0, 1)
    assert report.provenance.heldout_median_ape_fraction > 0.0


def test_a_thin_group_leans_on_its_entry_in_the_profile_beside_other_kernels_too(leant_on):
    known = Catalogue().accelerator("b200-sxm").calibration.attention
    text = calls_of("b200-sxm", ("trtllm-1", 3), ("transformer-engine:attention", 2))
    _, (first, second) = leant_on(text)
    assert is_of(first, known["trtllm"])
    assert is_of(second, known["cudnn"])
    assert not is_of(first, known["cudnn"])


def test_an_entry_that_rests_on_no_more_rows_than_the_table_is_not_leant_on(leant_on, tmp_path):
    """It may be a fit of the same rows, which would then count twice."""
    shipped = Catalogue()
    known = shipped.accelerator("b200-sxm").calibration
    cudnn = known.attention["cudnn"]
    few = msgspec.structs.replace(cudnn.provenance, n_samples=2)
    again = {"cudnn": msgspec.structs.replace(cudnn, provenance=few)}
    again = msgspec.structs.replace(known, attention=known.attention | again)
    text = calibrated_profile(shipped.path("accelerator", "b200-sxm").read_text(), again)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "b200-sxm.toml").write_text(text)
    text = calls_of("b200-sxm", ("trtllm-1", 3), ("transformer-engine:attention", 2))
    _, (first, second) = leant_on(text, Catalogue([mine]))
    assert second == first


def test_a_fit_does_not_lean_on_its_own_result(tmp_path):
    """A table that a profile was fitted on gives the same constants again."""
    lines = [
        f"mi300x,fp16,1,{heads},{heads},{length},{length},128,false,fwd,flash-attn-2-rocm(ck),"
        f"{latency_us},TWEELING"
        for heads, length, latency_us in ((24, 2048, 190.0), (32, 4096, 900.0), (48, 8192, 5200.0))
    ]
    (tmp_path / "attention.csv").write_text("\n".join([f"{HEAD},latency_us,source_id", *lines]))
    catalogues, found = [Catalogue()], []
    for number in range(2):
        session = Session(folder=tmp_path, catalogue=catalogues[-1], date="2026-11-27")
        result = calibrate(session)
        out = tmp_path / f"fitted-{number}"
        write_calibrations(result.fitted, catalogue=Catalogue(), out=out)
        catalogues.append(Catalogue([out]))
        found.append(catalogues[-1].accelerator("mi300x").calibration.attention["ck"])
    assert found[1] == found[0]
    assert found[0].provenance.n_samples == len(lines)


def test_what_stands_in_for_a_thin_group_is_leant_on_at_the_rates_at_which_it_does(leant_on):
    text = calls_of("mi355x", ("aiter", 3), ("torch-sdpa", 2))
    _, (aiter, torch) = leant_on(text)
    (factor,) = (rule.rate_factor for rule in load_rules().derived if "torch-sdpa" in rule.names)
    share, clocks = "matrix_efficiency_fraction", "block_latency_s"
    assert torch[share] == pytest.approx(factor * aiter[share])
    assert torch[clocks] == pytest.approx(aiter[clocks] / factor)
    assert torch["launch_s"] == aiter["launch_s"]


def test_a_given_ratio_of_passes_is_met(hopper):
    assert pass_ratio(hopper, with_pass_ratio(hopper, entry(), 3.1)) == pytest.approx(3.1, rel=1e-3)


def test_a_family_of_one_scales_latencies_with_the_clock(hopper):
    fast = msgspec.structs.replace(
        hopper,
        compute=msgspec.structs.replace(
            hopper.compute, boost_clock_hz=2.0 * hopper.compute.boost_clock_hz
        ),
    )
    one = entry(block_latency_s=0.4e-6)
    found = family_attention([(hopper, {"flash-3": one})], target=fast)["flash-3"]
    assert found.block_latency_s == pytest.approx(0.2e-6)
    assert found.launch_s == pytest.approx(one.launch_s)
    assert found.matrix_efficiency_fraction == pytest.approx(one.matrix_efficiency_fraction)
    assert found.provenance.figure_class == "inherited"
    assert found.provenance.relative_spread_fraction > 0.05


def test_a_family_takes_the_middle_of_its_members(hopper):
    members = [(hopper, {"a": entry(matrix_efficiency_fraction=share)}) for share in (0.4, 0.9)]
    assert family_attention(members)["a"].matrix_efficiency_fraction == pytest.approx(0.6)


def test_scaled_rates_stretch_the_time(fitter, hopper):
    rows = synthetic_rows(200)
    times_s = [
        AttentionTimes().times_s(rows, hopper, Calibration(attention={"one": one}))
        for one in (entry(), scaled_attention(entry(), 0.5))
    ]
    assert (times_s[1] >= times_s[0]).all()


def test_real_rows_set_aside_are_within_the_bars(fitter):
    session = Session(folder=measured_folder())
    devices = attention_rows(session)
    ampere = next((one for one in devices if one.accelerator.name == "a100-sxm-80gb"), None)
    assert ampere is not None
    rows = ampere.of("trtllm")
    rows = rows.where(rows["direction"] == "fwd")
    aside = heldout_mask(rows)
    values = fitter.forward(rows.where(~aside), ampere.accelerator)
    judged = rows.where(aside)
    predicted_s = fitter.predicted_s(judged, ampere.accelerator, values)
    errors = judge(predicted_s, judged["latency_us"] * 1e-6)
    assert errors.n_rows > 900
    assert errors.median_ape_fraction < MEDIAN_BAR
    assert errors.mean_ape_fraction < MEAN_BAR


def test_backward_rows_alone_are_named_and_left_out(tmp_path, caplog):
    row = "MI355X,bf16,2,32,8,4096,4096,128,true,bwd,aiter,900,X\n"
    (tmp_path / "attention.csv").write_text(f"{HEAD},latency_us,source_id\n{row}")
    assert attention_calibrations(Session(folder=tmp_path, catalogue=Catalogue())) == {"mi355x": {}}
    assert "attention mi355x aiter: not fitted; no row of its forward pass" in caplog.text
    with pytest.raises(MeasurementError, match="nothing could be fitted"):
        calibrate(Session(folder=tmp_path, catalogue=Catalogue()))
