"""The shape table against closed forms."""

import pytest

from kernels.survey.shapes import (
    DIRECTIONS,
    AttentionShape,
    attention_shapes,
    gemm_of,
    layer_shapes,
    linear_layers,
    training_gemms,
)

MODELS = {model.name: model for model in layer_shapes()}
TOKENS = 4096


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_layer_flop_is_two_per_weight_and_token_in_every_direction(name, direction):
    model = MODELS[name]
    h, f, d = model.hidden, model.ffn_hidden, model.head_dim
    attention = h * d * (2 * model.n_heads + 2 * model.n_kv_heads)
    mlp = (3 if model.is_gated else 2) * h * f
    weights = attention + mlp + h * model.vocabulary
    flop = sum(
        gemm_of(linear, tokens=TOKENS, direction=direction).flop
        for linear in linear_layers(model, tp=1)
    )
    assert flop == pytest.approx(2 * TOKENS * weights)


@pytest.mark.parametrize("tp", [2, 4, 8])
def test_tensor_parallel_ranks_share_the_work_evenly(tp):
    model = MODELS["gpt3-175b"]
    whole = sum(x.n_in * x.n_out for x in linear_layers(model, tp=1))
    part = sum(x.n_in * x.n_out for x in linear_layers(model, tp=tp))
    assert part * tp == pytest.approx(whole)


def test_the_published_size_of_a_model_comes_out():
    model = MODELS["llama-3-8b"]
    *layer, head = linear_layers(model, tp=1)
    weights = 32 * sum(x.n_in * x.n_out for x in layer) + 2 * head.n_in * head.n_out
    assert weights == pytest.approx(8.03e9, rel=2e-3)


def test_directions_permute_the_same_three_sizes():
    linear = linear_layers(MODELS["llama-3-8b"], tp=8)[2]
    shapes = [gemm_of(linear, tokens=TOKENS, direction=d) for d in DIRECTIONS]
    assert len({tuple(sorted((s.m, s.n, s.k))) for s in shapes}) == 1
    assert [s.layout for s in shapes] == ["TN", "NN", "NT"]
    assert shapes[2].k == TOKENS


def test_cases_are_distinct_and_cover_every_degree_and_direction():
    shapes = training_gemms()
    assert len({s.size for s in shapes}) == len(shapes) > 1000
    assert {s.direction for s in shapes} == set(DIRECTIONS)
    assert {role.split("/")[1] for role in (s.role for s in shapes)} == {"tp1", "tp2", "tp4", "tp8"}
    # 28 heads cannot be split over eight devices.
    assert not any(s.role.startswith("qwen2.5-7b/tp8") for s in shapes)


def test_scaled_products_have_sizes_that_fp8_needs():
    for shape in training_gemms():
        assert shape.n % 16 == shape.k % 16 == 0


def test_a_causal_mask_halves_attention_and_backward_is_five_products():
    full = AttentionShape(batch=2, heads_q=8, heads_kv=2, seq=512, head_dim=64, is_causal=False)
    causal = AttentionShape(batch=2, heads_q=8, heads_kv=2, seq=512, head_dim=64, is_causal=True)
    assert full.flop == 4 * 2 * 8 * 512 * 512 * 64 == 2 * causal.flop
    assert full.backward_flop == 2.5 * full.flop
    assert full.n_elements == 2 * 512 * 64 * (8 + 2 + 2 + 8)


def test_attention_heads_divide_into_groups():
    shapes = attention_shapes()
    assert shapes
    assert all(s.heads_q % s.heads_kv == 0 for s in shapes)
