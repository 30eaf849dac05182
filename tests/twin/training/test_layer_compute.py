"""What a search takes for granted about layers and the clock."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin.machines import job, model
from twin.training.device_model import ClockedDevice
from twin.training.layer_compute import KernelCache
from twin.training.layer_time import Timer, head_passes, layer_passes
from twin.training.plan import Plan
from twin.training.predictor import StepPredictor

ROUNDING = 1.0 + 1e-9
PLANS = [
    Plan(dp=8),
    Plan(tp=8, micro_batch=4, sequence_parallel=True),
    Plan(tp=2, cp=4),
    Plan(tp=4, dp=2, attention="unfused"),
]
plans = st.sampled_from(PLANS)
clocks = st.floats(0.2, 1.0)


@given(plan=plans, one=clocks, other=clocks, precision=st.sampled_from(["bf16", "fp8"]))
@settings(max_examples=40, deadline=None)
def test_no_pass_follows_the_clock_by_more_than_the_clock_changes(plan, one, other, precision):
    case = job(what=model(n_layers=4), n_devices=8, seq_len=2048, precision=precision)
    device = StepPredictor(case).device
    slow, fast = sorted((one, other))
    at_slow, at_fast = (
        [*layer_passes(timer), *head_passes(timer)]
        for timer in (Timer(case, plan, ClockedDevice(device, clock)) for clock in (slow, fast))
    )
    for slower, faster in zip(at_slow, at_fast, strict=True):
        assert faster.device_s <= slower.device_s * ROUNDING
        assert slower.device_s <= faster.device_s * fast / slow * ROUNDING


@pytest.mark.parametrize("cap_w", [180.0, 400.0, 1000.0])
@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_what_is_known_before_kernels_is_below_the_layer_and_what_two_clocks_say_is_near(
    plan, cap_w
):
    case = job(what=model(n_layers=4), n_devices=8, power_cap_w=cap_w)
    predictor = StepPredictor(case)
    cache = KernelCache(case, predictor.device, predictor.power)
    roof, sampled, layer = (
        cache.layer_roof(plan),
        cache.sampled_roof(plan),
        cache.layer_compute(plan),
    )
    device_s = layer.forward.device_s + layer.backward.device_s
    for share in (0.0, 0.3, 1.0):
        kernels_s = device_s + share * layer.forward.device_s
        assert roof.kernels_s(share) <= kernels_s * ROUNDING
        assert 0.5 * kernels_s < sampled.kernels_s(share) <= kernels_s * ROUNDING
    assert roof.head_s <= layer.head_s * ROUNDING
