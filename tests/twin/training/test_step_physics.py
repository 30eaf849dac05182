"""Truths about a step that hold whatever the parameters are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin.machines import accelerator, job, machine, model
from twin.training.plan import Plan, PlanError
from twin.training.plan_rules import check_plan
from twin.training.predictor import StepPredictor

PLANS = [
    Plan(dp=64, zero=1),
    Plan(dp=64, zero=3),
    Plan(tp=8, dp=8, sequence_parallel=True),
    Plan(tp=4, dp=16, zero=1, sequence_parallel=True),
    Plan(tp=2, pp=4, dp=8, sequence_parallel=True),
    Plan(tp=2, pp=4, vpp=4, dp=8, zero=1, sequence_parallel=True),
    Plan(tp=8, pp=8, dp=1, recompute="full", sequence_parallel=True),
    Plan(tp=2, cp=4, dp=8, zero=1, sequence_parallel=True),
    Plan(tp=4, dp=16, attention="unfused", recompute="selective"),
]
plans = st.sampled_from(PLANS)
factors = st.floats(1.05, 8.0)
ROUNDING = 1.0 + 1e-9


def step_time_s(where, plan, **changes):
    return StepPredictor(job(where, **changes)).step(plan).time_s


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_the_causes_add_up_to_the_step(plan):
    step = StepPredictor(job()).step(plan)
    assert sum(step.breakdown.values()) == step.time_s
    assert all(seconds >= 0.0 for seconds in step.breakdown.values())
    assert all(seconds >= 0.0 for seconds in step.hidden.values())


@given(plan=plans, factor=factors)
@settings(max_examples=25, deadline=None)
def test_more_memory_bandwidth_is_never_slower(plan, factor):
    slow = step_time_s(machine(accelerator(bandwidth=2e12)), plan)
    assert step_time_s(machine(accelerator(bandwidth=2e12 * factor)), plan) <= slow * ROUNDING


@given(plan=plans, factor=factors)
@settings(max_examples=25, deadline=None)
def test_faster_links_are_never_slower(plan, factor):
    slow = step_time_s(machine(accelerator(link=1e11)), plan)
    assert step_time_s(machine(accelerator(link=1e11 * factor)), plan) <= slow * ROUNDING


@given(plan=plans, factor=factors)
@settings(max_examples=25, deadline=None)
def test_faster_network_cards_are_never_slower(plan, factor):
    slow = step_time_s(machine(nic=1e10), plan)
    assert step_time_s(machine(nic=1e10 * factor), plan) <= slow * ROUNDING


@given(plan=plans, factor=factors)
@settings(max_examples=25, deadline=None)
def test_less_network_latency_is_never_slower(plan, factor):
    slow = step_time_s(machine(fabric_latency_s=1e-4), plan)
    fast = step_time_s(machine(fabric_latency_s=1e-4 / factor), plan)
    assert fast <= slow * ROUNDING


@given(plan=plans, factor=factors)
@settings(max_examples=25, deadline=None)
def test_a_higher_peak_at_a_power_limit_out_of_reach_is_never_slower(plan, factor):
    slow = step_time_s(machine(accelerator(peak=4e14, tdp_w=1e5)), plan)
    fast = step_time_s(machine(accelerator(peak=4e14 * factor, tdp_w=1e5)), plan)
    assert fast <= slow * ROUNDING


@given(plan=plans, low=st.floats(250, 600), extra=st.floats(1, 100))
@settings(max_examples=25, deadline=None)
def test_a_higher_power_cap_is_never_slower(plan, low, extra):
    slow = step_time_s(machine(), plan, power_cap_w=low)
    assert step_time_s(machine(), plan, power_cap_w=low + extra) <= slow * ROUNDING


@pytest.mark.parametrize(
    "plan",
    [Plan(dp=8, zero=1), Plan(dp=8, zero=3), Plan(tp=8), Plan(tp=2, pp=4, sequence_parallel=True)],
    ids=str,
)
def test_twice_the_devices_never_train_fewer_tokens(plan):
    """Same plan family, batch growing with the data-parallel size."""
    throughput = 0.0
    for doubling in range(8):
        grown = replace(plan, dp=plan.dp * 2**doubling)
        batch = 32 * grown.dp
        many = job(n_devices=grown.n_devices, global_batch=batch)
        tokens_per_s = many.tokens_per_step / StepPredictor(many).step(grown).time_s
        assert tokens_per_s > throughput
        throughput = tokens_per_s


def test_one_device_communicates_nothing():
    alone = job(n_devices=1, global_batch=8)
    step = StepPredictor(alone).step(Plan())
    causes = [cause for cause in step.breakdown if "communication" in cause]
    assert len(causes) == 5
    assert all(step.breakdown[cause] == 0.0 for cause in causes)
    assert step.breakdown["pp_bubble"] == 0.0
    assert step.breakdown["stragglers"] == 0.0


def test_the_bubble_is_the_closed_form_of_1f1b():
    """(p-1)/(v·m) of the ideal time, where every stage takes equally long and sends are free."""
    even = job(what=model(vocabulary=1), global_batch=64)
    for vpp in (1, 2, 4):
        plan = Plan(tp=2, pp=4, vpp=vpp, dp=8, sequence_parallel=True)
        step = StepPredictor(even).step(plan)
        per_stage = (
            step.time_s
            - step.breakdown["pp_bubble"]
            - step.breakdown["pp_communication"]
            - step.breakdown["dp_communication"]
            - step.breakdown["optimizer"]
            - step.breakdown["host_step"]
            - step.breakdown["stragglers"]
            - step.data.slowdown_s
        )
        expected = (plan.pp - 1) / (plan.vpp * step.n_micro_batches)
        assert step.breakdown["pp_bubble"] / per_stage == pytest.approx(expected, rel=2e-3)


def test_full_recomputation_repeats_exactly_one_forward_pass():
    plan = Plan(dp=64, zero=1)
    kept = StepPredictor(job()).step(plan)
    repeated = StepPredictor(job()).step(replace(plan, recompute="full"))
    forward_s = kept.compute.forward.time_s * kept.n_micro_batches * kept.n_layers_slowest
    assert repeated.breakdown["recompute"] == pytest.approx(forward_s, rel=1e-12)


def test_interleaving_shrinks_the_bubble_in_proportion():
    plain = Plan(tp=2, pp=4, dp=8, sequence_parallel=True)
    bubble_s = StepPredictor(job()).step(plain).breakdown["pp_bubble"]
    for vpp in (2, 4, 8):
        step = StepPredictor(job()).step(replace(plain, vpp=vpp))
        assert step.breakdown["pp_bubble"] == pytest.approx(bubble_s / vpp, rel=1e-9)


def test_a_slower_clock_is_chosen_under_a_lower_cap():
    plan = Plan(dp=64, zero=1)
    clocks = [
        StepPredictor(job(power_cap_w=cap)).step(plan).compute.clock_fraction
        for cap in (700.0, 550.0, 400.0, 300.0)
    ]
    assert clocks == sorted(clocks, reverse=True)
    assert clocks[-1] < clocks[0]


def test_a_cap_slows_compute_more_than_communication():
    """The same cap costs a step full of communication a smaller share of its time."""
    thin = machine(nic=5e8)
    compute_bound = Plan(tp=1, dp=64, zero=1)
    ratios = {}
    for name, where, plan in (
        ("compute", machine(), compute_bound),
        ("communication", thin, compute_bound),
    ):
        free = step_time_s(where, plan, power_cap_w=700.0)
        capped = step_time_s(where, plan, power_cap_w=350.0)
        ratios[name] = capped / free
    assert ratios["compute"] > ratios["communication"] > 1.0


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan(tp=3, dp=21), "tp=3 does not divide n_heads=32"),
        (Plan(tp=64), "tp=64"),
        (Plan(pp=64, dp=1), "pp=64 exceeds n_layers=32"),
        (Plan(vpp=2, dp=64), "vpp=2 needs pp > 1"),
        (Plan(tp=2, pp=4, vpp=3, dp=8), "vpp=3 with pp=4"),
        (Plan(dp=32), "does not divide devices=64"),
        (Plan(dp=64, micro_batch=3), "does not divide global-batch=256"),
        (Plan(dp=64, zero=4), "zero=4"),
        (Plan(pp=4, dp=16, zero=2), "zero=2 with pp=4"),
        (Plan(dp=64, sequence_parallel=True), "sequence-parallel needs tp > 1"),
        (Plan(dp=64, ep=2), "mixture-of-experts"),
        (Plan(dp=0), "dp=0"),
    ],
)
def test_an_impossible_plan_names_the_rule(plan, words):
    with pytest.raises(PlanError, match=words):
        check_plan(job(), plan)
