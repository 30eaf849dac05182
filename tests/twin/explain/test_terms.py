"""Trees of terms: sums add up, products multiply out, inputs name their source."""

from __future__ import annotations

import math

import pytest

from twin.explain.term import Term
from twin.predict import Predictor
from twin.scenario.scenario import PlanRequest, Scenario

SCENARIOS = [
    Scenario(cluster="dgx-h100", devices=64, model="llama-3-8b", seq_len=8192, global_batch=512),
    Scenario(
        cluster="dgx-a100",
        devices=64,
        model="gpt3-22b",
        seq_len=2048,
        global_batch=256,
        framework="megatron-lm-2021",
        precision="fp16",
        plan=PlanRequest(
            tp=8, pp=2, micro_batch=2, attention="unfused", recompute="selective", zero=0
        ),
    ),
    Scenario(cluster="lumi-g", devices=128, model="llama-3-8b", seq_len=4096, global_batch=256),
    Scenario(
        cluster="dgx-h200",
        devices=64,
        model="llama-3-8b",
        seq_len=32_768,
        global_batch=64,
        framework="torchtitan",
        precision="fp8",
        plan=PlanRequest(tp=2, cp=4, zero=3, shard_group=8, micro_batch=1),
    ),
]


def walk(term: Term):
    yield term
    for child in term.children:
        yield from walk(child)


@pytest.fixture(scope="module", params=SCENARIOS, ids=lambda s: s.cluster)
def explained(request):
    predictor = Predictor()
    return predictor.predict(request.param), predictor.explain(request.param)


def test_children_of_a_sum_add_up(explained):
    _, terms = explained
    n_sums = 0
    for root in terms.values():
        for term in walk(root):
            if term.relation == "sum":
                n_sums += 1
                total = math.fsum(child.value for child in term.children)
                assert total == pytest.approx(term.value, rel=1e-12), term.name
    assert n_sums > 5


def test_no_limit_of_a_product_exceeds_the_product(explained):
    _, terms = explained
    n_products = 0
    for term in walk(terms["step_time_s"]):
        limits = [child for child in term.children if child.name in ("arithmetic", "memory")]
        if limits and term.relation == "maximum":
            n_products += 1
            assert max(child.value for child in limits) <= term.value
    assert n_products > 5


def test_products_and_quotients_multiply_out(explained):
    _, terms = explained
    for root in terms.values():
        for term in walk(root):
            if len(term.children) < 2:
                continue
            if term.relation == "product":
                expected = math.prod(child.value for child in term.children)
            elif term.relation == "quotient":
                expected = term.children[0].value / term.children[1].value
            else:
                continue
            assert term.value == pytest.approx(expected, rel=1e-9), term.name


def test_roots_equal_the_prediction(explained):
    prediction, terms = explained
    assert {"step_time_s", "tokens_per_s", "mfu", "it_power_w", "energy_per_token_j"} <= set(terms)
    for quantity, root in terms.items():
        assert root.value == pytest.approx(getattr(prediction, quantity), rel=1e-12), quantity


def test_every_profile_figure_names_its_key_and_source(explained):
    _, terms = explained
    inputs = [
        term
        for root in terms.values()
        for term in walk(root)
        if term.relation == "input" and term.source.startswith("profile key: ")
    ]
    assert len(inputs) > 10
    for term in inputs:
        key, _, source = term.source.removeprefix("profile key: ").partition("; ")
        assert key.split(".")[0] in ("accelerator", "node", "cluster", "site")
        assert source, key
        assert source != "no source stated", key
        assert term.figure_class != "computed"


def test_no_value_is_nan_or_negative(explained):
    _, terms = explained
    for root in terms.values():
        for term in walk(root):
            assert math.isfinite(term.value), term.name
            assert term.value >= 0.0, term.name
