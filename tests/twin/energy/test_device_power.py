"""Mean power of a device from its activity: waiting draws less than computing."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.own_measurements import MEASURED
from tests.twin.machines import job, machine
from twin.energy.clock import PowerMachine, busy_power_w
from twin.energy.step_energy import (
    Activity,
    device_power,
    step_activity,
    step_power,
    waiting_power_w,
)
from twin.training.plan import Plan
from twin.training.predictor import StepPredictor

CHIP = PowerMachine(
    idle_w=70.0,
    busy_w=170.0,
    energy_per_flop_j=0.9e-12,
    energy_per_hbm_byte_j=7e-11,
    energy_per_link_byte_j=4e-11,
    voltage_slope=0.7,
    minimum_clock_fraction=0.3,
    low_precision_energy_ratio=0.5,
)
NOTHING = Activity(
    period_s=1.0,
    occupied_s=0.0,
    weighted_flop=0.0,
    hbm_bytes=0.0,
    link_bytes=0.0,
    clock_fraction=1.0,
)


def test_a_device_that_only_waits_draws_waiting_power():
    assert device_power(NOTHING, CHIP).total_w == pytest.approx(waiting_power_w(CHIP))
    assert CHIP.idle_w < waiting_power_w(CHIP) < CHIP.idle_w + CHIP.busy_w


@given(clock=st.floats(0.3, 1.0), share=st.floats(0.0, 1.0), more=st.floats(0.0, 1.0))
def test_more_time_in_kernels_never_draws_less(clock, share, more):
    longer = share + more * (1.0 - share)
    powers = [
        device_power(NOTHING._replace(occupied_s=s, clock_fraction=clock), CHIP).total_w
        for s in (share, longer)
    ]
    assert powers[0] <= powers[1] + 1e-9


@given(clock=st.floats(0.3, 1.0))
def test_a_device_full_of_kernels_draws_its_busy_power(clock):
    full = device_power(NOTHING._replace(occupied_s=1.0, clock_fraction=clock), CHIP)
    assert full.busy_w == pytest.approx(busy_power_w(clock, CHIP))


def test_work_costs_the_same_energy_in_any_period():
    work = NOTHING._replace(weighted_flop=1e14, hbm_bytes=1e11, link_bytes=1e10)
    fast, slow = (device_power(work._replace(period_s=s), CHIP) for s in (1.0, 4.0))
    for part in ("arithmetic_w", "hbm_w", "link_w"):
        assert getattr(fast, part) == pytest.approx(4.0 * getattr(slow, part))


def test_waiting_power_meets_the_measured_devices():
    """A context and nothing running: 133 W on an H100, 128 W on an H200."""
    profiles = {"h100-sxm": (65.0, 170.0), "h200-sxm": (80.0, 170.0)}
    for name, (idle_w, busy_w) in profiles.items():
        text = (MEASURED / name / "power.csv").read_text(encoding="utf-8")
        header, *rows = (line.split(",") for line in text.splitlines())
        row = next(
            dict(zip(header, cells, strict=True)) for cells in rows if cells[0][:4] == "idle"
        )
        chip = CHIP._replace(idle_w=idle_w, busy_w=busy_w)
        assert waiting_power_w(chip) == pytest.approx(float(row["power_w"]), rel=0.1)


def test_communication_keeps_a_device_busy_without_arithmetic():
    plan = Plan(dp=64, zero=1)
    shares, watts = [], []
    for nic in (5e10, 5e8):
        predictor = StepPredictor(job(machine(nic=nic)))
        activity = step_activity(predictor.job, plan, predictor.step(plan), predictor.power)
        shares.append(activity.occupied_s / activity.period_s)
        watts.append(device_power(activity, predictor.power))
    assert shares[0] < shares[1] <= 1.0
    assert watts[1].arithmetic_w < watts[0].arithmetic_w
    assert waiting_power_w(predictor.power) < watts[1].total_w < watts[0].total_w


def test_step_power_is_the_power_of_its_activity():
    plan = Plan(tp=2, dp=32, sequence_parallel=True)
    predictor = StepPredictor(job())
    step = predictor.step(plan)
    device = device_power(
        step_activity(predictor.job, plan, step, predictor.power), predictor.power
    )
    power = step_power(predictor.job, plan, step, predictor.power)
    assert power.device_w == pytest.approx(device.total_w)
    for part in dataclasses.fields(device):
        assert getattr(power, part.name) == getattr(device, part.name)
