import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.workload.catalogue import ModelCatalogue
from twin.workload.parameters import (
    embedding_parameters,
    head_parameters,
    layer_matrix_parameters,
    layer_parameters,
    model_flop_per_token,
    total_parameters,
)

CATALOGUE = ModelCatalogue()

PUBLISHED_PARAMETERS = {
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "mistral-7b": 7_241_732_096,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
    "gpt-neox-20b": 20_554_567_680,
    "bloom-176b": 176_247_271_424,
}


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED_PARAMETERS.items())
def test_parameters_agree_with_the_published_weights(name, parameters):
    assert total_parameters(CATALOGUE.model(name)) == pytest.approx(parameters, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("gpt3-1.7b", 1.7),
        ("gpt3-3.6b", 3.6),
        ("gpt3-7.5b", 7.5),
        ("gpt3-18.4b", 18.4),
        ("gpt3-39.1b", 39.1),
        ("gpt3-76.1b", 76.1),
        ("gpt3-145.6b", 145.6),
        ("gpt3-310.1b", 310.1),
        ("gpt3-530b", 529.6),
        ("gpt3-1t", 1008.0),
        ("gpt3-175b", 174.6),
    ],
)
def test_megatron_sizes_agree_with_the_paper_to_its_printed_digits(name, billions):
    printed_step = 0.05e9 if billions < 1000 else 0.5e9
    assert total_parameters(CATALOGUE.model(name)) == pytest.approx(
        billions * 1e9, abs=printed_step
    )


@pytest.mark.parametrize("name", CATALOGUE.names())
def test_matrices_are_nearly_all_of_a_layer(name):
    model = CATALOGUE.model(name)
    assert layer_matrix_parameters(model) < layer_parameters(model)
    assert layer_parameters(model) == pytest.approx(layer_matrix_parameters(model), rel=2e-3)


def test_tying_the_embedding_saves_exactly_the_head():
    untied = CATALOGUE.model("llama-3-8b")
    tied = msgspec.structs.replace(untied, has_tied_embeddings=True)
    assert head_parameters(tied) == 0
    assert total_parameters(untied) - total_parameters(tied) == head_parameters(untied)
    assert head_parameters(untied) == embedding_parameters(untied)


def test_flop_per_token_agrees_with_equation_3_of_narayanan_2021():
    """96·B·s·L·h²·(1 + s/6h + V/16Lh) with recomputation; three quarters of its layer work is not
    recomputed, and recomputation spares the head."""
    model = CATALOGUE.model("gpt3-145.6b")
    h, n_layers, s, v = model.hidden, model.n_layers, 2048, model.vocabulary
    expected = 72 * n_layers * h**2 * (1 + s / (6 * h)) + 6 * v * h
    assert model_flop_per_token(model, s, causal_fraction=1.0) == pytest.approx(expected, rel=1e-12)


@given(seq_len=st.integers(1, 2**20), causal_fraction=st.floats(0, 1))
def test_flop_per_token_is_at_least_six_per_matrix_parameter(seq_len, causal_fraction):
    model = CATALOGUE.model("llama-2-70b")
    matrices = model.n_layers * layer_matrix_parameters(model) + head_parameters(model)
    flop = model_flop_per_token(model, seq_len, causal_fraction=causal_fraction)
    attention = flop - 6 * matrices
    full = 12 * model.n_layers * model.hidden * seq_len
    assert attention == pytest.approx(causal_fraction * full, rel=1e-6, abs=1e6)


def test_grouped_queries_save_keys_and_values_only():
    grouped = CATALOGUE.model("llama-2-70b")
    full = msgspec.structs.replace(grouped, n_kv_heads=grouped.n_heads)
    saved = layer_matrix_parameters(full) - layer_matrix_parameters(grouped)
    assert saved == 2 * (64 - 8) * 128 * 8192
    assert model_flop_per_token(full, 4096) - model_flop_per_token(grouped, 4096) == 6 * 80 * saved
