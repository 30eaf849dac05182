"""Memory per device: conservation, sharding and the published closed forms."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.twin.machines import job, model
from twin.training.memory import activation_bytes_per_layer, memory_use
from twin.training.plan import Plan
from twin.workload.parameters import total_parameters

BASE = Plan(dp=64)


def test_total_is_the_sum_of_the_parts():
    use = memory_use(job(), BASE)
    parts = (
        use.weights_bytes,
        use.gradients_bytes,
        use.optimizer_bytes,
        use.activations_bytes,
        use.buffers_bytes,
        use.overhead_bytes,
    )
    assert use.total_bytes == pytest.approx(sum(parts), rel=1e-15)


def test_replicated_states_take_18_bytes_per_parameter():
    """16-bit weights, fp32 gradients, fp32 master copy and two moments: 2 + 4 + 12."""
    use = memory_use(job(), BASE)
    states = use.weights_bytes + use.gradients_bytes + use.optimizer_bytes
    assert states == pytest.approx(18 * total_parameters(model()), rel=1e-3)


@pytest.mark.parametrize("zero", [0, 1, 2])
def test_each_zero_stage_needs_less_than_the_one_before(zero):
    """Strictly, where gradients are reduced in each micro-batch and stage 2 has shards to keep."""
    sharding = job(framework_name="torchtitan")
    less = memory_use(sharding, replace(BASE, zero=zero + 1))
    more = memory_use(sharding, replace(BASE, zero=zero))
    states = ("weights_bytes", "gradients_bytes", "optimizer_bytes")
    assert sum(getattr(less, s) for s in states) < sum(getattr(more, s) for s in states)


def test_gradients_are_kept_in_shards_only_where_they_are_reduced_in_time():
    """Reduced once per step they stay whole; reduced in each micro-batch they do not."""
    once = memory_use(job(), replace(BASE, zero=2))
    each = memory_use(job(framework_name="torchtitan"), replace(BASE, zero=2))
    assert once.gradients_bytes == pytest.approx(64 * each.gradients_bytes)


def test_the_last_stage_holds_the_logits():
    wide = job(what=model(vocabulary=1_000_000), seq_len=8192)
    use = memory_use(wide, Plan(pp=2, dp=32, micro_batch=4, recompute="full"))
    assert use.buffers_bytes == pytest.approx(4 * 8192 * 1_000_000 * 6.0)


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        (BASE, replace(BASE, micro_batch=2)),
        (replace(BASE, recompute="full"), BASE),
        (Plan(tp=2, dp=32), BASE),
        (Plan(tp=4, dp=16), Plan(tp=2, dp=32)),
        (Plan(tp=2, dp=32, sequence_parallel=True), Plan(tp=2, dp=32)),
        (BASE, replace(BASE, attention="unfused")),
        (
            replace(BASE, attention="unfused", recompute="selective"),
            replace(BASE, attention="unfused"),
        ),
    ],
    ids=str,
)
def test_memory_is_monotone_in_the_plan(smaller, larger):
    assert memory_use(job(), smaller).total_bytes < memory_use(job(), larger).total_bytes


def test_longer_sequences_need_more():
    totals = [memory_use(job(seq_len=s), BASE).total_bytes for s in (1024, 2048, 4096, 8192)]
    assert totals == sorted(totals)
    assert len(set(totals)) == len(totals)


@pytest.mark.parametrize("tp", [1, 2, 8])
def test_activations_of_a_gpt_layer_equal_the_published_formula(tp):
    """s·b·h·(34/t + 5·a·s/(h·t)) with sequence parallelism, Korthikanti et al. 2022, table 2."""
    gpt = model(
        n_layers=48,
        hidden=6144,
        ffn_hidden=4 * 6144,
        n_heads=64,
        n_kv_heads=64,
        head_dim=96,
        is_gated_mlp=False,
    )
    case = job(what=gpt, framework_name="megatron-lm-2021", seq_len=2048, precision="fp16")
    plan = Plan(tp=tp, dp=64 // tp, attention="unfused", sequence_parallel=tp > 1)
    published = 2048 * 6144 * (34 / tp + 5 * 64 * 2048 / (6144 * tp))
    # The paper keeps the second mask and norm inputs that 34 counts; ours agree within 2 %.
    assert activation_bytes_per_layer(case, plan) == pytest.approx(published, rel=0.02)


def test_a_deeper_pipeline_keeps_more_micro_batches_of_fewer_layers():
    shallow = memory_use(job(), Plan(pp=2, dp=32))
    deep = memory_use(job(), Plan(pp=4, dp=16))
    assert deep.weights_bytes < shallow.weights_bytes
    assert deep.activations_bytes == pytest.approx(shallow.activations_bytes, rel=1e-12)
