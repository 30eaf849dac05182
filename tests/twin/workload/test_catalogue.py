import hashlib
import re
import tomllib
from collections import Counter

import pytest

from hardware_profiles.errors import TweelingError
from twin.workload.catalogue import SHIPPED_DIR, ModelCatalogue, read_model
from twin.workload.transformer import ModelError

CATALOGUE = ModelCatalogue()
MISTRAL = (SHIPPED_DIR / "mistral-7b.toml").read_text()

PROMISED = (
    "gpt3-175b",
    "gpt3-22b",
    "gpt3-1.7b",
    "gpt3-3.6b",
    "gpt3-7.5b",
    "gpt3-18.4b",
    "gpt3-39.1b",
    "gpt3-76.1b",
    "gpt3-145.6b",
    "gpt3-310.1b",
    "gpt3-530b",
    "gpt3-1t",
    "llama-2-7b",
    "llama-2-13b",
    "llama-2-70b",
    "llama-3-8b",
    "llama-3-70b",
    "llama-3.1-405b",
    "mistral-7b",
    "bloom-176b",
    "gpt-neox-20b",
    "qwen2.5-7b",
    "qwen2.5-32b",
    "qwen2.5-72b",
)


def write_mistral(folder, *, old, new, name="mistral-7b"):
    path = folder / f"{name}.toml"
    assert old in MISTRAL
    path.write_text(MISTRAL.replace(old, new))
    return path


def test_the_promised_models_are_there():
    assert set(PROMISED) <= set(CATALOGUE.names())


@pytest.mark.parametrize("name", CATALOGUE.names())
def test_every_shipped_model_reads_and_names_its_source(name):
    model = CATALOGUE.model(name)
    assert model.name == name
    assert re.search(r"\d{4}", model.source)
    assert model.n_heads * model.head_dim == model.hidden


def test_names_and_aliases_are_unique():
    words = Counter(n.lower() for n in CATALOGUE.names())
    words.update(a.lower() for n in CATALOGUE.names() for a in CATALOGUE.model(n).aliases)
    assert {w: n for w, n in words.items() if n > 1} == {}


def test_names_stand_in_order_of_size():
    names = CATALOGUE.names()
    assert names.index("gpt3-7.5b") < names.index("gpt3-18.4b") < names.index("gpt3-1t")


@pytest.mark.parametrize("alias", ["llama-3.1-8b", "LLAMA-3.1-8B", "Llama-3-8b", "llama3-8b"])
def test_aliases_ignore_upper_and_lower_case(alias):
    assert CATALOGUE.model(alias) is CATALOGUE.model("llama-3-8b")


def test_aliases_are_exact():
    with pytest.raises(ModelError):
        CATALOGUE.model("llama-3")


def test_unknown_name_lists_the_nearest():
    with pytest.raises(TweelingError, match=r'"lama-3-8b".*nearest: .*llama-3-8b'):
        CATALOGUE.model("lama-3-8b")


def test_a_name_like_nothing_lists_what_is_known():
    with pytest.raises(ModelError, match=r"known: .*bloom-176b.*qwen2.5-72b"):
        CATALOGUE.model("@@@@@@@@")


def test_a_path_is_read(tmp_path):
    path = write_mistral(tmp_path, old="n_layers = 32", new="n_layers = 4", name="small")
    assert CATALOGUE.model(str(path)).n_layers == 4


def test_a_missing_path_is_told():
    with pytest.raises(ModelError, match=r"nowhere/x\.toml: No such file"):
        CATALOGUE.model("nowhere/x.toml")


def test_the_users_file_comes_first(tmp_path):
    (tmp_path / "models").mkdir()
    write_mistral(tmp_path / "models", old="n_layers = 32", new="n_layers = 4")
    (tmp_path / "cluster.toml").write_text('kind = "cluster"\n')
    own = ModelCatalogue([tmp_path])
    assert own.model("mistral-7b").n_layers == 4
    assert "cluster" not in own.names()
    assert own.hash_of("mistral-7b") != CATALOGUE.hash_of("mistral-7b")


def test_a_model_file_beside_other_profiles_is_found_by_its_kind(tmp_path):
    write_mistral(tmp_path, old='name = "mistral-7b"', new='name = "mine"', name="mine")
    assert ModelCatalogue([tmp_path]).model("mine").n_layers == 32


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ModelError, match="is not a folder"):
        ModelCatalogue([tmp_path / "missing"])


def test_hash_is_that_of_the_file():
    expected = hashlib.sha256(MISTRAL.encode()).hexdigest()
    assert CATALOGUE.hash_of("Mistral-7B") == expected


def test_the_file_carries_the_name_of_its_model(tmp_path):
    write_mistral(tmp_path, old="n_layers = 32", new="n_layers = 4", name="other")
    with pytest.raises(ModelError, match=r'other\.toml: name="mistral-7b"; expected .*"other"'):
        ModelCatalogue([tmp_path]).model("other")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("hidden = 4096", "hidden = = 4096", r":{line}: not TOML at column \d+: "),
        ("hidden = 4096", "hiden = 4096", r":{line}: unknown key hiden; did you mean hidden"),
        ("n_heads = 32\n", "", r": key n_heads is missing"),
        ("n_layers = 32", 'n_layers = "32"', r":{line}: key n_layers: expected `int`, got `str`"),
        ("n_layers = 32", "n_layers = 0", r": model mistral-7b: n_layers=0; expected at least 1"),
        ("n_kv_heads = 8", "n_kv_heads = 7", r": .*n_kv_heads=7 does not divide n_heads=32"),
        ('"rmsnorm"', '"batchnorm"', r":{line}: key norm: invalid enum value 'batchnorm'"),
        ('kind = "model"', 'kind = "node"', r":{line}: key kind: invalid enum value 'node'"),
        ("schema_version = 1", "schema_version = 9", r":1: schema_version=9; expected 1"),
        ('["mistral-7b-v0.1"]', "[7]", r":{line}: key aliases: expected `str`, got `int`"),
    ],
)
def test_a_bad_file_is_told_by_file_line_and_key(tmp_path, old, new, told):
    path = write_mistral(tmp_path, old=old, new=new)
    line = MISTRAL[: MISTRAL.index(old)].count("\n") + 1
    with pytest.raises(ModelError, match=re.escape(str(path)) + told.format(line=line)) as caught:
        read_model(path)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_told(tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes(b'name = "\xff\xfe"\n')
    with pytest.raises(ModelError, match=r"x\.toml: "):
        read_model(path)


def test_shipped_files_hold_no_key_that_the_model_ignores():
    for path in SHIPPED_DIR.glob("*.toml"):
        assert tomllib.loads(path.read_text())["kind"] == "model"
