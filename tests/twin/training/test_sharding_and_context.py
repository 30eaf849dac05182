"""Hybrid sharding, broadcasts, rings of context ranks, and what hides behind launches."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.attention.model import FORWARD_PRODUCTS, attention_flop
from tests.twin.machines import job, machine
from twin.training.device_model import PrecisionError
from twin.training.framework import framework
from twin.training.groups import Communicators
from twin.training.launches import NO_LAUNCHES, Launches
from twin.training.layer_time import pass_time
from twin.training.operations import attention_calls, ring_merge_bytes
from twin.training.plan import Plan, PlanError
from twin.training.plan_rules import check_plan
from twin.training.predictor import StepPredictor
from twin.training.stages import parameters_per_rank, stages_of
from twin.training.traffic_bytes import link_bytes_per_step

SHARDED = Plan(dp=64, zero=3)


def step_s(plan, **changes):
    return StepPredictor(job(**changes)).step(plan).time_s


def communicators(plan, **changes):
    predictor = StepPredictor(job(**changes))
    return Communicators(job=predictor.job, plan=plan, device=predictor.device)


def test_one_group_of_all_ranks_is_plain_sharding():
    assert step_s(replace(SHARDED, shard_group=64)) == pytest.approx(step_s(SHARDED), rel=1e-12)


def test_groups_within_a_server_spare_the_network():
    slow = machine(nic=2e9)
    plain = StepPredictor(job(slow)).step(SHARDED).time_s
    hybrid = StepPredictor(job(slow)).step(replace(SHARDED, shard_group=8)).time_s
    assert hybrid < plain


@pytest.mark.parametrize("group", [0, 3, 128])
def test_groups_that_do_not_tile_the_ranks_are_refused(group):
    with pytest.raises(PlanError, match="shard-group"):
        check_plan(job(), replace(SHARDED, shard_group=group))


def test_groups_of_replicated_states_are_refused():
    with pytest.raises(PlanError, match="zero=0, which shards nothing"):
        check_plan(job(), Plan(dp=64, zero=0, shard_group=8))


def test_more_recomputed_layers_than_the_model_has_are_refused():
    n_layers = job().model.n_layers
    check_plan(job(), Plan(dp=64, recompute="full", recompute_layers=n_layers))
    with pytest.raises(PlanError, match="exceeds n_layers"):
        check_plan(job(), Plan(dp=64, recompute="full", recompute_layers=n_layers + 1))


@pytest.mark.parametrize("zero", [1, 3])
def test_groups_send_their_shards_within_and_their_sums_between(zero):
    """Per parameter: a reduction within, gathers within, and a shard's all-reduce between."""
    asked = job()
    plan = Plan(dp=64, zero=zero, shard_group=8)
    parameters = parameters_per_rank(asked.model, plan)
    n_gathers = 2.0 if zero == 3 else 1.0
    width = asked.framework.gradient_reduce_bytes
    within = (width + n_gathers * asked.activation_bytes) * 7.0 / 8.0
    between = 2.0 * 7.0 / 8.0 * width / 8.0
    assert link_bytes_per_step(asked, plan, 1) == pytest.approx(parameters * (within + between))


def test_one_device_sends_nothing():
    assert link_bytes_per_step(job(), Plan(), 4) == 0.0


@given(n_ranks=st.sampled_from([8, 16, 32, 64]), gigabytes=st.floats(0.5, 50.0))
@settings(max_examples=25, deadline=None)
def test_broadcasts_take_longer_over_more_ranks_and_bytes(n_ranks, gigabytes):
    few = communicators(Plan(dp=64, zero=1, shard_group=n_ranks // 2))
    many = communicators(Plan(dp=64, zero=1, shard_group=n_ranks))
    message = gigabytes * 1e9
    assert many.broadcasts_time_s(message, 224.0) >= few.broadcasts_time_s(message, 224.0)
    assert many.broadcasts_time_s(2.0 * message, 224.0) > many.broadcasts_time_s(message, 224.0)


def test_ranks_without_a_tensor_send_nothing():
    all_ranks = communicators(Plan(dp=64, zero=1))
    assert all_ranks.broadcasts_time_s(1e9, 16.0) < all_ranks.broadcasts_time_s(1e9, 64.0)
    assert all_ranks.broadcasts_time_s(1e9, 64.0) == all_ranks.broadcasts_time_s(1e9, 640.0)


@pytest.mark.parametrize("cp", [1, 2, 4, 8])
@pytest.mark.parametrize("name", ["megatron-core", "torchtitan"])
def test_context_ranks_share_the_work_of_the_whole_triangle(cp, name):
    """Whoever sets the pace, all ranks together do the causal triangle once."""
    asked = job(framework_name=name)
    whole = attention_calls(asked, Plan())[0].shape
    calls = attention_calls(asked, Plan(cp=cp))
    mean = sum(call.n_mean_calls * attention_flop(call.shape, FORWARD_PRODUCTS) for call in calls)
    assert cp * mean == pytest.approx(attention_flop(whole, FORWARD_PRODUCTS))


@pytest.mark.parametrize("attention", ["flash", "unfused"])
@pytest.mark.parametrize("cp", [2, 4, 8])
def test_context_ranks_together_do_the_attention_of_one(cp, attention):
    def attention_flop_of(plan):
        predictor = StepPredictor(job(seq_len=8192, global_batch=64))
        forward = predictor.step(plan).compute.forward
        return sum(kernel.flop for kernel in forward.kernels if kernel.kind == "attention")

    alone = attention_flop_of(Plan(dp=64, attention=attention))
    shared = attention_flop_of(Plan(dp=64 // cp, cp=cp, attention=attention))
    assert cp * shared == pytest.approx(alone)


@pytest.mark.parametrize("cp", [2, 4, 8])
def test_contiguous_chunks_make_the_last_rank_work_nearly_twice(cp):
    asked = job(framework_name="torchtitan")
    calls = attention_calls(asked, Plan(cp=cp))
    last = sum(call.n_calls * attention_flop(call.shape, FORWARD_PRODUCTS) for call in calls)
    mean = sum(call.n_mean_calls * attention_flop(call.shape, FORWARD_PRODUCTS) for call in calls)
    assert last / mean == pytest.approx(2.0 - 1.0 / cp)


def test_only_rings_have_something_to_merge():
    assert ring_merge_bytes(job(), Plan(), is_forward=True) == 0.0
    two = ring_merge_bytes(job(), Plan(cp=2), is_forward=True)
    four = ring_merge_bytes(job(), Plan(cp=4), is_forward=True)
    # Half the tokens a rank, three times the partial outputs.
    assert four == pytest.approx(1.5 * two)


def test_traffic_fits_beside_launches_and_adds_to_a_busy_device():
    waiting = pass_time((), Launches(1.0, 8.0))
    assert waiting.lengthened_s(0.1) < 0.01
    busy = StepPredictor(job()).step(Plan(dp=64)).compute.forward
    free = pass_time(busy.kernels, NO_LAUNCHES)
    assert free.lengthened_s(0.1) == pytest.approx(0.1)


def test_layers_that_do_not_divide_leave_room_for_both_ends():
    model = msgspec.structs.replace(job().model, n_layers=126)
    plan = Plan(pp=8, vpp=8, tp=1)
    stages = stages_of(model, plan)
    assert (stages.first_layers, stages.middle_layers, stages.last_layers) == (15, 16, 15)
    even = stages_of(model, replace(plan, counts_ends_as_layers=False))
    assert (even.first_layers, even.middle_layers, even.last_layers) == (16, 16, 16)


@pytest.mark.parametrize("precision", ["fp8", "mxfp8"])
def test_narrow_products_are_faster(precision):
    assert step_s(Plan(dp=64, zero=1), precision=precision) < step_s(Plan(dp=64, zero=1))


def test_block_scales_cost_a_little():
    plan = Plan(dp=64, zero=1)
    plain, scaled = step_s(plan, precision="fp8"), step_s(plan, precision="mxfp8")
    assert plain <= scaled < 1.05 * plain


def test_constants_may_stand_in_for_those_of_the_files():
    place = ("megatron-core", "overlap.slowdown_fraction")
    changed = framework("megatron-bridge", {place: 0.123})
    assert changed.overlap.slowdown_fraction == 0.123
    assert framework("megatron-bridge").overlap.slowdown_fraction != 0.123
    # A child's own value is not the parent's to change.
    bridge = framework("megatron-bridge", {("megatron-core", "gradient_reduce_bytes"): 9.0})
    assert bridge.gradient_reduce_bytes == framework("megatron-bridge").gradient_reduce_bytes


def test_devices_without_block_scales_refuse_them():
    plain = machine()
    peaks = {k: v for k, v in plain.accelerator.compute.peak_flop_per_s.items() if k != "fp4"}
    compute = msgspec.structs.replace(plain.accelerator.compute, peak_flop_per_s=peaks)
    device = msgspec.structs.replace(plain.accelerator, compute=compute)
    with pytest.raises(PrecisionError, match="scales no blocks in hardware; use fp8"):
        StepPredictor(job(machine(device), precision="mxfp8"))
