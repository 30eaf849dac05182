"""The search finds what going through every plan finds."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin.machines import accelerator, job, machine, model
from twin.scenario.scenario import PlanRequest
from twin.training.memory import memory_use
from twin.training.plan import Plan, PlanError
from twin.training.plan_candidates import candidates
from twin.training.plan_rules import check_plan
from twin.training.plan_search import COMFORTABLE_SHARE, choose_plan
from twin.training.predictor import StepPredictor

FEW_LAYERS = model(n_layers=6)
ROUNDING = 1.0 + 1e-9


def _keeps_the_rules(case, plan):
    try:
        check_plan(case, plan)
    except PlanError:
        return False
    return True


def exhaustive(case, request):
    """The fastest of all plans that fit, and of equal ones the first; each evaluated whole."""
    plans = [plan for plan in candidates(case, request) if _keeps_the_rules(case, plan)]
    needed = {plan: memory_use(case, plan).total_bytes for plan in plans}
    capacity = case.machine.accelerator.memory.capacity_bytes
    predictor = StepPredictor(case)
    for limit in (COMFORTABLE_SHARE * capacity, capacity):
        fitting = [plan for plan in plans if needed[plan] <= limit]
        if fitting:
            return min(fitting, key=lambda plan: predictor.step(plan).time_s)
    return min(plans, key=needed.__getitem__)


@st.composite
def jobs(draw):
    device = accelerator(
        capacity=draw(st.floats(6e9, 120e9)),
        link=draw(st.sampled_from([2e10, 4.5e11])),
        tdp_w=draw(st.sampled_from([250.0, 450.0, 1000.0])),
    )
    return job(
        machine(device, nic=draw(st.sampled_from([1e9, 5e10]))),
        what=FEW_LAYERS,
        n_devices=draw(st.sampled_from([1, 6, 8, 16])),
        seq_len=draw(st.sampled_from([1024, 8192])),
        global_batch=draw(st.sampled_from([16, 48])),
        precision=draw(st.sampled_from(["bf16", "fp8"])),
        framework_name=draw(
            st.sampled_from(["megatron-core", "torchtitan", "megatron-lm-2022", "generic"])
        ),
    )


requests = st.builds(
    PlanRequest,
    zero=st.sampled_from([None, None, 1]),
    micro_batch=st.sampled_from([None, None, 2]),
    recompute=st.sampled_from([None, None, "full"]),
    attention=st.sampled_from(["flash", "unfused"]),
)


@given(case=jobs(), request=requests)
@settings(max_examples=20, deadline=None)
def test_the_search_finds_what_going_through_all_plans_finds(case, request):
    assert choose_plan(StepPredictor(case), request) == exhaustive(case, request)


PLANS = [
    Plan(dp=16, zero=1),
    Plan(dp=16, zero=3, micro_batch=2),
    Plan(tp=4, dp=4, zero=1, sequence_parallel=True, recompute="selective"),
    Plan(tp=8, dp=2, sequence_parallel=True, recompute="full"),
    Plan(tp=2, pp=2, vpp=2, dp=4, sequence_parallel=True, recompute="full", recompute_layers=4),
    Plan(tp=2, pp=2, vpp=2, cp=4, dp=1),
    Plan(tp=2, pp=4, cp=2, dp=1, micro_batch=4, recompute="full"),
    Plan(tp=4, dp=4, attention="unfused", recompute="selective"),
    Plan(cp=2, dp=8, zero=2),
]


@given(
    plan=st.sampled_from(PLANS),
    framework=st.sampled_from(["megatron-core", "torchtitan", "megatron-lm-2022"]),
    cap_w=st.floats(150.0, 900.0),
    seq_len=st.sampled_from([512, 1024, 8192]),
)
@settings(max_examples=60, deadline=None)
def test_each_bound_is_below_the_next_and_all_are_below_the_step(plan, framework, cap_w, seq_len):
    case = job(
        what=FEW_LAYERS,
        n_devices=16,
        seq_len=seq_len,
        framework_name=framework,
        power_cap_w=cap_w,
    )
    predictor = StepPredictor(case)
    bounds = predictor.bounds
    ascending_s = [
        0.0,
        bounds.balanced_s(plan, plan.recompute),
        bounds.cheap_s(plan),
        bounds.sharded_s(plan),
        bounds.sampled_s(plan),
        bounds.close_s(plan),
        predictor.step(plan).time_s,
    ]
    assert all(low <= high * ROUNDING for low, high in itertools.pairwise(ascending_s))


def test_bounds_are_close_enough_to_spare_most_plans():
    predictor = StepPredictor(job(what=FEW_LAYERS, n_devices=16, power_cap_w=450.0))
    for plan in PLANS:
        time_s = predictor.step(plan).time_s
        assert predictor.bounds.cheap_s(plan) > 0.5 * time_s


def test_what_plans_share_leaves_no_trace_in_any_of_them():
    """A predictor that has seen many plans says of each what one says that has seen no other."""
    case = job(what=FEW_LAYERS, n_devices=16, power_cap_w=450.0)
    used = StepPredictor(case)
    several = [*PLANS, *(replace(plan, recompute="none", recompute_layers=None) for plan in PLANS)]
    for plan in several:
        used.step(plan)
    assert all(used.step(plan) == StepPredictor(case).step(plan) for plan in several)


def test_where_nothing_fits_the_plan_with_least_memory_is_the_answer():
    case = job(machine(accelerator(capacity=1e9)), what=FEW_LAYERS, n_devices=8)
    plan = choose_plan(StepPredictor(case), PlanRequest())
    assert plan == exhaustive(case, PlanRequest())
    assert memory_use(case, plan).total_bytes > 1e9


def test_a_plan_that_fits_to_the_brim_is_taken_when_no_other_does():
    pinned = PlanRequest(tp=1, pp=1, cp=1, zero=1, micro_batch=1)
    roomy = job(what=FEW_LAYERS, n_devices=8)
    least = min(
        memory_use(roomy, plan).total_bytes
        for plan in candidates(roomy, pinned)
        if _keeps_the_rules(roomy, plan)
    )
    case = job(machine(accelerator(capacity=1.01 * least)), what=FEW_LAYERS, n_devices=8)
    plan = choose_plan(StepPredictor(case), pinned)
    assert least == memory_use(case, plan).total_bytes


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (PlanRequest(tp=3), "tp=3 does not divide n_heads=32"),
        (PlanRequest(zero=0, shard_group=8), "shard-group=8 with zero=0"),
        (PlanRequest(recompute="none", recompute_layers=2), "needs recompute full"),
        (PlanRequest(micro_batch=5), "does not divide global-batch=256"),
        (PlanRequest(pp=7), "pp=7 exceeds n_layers=6"),
    ],
)
def test_a_request_that_no_plan_can_keep_gets_the_first_rule_broken(request_, words):
    with pytest.raises(PlanError, match=words):
        choose_plan(StepPredictor(job(what=FEW_LAYERS, n_devices=8)), request_)


def test_a_pinned_choice_that_only_some_plans_can_keep_leaves_those():
    case = job(what=FEW_LAYERS, n_devices=8)
    plan = choose_plan(StepPredictor(case), PlanRequest(recompute_layers=3))
    assert (plan.recompute, plan.recompute_layers) == ("full", 3)
    assert choose_plan(StepPredictor(case), PlanRequest(shard_group=2)).zero > 0
