import json

import pytest
from click.testing import CliRunner

from twin.cli.models import models
from twin.workload.catalogue import SHIPPED_DIR, ModelCatalogue
from twin.workload.transformer import ModelError


def run(*arguments):
    result = CliRunner().invoke(models, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_list_names_every_model_with_its_size():
    lines = run("list").splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(ModelCatalogue().names())
    assert any(line.startswith("llama-3-8b ") and " 8.03 B" in line for line in lines)


def test_list_as_json_carries_header_and_hashes():
    document = json.loads(run("list", "--json"))
    assert list(document)[:3] == ["tweeling_version", "command", "profile_hashes"]
    names = [entry["name"] for entry in document["models"]]
    assert list(document["profile_hashes"]) == [f"model/{name}" for name in names]


def test_show_as_json_adds_up():
    document = json.loads(run("show", "llama-3.1-8b", "--json"))
    assert document["model"]["name"] == "llama-3-8b"
    parts = 32 * document["n_layer_parameters"] + document["n_embedding_parameters"]
    parts += document["n_head_parameters"] + 4096
    assert document["n_parameters"] == parts == 8_030_261_248
    assert document["model_flop_per_token"]["8192"] > document["model_flop_per_token"]["2048"]


@pytest.mark.parametrize("name", ["gpt3-175b", "qwen2.5-7b", "mistral-7b"])
def test_show_as_text_says_the_source(name):
    text = run("show", name)
    assert ModelCatalogue().model(name).source in text
    assert "Gflop per token" in text


def test_own_files_come_first(tmp_path):
    text = (SHIPPED_DIR / "mistral-7b.toml").read_text()
    own = text.replace('name = "mistral-7b"', 'name = "mine"').replace("v0.1", "mine")
    (tmp_path / "mine.toml").write_text(own)
    assert "mine " in run("list", "--profiles", str(tmp_path))
    assert "7.24 B" in run("show", "mine", "--profiles", str(tmp_path))


def test_unknown_model_is_bad_input_and_names_the_nearest():
    with pytest.raises(ModelError, match=r"nearest: .*gpt3-22b"):
        CliRunner().invoke(models, ["show", "gpt3-22"], catch_exceptions=False)
