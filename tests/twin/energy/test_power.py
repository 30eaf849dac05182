"""Power from activity: limits, conservation, and what a cap does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin.machines import accelerator, job, machine
from twin.energy.clock import (
    ComputeWork,
    PowerMachine,
    compute_power_w,
    operand_energy_ratio,
    sustained_clock,
)
from twin.energy.node_power import node_power_w, server_parts_w
from twin.energy.step_energy import step_power
from twin.predict import Predictor
from twin.scenario.scenario import PlanRequest, Scenario
from twin.training.plan import Plan
from twin.training.predictor import StepPredictor

CHIP = PowerMachine(
    idle_w=70.0,
    busy_w=110.0,
    energy_per_flop_j=0.75e-12,
    energy_per_hbm_byte_j=4e-11,
    energy_per_link_byte_j=1e-11,
    voltage_slope=0.6,
    minimum_clock_fraction=0.3,
    low_precision_energy_ratio=0.5,
)


def layer(compute_s, memory_s):
    return lambda clock: compute_s / clock + memory_s


@given(
    cap=st.floats(200, 900),
    flop=st.floats(1e10, 1e13),
    share=st.floats(0.0, 1.0),
)
@settings(max_examples=200, deadline=None)
def test_power_never_exceeds_the_cap_above_the_lowest_clock(cap, flop, share):
    work = ComputeWork(flop, 1e7)
    time_s = layer(share * flop / 8e14, (1.0 - share) * flop / 8e14)
    clock = sustained_clock(work, time_s, power_cap_w=cap, machine=CHIP)
    power = compute_power_w(work, time_s(clock), clock_fraction=clock, machine=CHIP)
    assert CHIP.minimum_clock_fraction <= clock <= 1.0
    if clock > CHIP.minimum_clock_fraction * 1.001:
        assert power <= cap * 1.001
    if clock < 1.0:
        boost = compute_power_w(work, time_s(1.0), clock_fraction=1.0, machine=CHIP)
        assert boost > cap


def test_an_idle_chip_draws_idle_and_busy_power_only():
    nothing = ComputeWork(0.0, 0.0)
    power = compute_power_w(nothing, 1.0, clock_fraction=1.0, machine=CHIP)
    assert power == CHIP.idle_w + CHIP.busy_w


def test_parts_of_the_step_power_add_up_at_every_level():
    plan = Plan(tp=2, dp=32, sequence_parallel=True)
    predictor = StepPredictor(job())
    power = step_power(predictor.job, plan, predictor.step(plan), predictor.power)
    parts = power.idle_w + power.busy_w + power.arithmetic_w + power.hbm_w + power.link_w
    assert power.device_w == pytest.approx(parts, rel=1e-15)
    assert power.it_w == pytest.approx(8 * power.node_w + power.network_w, rel=1e-12)
    assert power.facility_w == power.it_w * power.pue


def test_a_device_in_training_stays_below_its_cap():
    for cap in (300.0, 450.0, 700.0):
        predictor = StepPredictor(job(power_cap_w=cap))
        plan = Plan(dp=64, zero=1)
        power = step_power(predictor.job, plan, predictor.step(plan), predictor.power)
        assert predictor.power.idle_w < power.device_w <= cap * 1.005


def test_a_node_draws_more_than_its_devices_and_idle_devices_less():
    node = machine().node
    full = node_power_w(node, 600.0, n_idle_devices=0, idle_w=70.0)
    half = node_power_w(node, 600.0, n_idle_devices=4, idle_w=70.0)
    assert full > 8 * 600.0 + server_parts_w(node)
    assert 4 * 600.0 + 4 * 70.0 < half < full


def test_waiting_lowers_the_mean_power():
    """A step full of exposed communication draws less than one full of arithmetic."""
    plan = Plan(dp=64, zero=1)
    watts = []
    for nic in (5e10, 5e8):
        predictor = StepPredictor(job(machine(nic=nic)))
        watts.append(
            step_power(predictor.job, plan, predictor.step(plan), predictor.power).device_w
        )
    assert watts[1] < watts[0]


def test_twice_the_energy_per_operation_never_runs_faster():
    plan = Plan(dp=64, zero=1)
    times = []
    for tdp_w in (700.0, 350.0):
        predictor = StepPredictor(job(machine(accelerator(tdp_w=tdp_w))))
        times.append(predictor.step(plan).time_s)
    assert times[1] > times[0]


def test_pauses_let_the_clock_rise_until_the_mean_meets_the_cap():
    time_s = layer(0.9, 0.1)
    busy = ComputeWork(weighted_flop=9e14, hbm_bytes=3e11)
    clocks = []
    for waiting_s in (0.0, 0.1, 0.3):
        work = busy._replace(waiting_s=waiting_s)
        clock = sustained_clock(work, time_s, power_cap_w=500.0, machine=CHIP)
        power = compute_power_w(work, time_s(clock), clock_fraction=clock, machine=CHIP)
        assert power == pytest.approx(500.0, rel=1e-3)
        clocks.append(clock)
    assert clocks == sorted(clocks)
    assert clocks[0] < clocks[-1]


def test_communication_leaves_the_clock_less_room_than_a_pause():
    time_s = layer(0.9, 0.1)
    busy = ComputeWork(weighted_flop=9e14, hbm_bytes=3e11)

    def clock(**what):
        return sustained_clock(busy._replace(**what), time_s, power_cap_w=500.0, machine=CHIP)

    without = clock()
    pause, collective = clock(waiting_s=0.2), clock(communicating_s=0.2)
    sending = clock(communicating_s=0.2, link_bytes=5e10)
    assert without < sending < collective < pause


@pytest.mark.parametrize(
    ("dtype", "ratio"), [("bf16", 1.0), ("fp32", 4.0), ("fp8", 0.5), ("nvfp4", 0.25)]
)
def test_energy_follows_the_width_of_operands(dtype, ratio):
    assert operand_energy_ratio(dtype, CHIP) == ratio


@pytest.mark.parametrize(("precision", "is_held"), [("bf16", True), ("nvfp4", False)])
def test_a_cap_that_the_head_exceeds_is_reported(precision, is_held):
    scenario = Scenario(
        cluster="dgx-b200",
        devices=8,
        model="llama-3-70b",
        seq_len=8192,
        global_batch=64,
        precision=precision,
        plan=PlanRequest(tp=8),
        power_cap_w=450.0,
    )
    prediction = Predictor().predict(scenario)
    codes = [warning.code for warning in prediction.warnings]
    assert ("W_CAP_NOT_HELD" not in codes) == is_held
    assert (prediction.device_power_w <= 1.005 * 450.0) == is_held
