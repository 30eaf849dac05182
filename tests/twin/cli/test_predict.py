"""`twin predict`: options into a scenario, a prediction into JSON and text."""

from __future__ import annotations

import json
import shlex
from dataclasses import fields, replace
from pathlib import Path

import pytest

from twin.prediction import MemoryUse, Prediction
from twin.quantities import QUANTITIES
from twin.scenario.scenario import PlanRequest, Scenario

DESIGN_KEYS = {
    *("step_time_s", "tokens_per_s", "tokens_per_s_per_device", "model_flop_per_s_per_device"),
    *("mfu", "hfu", "memory_bytes_per_device", "fits_memory", "device_power_w", "it_power_w"),
    *("facility_power_w", "energy_per_step_j", "energy_per_token_j", "breakdown", "plan"),
    *("interval", "warnings"),
}


def test_the_bare_options_leave_the_plan_open(twin, fake, base):
    assert twin("predict", *base).code == 0
    assert fake.asked == Scenario(
        cluster="dgx-h100", devices=64, model="llama-3-8b", seq_len=8192, global_batch=512
    )


def test_every_option_reaches_the_scenario(twin, fake, base, tmp_path):
    options = shlex.split(
        "--micro-batch 2 --precision fp8 --tp 4 --pp 2 --vpp 3 --cp 5 --ep 6 --zero 1 "
        "--sequence-parallel --recompute selective --attention unfused --framework torchtitan "
        "--plan auto --power-cap 500 --tokens 15e12 --site groningen "
        "--set accelerator.memory.capacity_bytes=1e11 --set node.power.fan_fraction=0.1"
    )
    answer = twin("predict", *base, *options, "--profiles", str(tmp_path))
    assert answer.code == 0
    assert fake.profile_dirs == (tmp_path,)
    assert fake.asked == Scenario(
        cluster="dgx-h100",
        devices=64,
        model="llama-3-8b",
        seq_len=8192,
        global_batch=512,
        precision="fp8",
        framework="torchtitan",
        plan=PlanRequest(
            tp=4,
            pp=2,
            vpp=3,
            cp=5,
            ep=6,
            zero=1,
            micro_batch=2,
            sequence_parallel=True,
            recompute="selective",
            attention="unfused",
        ),
        power_cap_w=500.0,
        site="groningen",
        tokens=15e12,
        overrides=(
            ("accelerator.memory.capacity_bytes", "1e11"),
            ("node.power.fan_fraction", "0.1"),
        ),
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [((), None), (("--sequence-parallel",), True), (("--no-sequence-parallel",), False)],
)
def test_sequence_parallelism_is_on_off_or_open(twin, fake, base, options, expected):
    twin("predict", *base, *options)
    assert fake.asked.plan.sequence_parallel is expected


def test_json_begins_with_the_header_and_has_the_keys_of_the_design(twin, fake, base):
    document = json.loads(twin("predict", *base, "--json").out)
    assert list(document)[:3] == ["tweeling_version", "command", "profile_hashes"]
    assert set(document) >= DESIGN_KEYS
    assert document["profile_hashes"] == {"cluster/dgx-h100": "ab" * 32}
    assert document["command"].startswith("twin predict --cluster dgx-h100 --devices 64")


def test_json_has_no_run_unless_tokens_are_given(twin, fake, base):
    without = json.loads(twin("predict", *base, "--json").out)
    assert not {"run_time_s", "run_energy_j", "run_cost_eur"} & set(without)
    run = json.loads(twin("predict", *base, "--tokens", "1e12", "--json").out)
    assert run["run_time_s"] > 0
    assert run["run_cost_eur"] is None


def test_energy_is_power_times_time_to_the_last_digit_after_json(twin, fake, base):
    document = json.loads(twin("predict", *base, "--json").out)
    assert document["energy_per_step_j"] == document["it_power_w"] * document["step_time_s"]


def test_numbers_of_the_json_are_those_of_the_prediction(twin, fake, base):
    document = json.loads(twin("predict", *base, "--json").out)
    assert document["step_time_s"] == 10.0 / 3.0
    assert document["interval"]["step_time_s"] == {"p10": 3.1, "p50": 10.0 / 3.0, "p90": 3.7}
    assert document["plan"]["tp"] == 2


def test_a_number_that_is_not_finite_is_a_defect(twin, fake, base):
    fake.change = staticmethod(lambda prediction: replace(prediction, mfu=float("nan")))
    answer = twin("predict", *base, "--json")
    assert answer.code == 3
    assert answer.out == ""
    assert "mfu is nan" in answer.err


def test_a_plan_that_does_not_fit_prints_the_result_and_exits_1(twin, too_large, base):
    answer = twin("predict", *base, "--json")
    assert answer.code == 1
    assert json.loads(answer.out)["fits_memory"] is False
    text = twin("predict", *base)
    assert text.code == 1
    assert "DOES NOT FIT" in text.out


def test_every_quantity_of_a_prediction_is_in_the_registry(twin, fake, base):
    floats = {
        field.name
        for record in (Prediction, MemoryUse)
        for field in fields(record)
        if field.type in {"float", "float | None"}
    }
    assert floats <= set(QUANTITIES)
    document = json.loads(twin("predict", *base, "--tokens", "1e12", "--json").out)
    numbers = {key for key, value in document.items() if isinstance(value, float)}
    assert numbers <= set(QUANTITIES)
    assert set(document["interval"]) <= set(QUANTITIES)


def test_text_says_what_was_asked_and_what_comes_out(twin, fake, base):
    lines = twin("predict", *base, "--tp", "2", "--tokens", "1e12").out
    assert "llama-3-8b on 64 devices of dgx-h100" in lines
    assert "tp 2*" in lines
    assert "p10 3.10 s .. p90 3.70 s" in lines
    assert "60.00 of 80.00 GB, fits" in lines
    assert "hidden behind compute: data parallel 400.0 ms" in lines
    assert "! no measured network (W_DATASHEET_ONLY)" in lines
    assert "whole run of 1e+12 tokens" in lines


def test_text_ends_with_the_command_that_asks_why(twin, fake, base):
    last = twin("predict", *base).out.splitlines()[-1]
    assert last == "why: twin explain " + " ".join(base)


def test_breakdown_bars_are_ordered_by_time(twin, fake, base):
    out = twin("predict", *base).out.partition("step time, where it goes")[2]
    assert out.index("gemm") < out.index("attention")
    assert "75.0 %" in out


def test_a_folder_of_profiles_that_is_a_file_is_refused(twin, fake, base, tmp_path):
    path = Path(tmp_path / "file")
    path.write_text("")
    answer = twin("predict", *base, "--profiles", str(path))
    assert answer.code == 2
    assert len(answer.err_lines) == 1
