"""The fit on real rows of the built-in table: what is left out has no say."""

import math
from dataclasses import replace

import pytest

from hardware_profiles.catalogue import Catalogue
from twin.fitting.__main__ import main
from twin.fitting.fit import fit_constants
from twin.fitting.homes import current_constants
from twin.fitting.parameters import fit_parameters, source_trust
from twin.fitting.rows import FitRow, row_weights
from twin.validation.left_out import constants_without, left_out_text
from twin.validation.published import built_in_table
from twin.validation.run_constants import SHIPPED, RunConstants
from twin.validation.run_machines import RunMachines
from twin.validation.run_prediction import predict_run
from twin.validation.run_request import Unsupported, run_request
from twin.validation.runs_table import read_runs
from twin.validation.source_groups import source_group

FITTED = ("_eager.traffic.hidden_passes", "internevo.host.step_s", "llm-foundry.host.step_s")
WANTED = ("internevo_7b", "llm_foundry", "korthikanti2022")


@pytest.fixture(scope="module")
def machines():
    return RunMachines(Catalogue(()))


@pytest.fixture(scope="module")
def rows():
    requests = [run_request(run) for run in read_runs(built_in_table())]
    return [
        FitRow(request=request, group=source_group(request.source_id))
        for request in requests
        if not isinstance(request, Unsupported) and request.source_id in WANTED
    ]


@pytest.fixture(scope="module")
def parameters():
    return [parameter for parameter in fit_parameters() if parameter.name in FITTED]


def fitted(rows, machines, parameters):
    start = {parameter.place: parameter.prior for parameter in parameters}
    return fit_constants(rows, machines, parameters, start=start, trust={}, rounds=2)


def test_constants_of_a_group_left_out_do_not_know_its_rows(rows, machines, parameters):
    def with_other_times(row):
        time_s = 3.0 * row.request.measured_step_time_s
        if row.group != "internevo_7b":
            return row
        return FitRow(request=replace(row.request, measured_step_time_s=time_s), group=row.group)

    honest = fitted(rows, machines, parameters)
    lying = fitted([with_other_times(row) for row in rows], machines, parameters)
    own = ("internevo", "host.step_s")
    assert honest.values[own] != pytest.approx(lying.values[own], rel=0.2)
    # Without its rows the constant that only they feel is the prior, whatever they say.
    prior = next(p.prior for p in parameters if p.place == own)
    for found in (honest, lying):
        assert found.left_out["internevo_7b"][own] == pytest.approx(prior, rel=1e-6)


def test_the_fit_lowers_the_error(rows, machines, parameters):
    found = fitted(rows, machines, parameters)

    def mean_error(constants):
        errors = []
        for row in rows:
            _, step = predict_run(row.request, machines, constants)
            errors.append(abs(math.log(step.time_s / row.request.measured_step_time_s)))
        return sum(errors) / len(errors)

    priors = RunConstants.of({p.place: p.prior for p in parameters})
    assert mean_error(RunConstants.of(found.values)) < mean_error(priors)


def test_nothing_to_fit_on_is_one_line(tmp_path, capsys):
    header = built_in_table().read_text(encoding="utf-8").splitlines()[0]
    for name in ("runs.csv", "runs_more.csv"):
        (tmp_path / name).write_text(f"{header}\n", encoding="utf-8")
    assert main(["--from", str(tmp_path), "--dry-run"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "nothing to fit" in message


def test_sisters_are_left_out_together():
    assert source_group("vtrain_multi") == source_group("vtrain_single")
    assert source_group("mlperf_v3.1") == source_group("mlperf_v5.0")
    assert source_group("nvidia_nemo_2407") != source_group("nvidia_dgxc")
    assert source_group("torchao_float8") == "torchao_float8"


def test_a_source_that_no_fit_saw_gets_what_is_shipped():
    assert constants_without("somebody_else_2031") is SHIPPED
    assert constants_without("vtrain_multi").values


def test_constants_left_out_are_those_that_are_fitted():
    places = {parameter.place for parameter in fit_parameters()}
    for source in ("vtrain_multi", "llm_foundry", "mlperf_v5.0", "simumax_b200"):
        assert set(constants_without(source).values) == places


def test_every_fitted_constant_stands_in_its_file_within_its_limits():
    current = current_constants(fit_parameters())
    for parameter in fit_parameters():
        assert parameter.low <= current[parameter.place] <= parameter.high
        assert parameter.low <= parameter.prior <= parameter.high


def test_large_sources_weigh_less_than_their_rows(rows):
    weights = row_weights(rows, {"llm_foundry": 0.5}, without=["korthikanti2022"])
    by_source = {}
    for row, weight in zip(rows, weights, strict=True):
        by_source.setdefault(row.request.source_id, set()).add(weight)
    assert by_source["korthikanti2022"] == {0.0}
    assert by_source["internevo_7b"] == {1.0}
    assert all(weight <= 0.5 for weight in by_source["llm_foundry"])


def test_trust_names_known_sources():
    assert set(source_trust()) == {"bigscience_tr11", "mi350x_bench"}


def test_the_file_of_constants_left_out_reads_back(tmp_path):
    import tomllib

    values = {
        ("internevo", "host.step_s"): 0.25,
        ("architecture:hopper", "energy_per_flop_j"): 9e-13,
    }
    document = tomllib.loads(left_out_text({"somebody": values}))
    assert document["somebody"]["internevo"]["host.step_s"] == 0.25
    assert document["somebody"]["architecture:hopper"]["energy_per_flop_j"] == 9e-13
