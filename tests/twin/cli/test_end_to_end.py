"""The verbs on the real library."""

from __future__ import annotations

import json
import math

import pytest

from twin.predict import Predictor
from twin.quantities import QUANTITIES
from twin.scenario.scenario import Scenario

CLUSTERS = ["dgx-h100", "lumi-g", "mi300x-oam8"]


def predicted(twin, base, *words: str) -> dict:
    answer = twin("predict", *base, *words, "--json")
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_numbers_are_within_their_ranges_and_consistent(twin, base, cluster):
    document = predicted(twin, base, "--cluster", cluster)
    numbers = {key: value for key, value in document.items() if isinstance(value, float)}
    assert numbers
    assert not [key for key, value in numbers.items() if not QUANTITIES[key].holds(value)]
    assert document["energy_per_step_j"] == document["it_power_w"] * document["step_time_s"]
    assert math.isclose(sum(document["breakdown"].values()), document["step_time_s"])
    n_tokens = 8192 * 512
    assert math.isclose(document["tokens_per_s"] * document["step_time_s"], n_tokens)
    assert math.isclose(document["energy_per_token_j"] * n_tokens, document["energy_per_step_j"])
    for interval in document["interval"].values():
        assert interval["p10"] <= interval["p50"] <= interval["p90"]


@pytest.mark.parametrize(("cluster", "is_announced"), [("rubin-nvl72", True), ("dgx-h100", False)])
def test_a_prediction_on_an_announced_part_says_so(twin, base, cluster, is_announced):
    document = predicted(twin, base, "--cluster", cluster)
    codes = {warning["code"] for warning in document["warnings"]}
    assert ("W_ANNOUNCED" in codes) == is_announced


def test_the_command_line_and_the_library_agree_to_the_last_digit(twin, base):
    document = predicted(twin, base)
    scenario = Scenario(
        cluster="dgx-h100", devices=64, model="llama-3-8b", seq_len=8192, global_batch=512
    )
    prediction = Predictor().predict(scenario)
    assert document["step_time_s"] == prediction.step_time_s
    assert document["device_power_w"] == prediction.device_power_w


def test_the_chosen_plan_given_back_gives_the_same_numbers(twin, base):
    chosen = predicted(twin, base)
    plan = chosen["plan"]
    options = [
        f"--{name.replace('_', '-')}={plan[name]}"
        for name in ("tp", "pp", "vpp", "cp", "zero", "micro_batch", "recompute", "attention")
    ]
    sequence = "--sequence-parallel" if plan["sequence_parallel"] else "--no-sequence-parallel"
    given = predicted(twin, base, *options, sequence)
    assert given["plan"] == plan
    assert given["step_time_s"] == chosen["step_time_s"]


def test_a_figure_set_for_once_changes_the_answer_and_the_hashes(twin, base):
    plain = predicted(twin, base)
    slower = predicted(twin, base, "--set", "accelerator.memory.bandwidth_bytes_per_s=1e12")
    assert slower["step_time_s"] > plain["step_time_s"]
    assert slower["profile_hashes"] != plain["profile_hashes"]


def test_a_prediction_carries_the_hashes_of_constants_that_it_takes_over(twin, base):
    document = predicted(twin, base, "--cluster", "l40s-server")
    assert {"accelerator/l40s", "family/ada", "family/relatives"} <= set(document["profile_hashes"])


def test_a_whole_run_is_so_many_steps(twin, base):
    document = predicted(twin, base, "--tokens", "15e12")
    assert math.isclose(document["run_time_s"], 15e12 / document["tokens_per_s"])
    assert math.isclose(document["run_energy_j"], document["run_time_s"] * document["it_power_w"])
    assert document["run_cost_eur"] is None


def test_explained_numbers_are_the_predicted_ones(twin, base):
    document = predicted(twin, base)
    terms = json.loads(twin("explain", *base, "--json").out)["terms"]
    assert {"step_time_s", "mfu", "device_power_w", "energy_per_token_j"} <= set(terms)
    for name, tree in terms.items():
        if name in document:
            assert tree["value"] == document[name], name


def check_sums(term: dict) -> None:
    if term["relation"] == "sum":
        total = sum(child["value"] for child in term["children"])
        assert math.isclose(total, term["value"], rel_tol=1e-9, abs_tol=1e-15), term["name"]
    for child in term["children"]:
        check_sums(child)


def test_sums_of_every_tree_add_up(twin, base):
    for tree in json.loads(twin("explain", *base, "--json").out)["terms"].values():
        check_sums(tree)


@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_text_has_no_number_that_is_not_one(twin, base, verb):
    out = twin(verb, *base).out
    assert "nan" not in out.lower().split()
    assert "inf" not in out.lower().split()
