"""Fields: what they accept, how they step, and that commands and files give a scenario back."""

from __future__ import annotations

import shlex
from dataclasses import fields, replace

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from twin.cli.predict import predict
from twin.scenario.command import predict_command
from twin.scenario.example import example_scenario
from twin.scenario.fields import FIELDS, Invalid, Ok, field_named
from twin.scenario.resolve import Catalogues, ScenarioError, resolve_job
from twin.scenario.scenario import PlanRequest, Scenario
from twin.scenario.scenario_file import read_scenario, scenario_text, write_scenario

CATALOGUES = Catalogues.with_folders(())

scenarios = st.builds(
    Scenario,
    cluster=st.sampled_from(["dgx-h100", "lumi-g", "dgx-a100"]),
    devices=st.integers(1, 4096),
    model=st.sampled_from(["llama-3-8b", "gpt3-175b"]),
    seq_len=st.integers(1, 2**20),
    global_batch=st.integers(1, 10_000),
    precision=st.sampled_from(["bf16", "fp8"]),
    plan=st.builds(
        PlanRequest,
        tp=st.none() | st.integers(1, 64),
        micro_batch=st.none() | st.integers(1, 64),
        zero=st.none() | st.integers(0, 3),
        sequence_parallel=st.none() | st.booleans(),
        recompute=st.none() | st.sampled_from(["none", "selective", "full"]),
    ),
    power_cap_w=st.none() | st.floats(100, 1200),
    tokens=st.none() | st.floats(1e9, 1e14),
    overrides=st.sampled_from([(), (("accelerator.memory.capacity_gb", "96"),)]),
)


def test_every_attribute_of_a_scenario_has_a_field():
    listed = {field.name for field in FIELDS}
    plan = {f.name for f in fields(PlanRequest)} - {"ep", "shard_group", "recompute_layers"}
    own = {f.name for f in fields(Scenario)} - {"plan", "overrides"}
    assert listed == plan | own


def test_options_are_those_of_the_command_line():
    options = {option.lstrip("-") for p in predict.params for option in p.opts}
    assert {field.option for field in FIELDS} <= options


@given(scenarios)
def test_a_file_gives_the_scenario_back(tmp_path_factory, scenario):
    path = tmp_path_factory.mktemp("scenario") / "s.toml"
    write_scenario(scenario, path)
    assert read_scenario(path, CATALOGUES) == scenario


def test_the_command_asks_the_same(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "twin.predict.Predictor.predict", lambda self, scenario: seen.append(scenario) or 1 / 0
    )

    @given(scenarios)
    def asks_the_same(scenario):
        seen.clear()
        words = shlex.split(predict_command(scenario))
        CliRunner().invoke(predict, words[2:])
        assert seen == [scenario]

    asks_the_same()


@pytest.mark.parametrize("field", FIELDS, ids=lambda f: f.name)
def test_stepping_up_and_down_stays_valid(field):
    value = field.of(example_scenario())
    for direction in (1, 1, -1, -1, -1):
        value = field.stepped(value, direction, CATALOGUES)
        parsed = field.parse(field.text(value), CATALOGUES)
        assert isinstance(parsed, Ok), (field.name, value, parsed)


def test_powers_of_two_step_to_the_next_one_from_anywhere():
    devices = field_named("devices")
    assert devices.stepped(48, 1, CATALOGUES) == 64
    assert devices.stepped(48, -1, CATALOGUES) == 32
    assert devices.stepped(1, -1, CATALOGUES) == 1
    assert field_named("tp").stepped(1, -1, CATALOGUES) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("devices", "0"),
        ("devices", "-4"),
        ("devices", "many"),
        ("devices", "nan"),
        ("devices", "1.5"),
        ("zero", "-1"),
        ("precision", "fp7"),
        ("recompute", "some"),
        ("power_cap_w", "0"),
        ("sequence_parallel", "maybe"),
        ("cluster", ""),
    ],
)
def test_what_a_field_refuses_is_said(name, text):
    parsed = field_named(name).parse(text, CATALOGUES)
    assert isinstance(parsed, Invalid)
    assert "expected" in parsed.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cluster = 'a'", "devices: missing"),
        ("nonsense = 1", "nonsense: unknown key"),
        ("a = [", "not valid TOML"),
        ("cluster='a'\ndevices='x'\nmodel='m'\nseq_len=1\nglobal_batch=1", "devices"),
        ("kind = 'cluster'", 'expected kind = "scenario"'),
        ("plan = 3", "expected kind"),
        ("set = 3", "set: expected a table"),
        ("[plan]\ntpp = 2", "nearest is tp"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, text, words):
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=words) as refusal:
        read_scenario(path, CATALOGUES)
    assert str(refusal.value).startswith(str(path))
    assert "\n" not in str(refusal.value)


def test_nothing_half_written(tmp_path):
    with pytest.raises(ScenarioError):
        write_scenario(example_scenario(), tmp_path / "no" / "folder" / "s.toml")
    assert list(tmp_path.iterdir()) == []


def test_text_holds_only_what_differs():
    text = scenario_text(example_scenario())
    assert "[plan]" not in text
    assert "power_cap" not in text


def test_the_example_can_be_resolved():
    job = resolve_job(example_scenario(), CATALOGUES)
    assert job.n_devices == example_scenario().devices
    smaller = replace(example_scenario(), devices=8)
    assert resolve_job(smaller, CATALOGUES).n_nodes == 1


def test_parts_of_a_plan_without_a_field_stand_in_the_command():
    plan = PlanRequest(zero=3, shard_group=8, recompute="full", recompute_layers=12)
    scenario = Scenario(
        cluster="c", devices=64, model="m", seq_len=1024, global_batch=64, plan=plan
    )
    command = predict_command(scenario)
    assert "--shard-group 8" in command
    assert "--recompute-layers 12" in command
