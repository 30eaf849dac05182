"""Server power over runs: joins, parts that add up, what waiting and the meter change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.twin.machines import job, machine
from tests.twin.power_tables import POWER_HEADER, RUN_HEADER, power_line, run_line
from twin.energy.node_power import server_parts_w, waiting_server_parts_w
from twin.energy.run_power import run_parts
from twin.energy.step_energy import device_power, step_activity
from twin.predict import Predictor
from twin.training.plan import Plan
from twin.training.predictor import StepPredictor
from twin.validation.adapter_step import adapter_activity
from twin.validation.csv_rows import TableError
from twin.validation.node_power_table import NodePowerRow
from twin.validation.power import validate_power
from twin.validation.power_join import RunIndex, with_stated_layout
from twin.validation.runs_table import PublishedRun
from twin.validation.supply_pairs import supply_efficiency


@pytest.fixture
def tables(tmp_path):
    """Write a table of server power and one of runs."""

    def write(power_lines, run_lines):
        power, runs = tmp_path / "power.csv", tmp_path / "runs.csv"
        power.write_text("\n".join([POWER_HEADER, *power_lines]) + "\n")
        runs.write_text("\n".join([RUN_HEADER, *run_lines]) + "\n")
        return power, runs

    return write


@pytest.fixture(scope="module")
def predictor():
    return Predictor()


def test_a_row_is_predicted_and_its_parts_add_up(tables, predictor):
    report = validate_power(*tables([power_line()], [run_line("a")]), predictor=predictor)
    (server,) = report.servers
    assert sum(server.parts.values()) == pytest.approx(server.predicted_power_w)
    device = server.step_device
    assert sum(v for k, v in device.items() if k != "total_w") == pytest.approx(device["total_w"])
    assert server.p10_w < server.predicted_power_w < server.p90_w
    assert server.signed_error == pytest.approx(server.predicted_power_w / 6800 - 1)
    assert server.predicted_energy_j == pytest.approx(server.predicted_power_w * 8 * 3000)
    assert report.coverage == 1.0
    assert report.profile_hashes


def test_a_meter_behind_the_supplies_takes_the_run_of_the_inlet_without_the_loss(tables, predictor):
    lines = [power_line(), power_line(submitter="other", meter="DC", watts=6630)]
    report = validate_power(*tables(lines, [run_line("a")]), predictor=predictor)
    inlet, behind = report.servers
    assert behind.run_id == inlet.run_id
    assert behind.parts["supply_loss_w"] == 0.0
    efficiency = predictor.catalogues.profiles.node("dgx-h100").power.supply_efficiency_fraction
    assert behind.predicted_power_w == pytest.approx(efficiency * inlet.predicted_power_w)
    assert report.supply.mean == pytest.approx(0.975)


def test_less_time_in_steps_draws_less(tables, predictor):
    watts = []
    for share in ("0.95", "0.7"):
        paths = tables([power_line()], [run_line("a", share=share)])
        report = validate_power(*paths, predictor=predictor)
        watts.append(report.servers[0].predicted_power_w)
    assert watts[1] < watts[0]


def test_what_is_not_predicted_says_why(tables, predictor):
    lines = [power_line(), power_line(benchmark="resnet"), power_line(benchmark="llama9")]
    lines.append(power_line(benchmark="shareless"))
    runs = [run_line("a"), run_line("b", where="who/results/8xBOX/shareless", share="")]
    report = validate_power(*tables(lines, runs), predictor=predictor)
    whys = {row["benchmark"]: row["why"] for row in report.unpredicted}
    assert "image classification" in whys["resnet"]
    assert "no published run" in whys["llama9"]
    assert "steps_share_of_run" in whys["shareless"]
    workloads = {entry.workload: entry for entry in report.by_device}
    assert workloads["resnet"].power_mape is None
    assert workloads["gpt3"].power_mape == pytest.approx(report.mape)


def test_a_run_of_another_size_is_not_taken(tables, predictor):
    lines = [power_line().replace(",8,8,50", ",4,8,50")]
    report = validate_power(*tables(lines, [run_line("a")]), predictor=predictor)
    assert "32 devices were metered and run a has 64" in report.unpredicted[0]["why"]


def test_tables_that_have_nothing_in_common_are_refused(tables, predictor):
    power, runs = tables([power_line()], [run_line("a", where="who/results/OTHER/gpt3")])
    with pytest.raises(TableError) as caught:
        validate_power(power, runs, predictor=predictor)
    message = str(caught.value)
    assert f"{power}:2" in message
    assert str(runs) in message
    assert "training_results_v4.0 who/results/8xBOX" in message


def test_adapters_take_the_layout_of_runs_of_their_kind(tables, predictor):
    where = "who/results/8xBOX/lora"
    unstated = run_line("a", layout=",,NeMo,,,,", task="lora", where=where)
    stated = run_line("b", task="lora", where="else/results/x/lora")
    paths = tables([power_line(benchmark="lora")], [unstated, stated])
    (server,) = validate_power(*paths, predictor=predictor).servers
    assert any("tp=4 pp=4" in text for text in server.assumptions)
    lonely = tables([power_line(benchmark="lora")], [unstated])
    report = validate_power(*lonely, predictor=predictor)
    assert "no layout is stated" in report.unpredicted[0]["why"]


def test_a_layout_on_which_runs_disagree_is_not_taken():
    run = PublishedRun(run_id="a", task="lora", device="H100", n_devices=8)
    one = replace(run, run_id="b", tp=4, pp=1, cp=1, micro_batch=1, precision="fp8")
    assert with_stated_layout(run, [run, one, replace(one, run_id="c")]).tp == 4
    assert with_stated_layout(run, [one, replace(one, run_id="c", tp=2)]) is None
    assert with_stated_layout(run, [replace(one, device="H200")]) is None


def test_adapters_do_less_work_than_full_training():
    plan = Plan(tp=2, dp=32, sequence_parallel=True)
    predictor = StepPredictor(job())
    step = predictor.step(plan)
    full = step_activity(predictor.job, plan, step, predictor.power)
    adapter = adapter_activity(predictor, plan)
    assert adapter.weighted_flop == pytest.approx(full.weighted_flop * 2 / 3, rel=0.1)
    assert adapter.link_bytes < full.link_bytes
    assert adapter.period_s < full.period_s
    watts = [device_power(activity, predictor.power).total_w for activity in (adapter, full)]
    assert watts[0] == pytest.approx(watts[1], rel=0.15)


def test_a_run_without_rest_draws_its_step_power_and_one_without_steps_waits():
    node = machine().node
    busy = run_parts(node, step_device_w=600.0, waiting_device_w=120.0, steps_fraction=1.0)
    idle = run_parts(node, step_device_w=600.0, waiting_device_w=120.0, steps_fraction=0.0)
    assert (busy.devices_w, busy.host_w) == (4800.0, server_parts_w(node))
    assert (idle.devices_w, idle.host_w) == (960.0, waiting_server_parts_w(node))
    half = run_parts(node, step_device_w=600.0, waiting_device_w=120.0, steps_fraction=0.5)
    assert half.inlet_w == pytest.approx(0.5 * (busy.inlet_w + idle.inlet_w))
    assert busy.behind_supply_w == pytest.approx(
        busy.inlet_w * node.power.supply_efficiency_fraction
    )


def row(**changes):
    figures = {
        "where": "x:1",
        "mlperf_version": "v4.0",
        "submitter": "who",
        "system": "BOX",
        "benchmark": "gpt3",
        "device": "H100",
        "n_nodes": 1,
        "n_devices_per_node": 8,
        "run_time_s": 100.0,
        "node_power_w": 1000.0,
        "meter": "ac",
        "stated_supply_efficiency": None,
    }
    return NodePowerRow(**(figures | changes))


def test_only_two_meters_on_the_same_runs_make_a_pair():
    behind = row(submitter="dc", meter="dc", node_power_w=970.0)
    assert supply_efficiency([row(), behind]).mean == pytest.approx(0.97)
    for other in ({"run_time_s": 120.0}, {"benchmark": "bert"}, {"meter": "ac"}, {"n_nodes": 2}):
        figures = {"submitter": "dc", "meter": "dc"} | other
        assert supply_efficiency([row(), row(**figures)]) is None


def test_provenance_without_a_submission_joins_nothing():
    index = RunIndex([PublishedRun(run_id="a", provenance="READ a page")])
    assert index.find(row(), [row()]) is None


def test_gpt3_on_64_servers_is_within_twelve_percent(shared_data, predictor):
    report = validate_power(
        shared_data("published_runs/mlperf_node_power.csv"),
        shared_data("published_runs/runs.csv"),
        predictor=predictor,
    )
    servers = {(one.submitter, one.system, one.benchmark): one for one in report.servers}
    for submitter in ("smc-ac-power", "smc-dc-power"):
        gpt3 = servers[submitter, "64xSMC-H100-SXM-80GB", "gpt3"]
        assert gpt3.run_id == "mlperf_v4.0-0020"
        assert gpt3.ape < 0.12
        assert gpt3.is_inside
    adapters = [one for one in report.servers if one.benchmark == "llama2_70b_lora"]
    assert {one.run_id for one in adapters} == {"mlperf_v4.0-0019", "mlperf_v4.0-0022"}
    assert all(one.assumptions for one in adapters)
    assert 0.97 < report.supply.mean < 0.99
    assert report.rows == report.covered + len(report.unpredicted)
