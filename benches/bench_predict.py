"""How long does an answer take: a given plan, a search, an explanation, the repaint of Compose?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tui.compute import Compute, RealTwin
from tui.widgets.breakdown import breakdown_lines, memory_lines, power_lines
from tui.widgets.headline import HeadlineStyle, headline_lines
from tui.widgets.lines import content
from twin.predict import Predictor
from twin.scenario.example import example_scenario
from twin.scenario.scenario import PlanRequest

GIVEN = replace(
    example_scenario(),
    plan=PlanRequest(tp=4, pp=4, vpp=1, cp=1, zero=1, micro_batch=1, recompute="none"),
)


@pytest.fixture(scope="module")
def predictor():
    return Predictor()


def bench_predict_given_plan(benchmark, predictor):
    benchmark.extra_info["what"] = "one configuration, plan given"
    benchmark(predictor.predict, GIVEN)


@pytest.mark.parametrize("devices", [64, 1024])
def bench_predict_auto_plan(benchmark, predictor, devices):
    """After an edit that leaves the kernels as they are."""
    scenario = replace(example_scenario(), devices=devices)
    benchmark.extra_info["what"] = f"search over all plans, {devices} devices, kernels known"
    benchmark(predictor.predict, scenario)


@pytest.mark.parametrize("devices", [64, 1024])
def bench_predict_auto_plan_of_new_kernels(benchmark, devices):
    """The first search of a scenario, profiles loaded."""
    scenario = replace(example_scenario(), devices=devices)

    def loaded():
        predictor = Predictor()
        predictor.predict(replace(GIVEN, seq_len=scenario.seq_len // 2))
        return (predictor,), {}

    benchmark.extra_info["what"] = f"search over all plans, {devices} devices, kernels new"
    benchmark.pedantic(lambda loaded: loaded.predict(scenario), setup=loaded, rounds=20)


def bench_explain(benchmark, predictor):
    benchmark.extra_info["what"] = "all trees of terms, plan given"
    benchmark(predictor.explain, GIVEN)


@pytest.mark.parametrize("plan", ["given", "open"])
def bench_edit_to_lines(benchmark, plan):
    """Everything between an edit and the lines that Textual draws."""
    scenario = GIVEN if plan == "given" else example_scenario()
    compute = Compute(RealTwin())

    def edit():
        prediction = compute.answer(scenario, 1).prediction
        content(headline_lines(prediction, HeadlineStyle()))
        content(breakdown_lines(prediction, width=46, height=9, as_table=False))
        content(memory_lines(prediction, width=46))
        content(power_lines(prediction, width=46))

    benchmark.extra_info["what"] = f"predict and make all panes of Compose, plan {plan}"
    benchmark(edit)
