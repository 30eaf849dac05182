"""The command that the terminal UI shows is the scenario it was made from."""

from __future__ import annotations

import shlex

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twin.scenario.command import predict_command
from twin.scenario.scenario import PlanRequest, Scenario


def maybe(strategy):
    return st.none() | strategy


sizes = st.integers(1, 4096)
names = st.sampled_from(["dgx-h100", "my folder/x's cluster.toml", "snellius-h100:gpu"])
plans = st.builds(
    PlanRequest,
    tp=maybe(sizes),
    pp=maybe(sizes),
    vpp=maybe(sizes),
    cp=maybe(sizes),
    ep=maybe(sizes),
    zero=maybe(st.integers(0, 3)),
    micro_batch=maybe(sizes),
    sequence_parallel=maybe(st.booleans()),
    recompute=maybe(st.sampled_from(["none", "selective", "full"])),
    attention=maybe(st.sampled_from(["flash", "unfused"])),
)
scenarios = st.builds(
    Scenario,
    cluster=names,
    devices=sizes,
    model=names,
    seq_len=sizes,
    global_batch=sizes,
    precision=st.sampled_from(["bf16", "fp8"]),
    framework=st.sampled_from(["megatron-core", "torchtitan"]),
    plan=plans,
    power_cap_w=maybe(st.floats(1.0, 1500.0)),
    site=maybe(st.just("groningen")),
    tokens=maybe(st.floats(1.0, 1e15)),
    overrides=st.lists(
        st.tuples(st.just("node.power.fan_fraction"), st.sampled_from(["0.1", "1e-3"])), max_size=2
    ).map(tuple),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(scenario=scenarios)
def test_a_scenario_survives_its_command_line(twin, fake, scenario):
    words = shlex.split(predict_command(scenario))
    assert words[:2] == ["twin", "predict"]
    assert twin(*words[1:]).code == 0
    assert fake.asked == scenario
