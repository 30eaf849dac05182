"""Memory per device: conservation, sharding and the published closed forms."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from tests.twin.machines import accelerator, job, machine, model
from twin.prediction import MemoryUse
from twin.training.memory import MemoryCache, memory_use
from twin.training.plan import Plan
from twin.workload.parameters import (
    embedding_parameters,
    head_parameters,
    layer_matrix_parameters,
    layer_parameters,
    total_parameters,
)

BASE = Plan(dp=64)
STATES = ("weights_bytes", "gradients_bytes", "optimizer_bytes")


def states(use: MemoryUse) -> float:
    return sum(getattr(use, name) for name in STATES)


def test_total_is_the_sum_of_the_parts():
    use = memory_use(job(), BASE)
    parts = [getattr(use, field.name) for field in fields(use)]
    assert use.total_bytes == pytest.approx(sum(parts), rel=1e-15)


def test_what_meters_show_differs_by_fragmentation_and_overhead():
    use = memory_use(job(), BASE)
    assert use.figure_bytes("device") == use.total_bytes
    reserved, allocated = use.figure_bytes("reserved"), use.figure_bytes("allocated")
    assert use.total_bytes - reserved == pytest.approx(use.overhead_bytes)
    assert reserved - allocated == pytest.approx(use.fragmentation_bytes)


def test_replicated_states_take_18_bytes_per_parameter():
    """16-bit weights, fp32 gradients, fp32 master copy and two moments: 2 + 4 + 12."""
    use = memory_use(job(), BASE)
    assert states(use) == pytest.approx(18 * total_parameters(model()), rel=1e-3)


@pytest.mark.parametrize(
    ("framework", "precision", "per_parameter"),
    [
        # NVIDIA/NeMo mixed_precision.py: gradients are reduced, and so kept, in 16 bits.
        ("megatron-bridge", "bf16", 2 + 2 + 12),
        # NVIDIA/Megatron-LM arguments.py: fp16 gradients are accumulated in fp16.
        ("megatron-core", "fp16", 2 + 2 + 12),
        # microsoft/DeepSpeed bf16_optimizer.py: 16-bit gradients and an fp32 accumulator.
        ("megatron-deepspeed", "bf16", 2 + 6 + 12),
        # FSDP keeps fp32 weights, gradients and two moments: their own master copy.
        ("torchtitan", "bf16", 4 + 4 + 8),
        ("deepspeed-hf", "bf16", 2 + 2 + 12),
    ],
)
def test_each_framework_keeps_its_own_states(framework, precision, per_parameter):
    use = memory_use(job(framework_name=framework, precision=precision), BASE)
    assert states(use) == pytest.approx(per_parameter * total_parameters(model()), rel=1e-3)


@pytest.mark.parametrize("zero", [0, 1, 2])
def test_each_zero_stage_needs_less_than_the_one_before(zero):
    """Strictly, where gradients are reduced in each micro-batch and stage 2 has shards to keep."""
    sharding = job(framework_name="torchtitan")
    less = memory_use(sharding, replace(BASE, zero=zero + 1))
    more = memory_use(sharding, replace(BASE, zero=zero))
    assert states(less) < states(more)


@pytest.mark.parametrize("framework", ["megatron-core", "torchtitan", "llm-foundry"])
def test_full_sharding_over_all_devices_conserves_the_states(framework):
    """ZeRO-3 splits what replication holds, and nothing more: SC20, section 3."""
    case = job(framework_name=framework)
    whole = memory_use(case, BASE)
    sharded = memory_use(case, replace(BASE, zero=3))
    assert states(sharded) * BASE.dp == pytest.approx(states(whole), rel=1e-12)


def test_zero_1_shards_the_optimizer_alone():
    whole, sharded = (memory_use(job(), replace(BASE, zero=zero)) for zero in (0, 1))
    assert sharded.optimizer_bytes * BASE.dp == pytest.approx(whole.optimizer_bytes)
    assert sharded.weights_bytes == whole.weights_bytes
    assert sharded.gradients_bytes == whole.gradients_bytes


def test_context_ranks_share_the_states_too():
    by_data = memory_use(job(), Plan(dp=64, zero=1))
    by_both = memory_use(job(), Plan(dp=16, cp=4, zero=1))
    assert by_both.optimizer_bytes == pytest.approx(by_data.optimizer_bytes)
    assert by_both.activations_bytes == pytest.approx(by_data.activations_bytes / 4)


def test_gradients_are_kept_in_shards_only_where_they_are_reduced_in_time():
    """Reduced once per step they stay whole; reduced in each micro-batch they do not."""
    once = memory_use(job(), replace(BASE, zero=2))
    each = memory_use(job(framework_name="torchtitan"), replace(BASE, zero=2))
    assert once.gradients_bytes == pytest.approx(64 * each.gradients_bytes)


def test_a_pipelined_step_accumulates_whole_gradients():
    """fp32 weights in shards and gathered 16-bit copies; gradients whole, with their shard."""
    plan = Plan(pp=2, dp=32, zero=2)
    use = memory_use(job(framework_name="torchtitan"), plan)
    n_parameters = use.optimizer_bytes * plan.dp / 8
    assert use.weights_bytes == pytest.approx(n_parameters * (2 + 4 / plan.dp))
    assert use.gradients_bytes == pytest.approx(n_parameters * (4 + 4 / plan.dp))


def test_the_last_stage_holds_the_logits():
    """Fused loss: 16-bit logits and their gradient; and placeholders of one layer and the head."""
    wide = model(vocabulary=1_000_000)
    case = job(what=wide, seq_len=8192)
    use = memory_use(case, Plan(pp=2, dp=32, micro_batch=4, recompute="full"))
    placeholders = 2 * (layer_matrix_parameters(wide) + head_parameters(wide))
    assert use.buffers_bytes == pytest.approx(4 * 8192 * 1_000_000 * 4.0 + placeholders)


@pytest.mark.parametrize(("tp", "per_logit"), [(1, 12.0), (2, 16.0)])
def test_an_eager_loss_in_fp32_holds_several_copies_of_the_logits(tp, per_logit):
    case = job(framework_name="torchtitan", what=model(vocabulary=1_000_000), seq_len=8192)
    plan = Plan(tp=tp, dp=64 // tp, micro_batch=4, zero=2, recompute="full")
    use = memory_use(case, plan)
    assert use.buffers_bytes == pytest.approx(4 * 8192 * 1_000_000 / tp * per_logit)


def test_full_sharding_gathers_two_layers_and_the_ends():
    case = job(framework_name="torchtitan")
    sharded, plain = (memory_use(case, replace(BASE, zero=zero)) for zero in (3, 2))
    gathered = 2 * layer_parameters(model()) + embedding_parameters(model())
    gathered += head_parameters(model())
    assert sharded.buffers_bytes - plain.buffers_bytes == pytest.approx(2 * gathered, rel=1e-3)


def test_hopper_keeps_8_bit_weights_in_both_orders():
    """One byte a weight of difference, as between H200 and GB200 in MLPerf Training v5.0."""
    plan = Plan(tp=4, dp=16)

    def weights(architecture: str) -> float:
        device = replace_architecture(architecture)
        return memory_use(job(precision="fp8", where=device), plan).weights_bytes

    matrices = model().n_layers * layer_matrix_parameters(model()) / plan.tp
    assert weights("hopper") - weights("blackwell") == pytest.approx(matrices)


def replace_architecture(architecture: str):
    import msgspec

    return machine(device=msgspec.structs.replace(accelerator(), architecture=architecture))


@pytest.mark.parametrize("framework", ["megatron-core", "mlperf"])
def test_8_bit_training_keeps_less_for_the_backward_pass(framework):
    less, more = (
        memory_use(job(framework_name=framework, precision=precision), BASE)
        for precision in ("fp8", "bf16")
    )
    assert 0.5 < less.activations_bytes / more.activations_bytes < 1.0


def test_casts_that_are_repeated_save_no_memory():
    """pytorch/ao keeps 16-bit inputs: float8 rows of torchtitan's table take what bf16 rows do."""
    less, more = (
        memory_use(job(framework_name="torchtitan", precision=precision), BASE)
        for precision in ("fp8", "bf16")
    )
    assert less == more


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        (BASE, replace(BASE, micro_batch=2)),
        (replace(BASE, recompute="full"), BASE),
        (replace(BASE, recompute="full", recompute_layers=4), BASE),
        (Plan(tp=2, dp=32), BASE),
        (Plan(tp=4, dp=16), Plan(tp=2, dp=32)),
        (Plan(tp=2, dp=32, sequence_parallel=True), Plan(tp=2, dp=32)),
        (BASE, replace(BASE, attention="unfused")),
        (
            replace(BASE, attention="unfused", recompute="selective"),
            replace(BASE, attention="unfused"),
        ),
        (Plan(pp=4, dp=16), Plan(pp=4, vpp=2, dp=16)),
    ],
    ids=str,
)
def test_memory_is_monotone_in_the_plan(smaller, larger):
    assert memory_use(job(), smaller).total_bytes < memory_use(job(), larger).total_bytes


def test_longer_sequences_need_more():
    totals = [memory_use(job(seq_len=s), BASE).total_bytes for s in (1024, 2048, 4096, 8192)]
    assert totals == sorted(totals)
    assert len(set(totals)) == len(totals)


def test_a_deeper_pipeline_keeps_more_micro_batches_of_fewer_layers():
    shallow = memory_use(job(), Plan(pp=2, dp=32))
    deep = memory_use(job(), Plan(pp=4, dp=16))
    assert deep.weights_bytes < shallow.weights_bytes
    assert deep.activations_bytes == pytest.approx(shallow.activations_bytes, rel=1e-12)


def test_interleaving_keeps_its_published_surcharge():
    """1 + (p-1)/(p·v) of the activations: Korthikanti et al. 2022, section 4.2.3."""
    plain = memory_use(job(), Plan(pp=4, dp=16)).activations_bytes
    interleaved = memory_use(job(), Plan(pp=4, vpp=2, dp=16)).activations_bytes
    assert interleaved / plain == pytest.approx(1 + 3 / (4 * 2), rel=1e-12)


def test_memory_that_many_plans_share_is_that_of_each():
    case = job()
    shared = MemoryCache(case)
    for recompute in ("none", "full"):
        for sizes in ({"dp": 64}, {"tp": 8, "dp": 8}, {"pp": 4, "dp": 16}, {"pp": 2, "dp": 32}):
            for zero in (0, 1, 3):
                plan = Plan(**sizes, zero=zero, recompute=recompute)
                assert shared.use(plan) == memory_use(case, plan)
                assert shared.total_bytes(plan) == memory_use(case, plan).total_bytes
