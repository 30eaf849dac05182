"""Widths of predictions."""

from __future__ import annotations

import msgspec
import pytest

from tests.twin.machines import accelerator, job, machine
from twin.intervals import step_spread
from twin.training.plan import Plan
from twin.training.predictor import StepPredictor

PLAN = Plan(dp=64, zero=1)


def spread(*, power_spread: float, cap_w: float) -> float:
    device = accelerator()
    power = device.calibration.power
    provenance = msgspec.structs.replace(power.provenance, relative_spread_fraction=power_spread)
    power = msgspec.structs.replace(power, provenance=provenance)
    calibration = msgspec.structs.replace(device.calibration, power=power)
    device = msgspec.structs.replace(device, calibration=calibration)
    predictor = StepPredictor(job(machine(device), power_cap_w=cap_w))
    return step_spread(predictor, PLAN, predictor.step(PLAN))


def test_power_that_is_not_known_widens_the_step_time_under_a_cap():
    known, unknown = (spread(power_spread=one, cap_w=350.0) for one in (0.0, 0.3))
    assert 1.1 * known < unknown < known + 0.3


def test_without_a_cap_the_power_says_nothing_of_the_step_time():
    known, unknown = (spread(power_spread=one, cap_w=5000.0) for one in (0.0, 0.3))
    assert unknown == pytest.approx(known)
