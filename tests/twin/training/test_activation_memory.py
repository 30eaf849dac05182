"""What a layer keeps: published closed forms and what recomputation and 8 bits leave of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.twin.machines import job, model
from twin.training.activation_memory import layer_activations
from twin.training.plan import Plan

PLAN = Plan(dp=64)


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
    assert layer_activations(case, plan).whole_bytes == pytest.approx(published, rel=0.02)


def gated_layer(framework: str, precision: str) -> tuple[float, float, float]:
    """Kept bytes per token of a layer whose widths are powers of ten: h, q = h, kv, F."""
    shape = model(
        n_layers=8, hidden=1000, n_heads=10, head_dim=100, n_kv_heads=1, ffn_hidden=10_000
    )
    case = job(what=shape, framework_name=framework, precision=precision, seq_len=1)
    kept = {
        recompute: layer_activations(case, replace(PLAN, recompute=recompute)).kept_bytes
        for recompute in ("none", "selective", "full")
    }
    return kept["none"], kept["selective"], kept["full"]


LOG_SUM_EXP = 4 * 10


def test_tensors_of_a_gated_layer_in_16_bits():
    """Two norms in and out, queries, output, keys and values, two gates and their product."""
    full, selective, checkpoint = gated_layer("megatron-core", "bf16")
    assert full == 2 * (4 * 1000 + 2 * 1000 + 200 + 3 * 10_000) + LOG_SUM_EXP
    assert selective == full
    assert checkpoint == 2 * 1000


def test_tensors_of_a_gated_layer_in_8_bits():
    """Inputs of linear layers in one byte, that of the output projection a copy of its own."""
    full, _, checkpoint = gated_layer("megatron-core", "fp8")
    stream, attention = 2 * 2 * 1000 + 2 * 1000, 2 * (2 * 1000 + 200) + 1000
    assert full == stream + attention + 2 * 2 * 10_000 + 10_000 + LOG_SUM_EXP
    assert checkpoint == 2 * 1000
    narrower, _, _ = gated_layer("mlperf", "fp8")
    assert full - narrower == 2 * 10_000


def test_every_second_product_of_a_gated_layer():
    """Input, queries, values, attention, first gate and output, of two bytes each."""
    _, selective, _ = gated_layer("torchtitan", "bf16")
    assert selective == 2 * (4 * 1000 + 100 + 10_000) + LOG_SUM_EXP


def test_recomputing_some_layers_lies_between_none_and_all():
    case = job()
    n_layers = case.model.n_layers
    none = layer_activations(case, PLAN).kept_bytes
    full = replace(PLAN, recompute="full")
    some, every = (
        layer_activations(case, replace(full, recompute_layers=n)).kept_bytes
        for n in (n_layers // 4, n_layers)
    )
    assert every == pytest.approx(layer_activations(case, full).kept_bytes)
    assert some == pytest.approx(0.75 * none + 0.25 * every)


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_what_is_kept_and_recomputed_makes_a_whole_layer(recompute):
    case = job(framework_name="torchtitan")
    found = layer_activations(case, replace(PLAN, recompute=recompute))
    assert found.kept_bytes + found.working_bytes == pytest.approx(found.whole_bytes)


def test_only_pipelines_have_borders():
    case = job(framework_name="torchtitan")
    pipeline = Plan(pp=2, dp=32)
    assert layer_activations(case, PLAN).boundary_bytes == 0.0
    assert layer_activations(case, pipeline).boundary_bytes > 0.0
    assert layer_activations(job(), pipeline).boundary_bytes == 0.0
