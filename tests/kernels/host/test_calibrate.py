"""A calibration of a made-up thread: recovers its constants, survives a stop, refuses bad files."""

import pytest

from hardware_profiles.catalogue import Catalogue
from kernels.host.calibrate import calibrate_host
from kernels.host.case import GEMM
from kernels.host.facts import host_facts
from kernels.host.journal import COLUMNS, Visit
from kernels.host.levels import case_times
from kernels.importers.tidy_rows import GemmRow, column_table
from kernels.measurements import MeasurementError
from kernels.prediction.registry import row_predictor
from tests.kernels.host.made_up import (
    BLAS,
    FIGURES,
    NUMBA,
    measuring,
    small_plan,
    true_time_s,
)
from twin.predict import Predictor
from twin.scenario.scenario import Scenario


def calibrate(out, **changes):
    how = changes.pop("how", None) or measuring()
    return calibrate_host(
        out, is_quick=True, plan=small_plan(), how=how, prepare=lambda: None, **changes
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A calibration that was stopped and taken up again: folder, journal at the stop, outcome."""
    out = tmp_path_factory.mktemp("calibrated")
    with pytest.raises(KeyboardInterrupt):
        calibrate(out, how=measuring(after=100))
    (journal,) = out.rglob("journal.csv")
    return out, journal.read_text(), calibrate(out)


def test_an_interrupt_loses_nothing_and_the_rest_is_measured_once(finished):
    out, stopped, _ = finished
    (visits,) = out.rglob("visits.csv")
    lines = visits.read_text()
    assert lines.startswith(stopped)
    assert len(stopped.splitlines()) == 2 + 100
    rows = [tuple(line.split(",")[:2]) for line in lines.splitlines()[2:]]
    assert len(set(rows)) == len(rows) == 2 * len(small_plan().cases)
    assert not list(out.rglob("journal.csv"))


def test_errors_are_reported_by_family_and_dtype_on_sizes_set_aside(finished):
    _, _, outcome = finished
    parts = {(one.family, one.part): one for one in outcome.reports}
    assert set(parts) >= {("gemm", "blas"), ("gemm", "numba"), ("attention", "fwd")}
    for report in outcome.reports:
        assert report.dtype == "fp32"
        assert report.provenance.n_heldout >= 6
        assert report.provenance.heldout_mean_ape_fraction < 0.1


def test_a_fit_recovers_the_constants_of_the_thread(finished):
    out, _, outcome = finished
    accelerator = Catalogue((out,)).machine(outcome.cluster).accelerator
    gemm = accelerator.calibration.gemm["fp32"]
    rate = gemm.tensor_efficiency_fraction * accelerator.compute.peak_flop_per_s["fp32"]
    assert rate == pytest.approx(FIGURES.peak_flop_per_s, rel=0.05)
    assert gemm.pack_b_s == pytest.approx(BLAS["pack_b_s"], rel=0.2)
    numba = gemm.implementations["numba"]
    assert numba.rate_ratio == pytest.approx(NUMBA["rate_ratio"], rel=0.1)
    bandwidth = accelerator.memory.bandwidth_bytes_per_s
    assert bandwidth == pytest.approx(FIGURES.bandwidth_bytes_per_s, rel=0.05)


def test_the_profile_makes_a_machine_of_one_node(finished):
    out, _, outcome = finished
    machine = Catalogue((out,)).machine(outcome.cluster)
    assert machine.node.n_devices == 1
    assert machine.accelerator.memory.l2_bytes == pytest.approx(host_facts().l2_bytes, rel=0.01)
    assert machine.accelerator.name == outcome.cluster == host_facts().name


def test_a_prediction_holds_its_power_without_a_cap(finished):
    """Nobody set one: the assumed limit covers the draw and its spread."""
    out, _, outcome = finished
    scenario = Scenario(
        cluster=outcome.cluster,
        devices=1,
        model="gpt2-124m",
        seq_len=256,
        global_batch=1,
        precision="fp32",
        framework="numpy",
    )
    found = Predictor((out,)).predict(scenario)
    assert not [one.code for one in found.warnings if "CAP" in one.code]
    power = found.interval["device_power_w"]
    assert power.p10 < power.p50 < power.p90


def test_the_two_transposed_layouts_are_predicted_apart(finished):
    out, _, outcome = finished
    accelerator = Catalogue((out,)).machine(outcome.cluster).accelerator
    rows = [
        GemmRow(device="", dtype="fp32", m=256, n=512, k=384, layout=layout, latency_us=1.0)
        for layout in ("", "NN", "TN", "NT")
    ]
    predict = row_predictor("gemm", n_rows=len(rows))
    times_s = predict(column_table("gemm", rows), accelerator, accelerator.calibration)
    assert times_s[0] == times_s[1]
    assert len(set(times_s.tolist())) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense\n", "is no journal of a calibration"),
        (
            f'# {{"device": "Other"}}\n{COLUMNS}\n',
            "device was 'Other'",
        ),
        (None, "expected a number above 0"),
        (b"\xff\xfe\x00", "it is no text"),
    ],
)
def test_a_journal_that_cannot_be_read_is_one_line(tmp_path, text, said):
    with pytest.raises(KeyboardInterrupt):
        calibrate(tmp_path, how=measuring(after=3))
    (journal,) = tmp_path.rglob("journal.csv")
    if isinstance(text, bytes):
        journal.write_bytes(text)
    else:
        broken = journal.read_text().rsplit(",", 1)[0] + ",-1\n"
        journal.write_text(broken if text is None else text)
    with pytest.raises(MeasurementError, match=said) as refusal:
        calibrate(tmp_path)
    assert "\n" not in str(refusal.value)
    assert str(journal) in str(refusal.value)


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        calibrate(tmp_path, how=measuring(after=5))
    (journal,) = tmp_path.rglob("journal.csv")
    whole = journal.read_text()
    journal.write_text(whole + "0,gemm/bl")
    with pytest.raises(KeyboardInterrupt):
        calibrate(tmp_path, how=measuring(after=0))
    assert journal.read_text() == whole


def test_a_slow_spell_of_the_machine_does_not_move_the_times():
    """Visits at half the pace, anchors with them, tell the same time."""
    cases = [case for case in small_plan().cases if case.family == GEMM]
    visits = []
    for i_round, pace in enumerate((1.0, 2.0, 1.0, 2.0, 1.0)):
        for position, case in enumerate(cases):
            slow = pace if position % 2 else 1.0
            visits.append(
                Visit(
                    i_round=i_round,
                    case=case.key,
                    seconds=slow * true_time_s(case),
                    n_calls=1,
                    arithmetic_anchor_s=slow * 1e-4,
                    memory_anchor_s=1e-4,
                )
            )
    times = case_times(cases, visits)
    assert all(one.seconds == pytest.approx(true_time_s(one.case), rel=0.05) for one in times)
