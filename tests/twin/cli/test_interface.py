"""Verbs and options that other programs and people's scripts rely on.

When one of these tests fails, either undo the change or make it knowingly: add to the list, say it
in CHANGELOG.md and in docs/architecture.md.
"""

from __future__ import annotations

import re

import pytest

from twin.cli.main import VERBS

CONFIGURATION = {
    *("--cluster", "--devices", "--model", "--seq-len", "--global-batch", "--precision"),
    *("--framework", "--plan", "--micro-batch", "--tp", "--pp", "--vpp", "--cp", "--ep", "--zero"),
    *("--sequence-parallel", "--no-sequence-parallel", "--recompute", "--attention"),
    *("--shard-group", "--recompute-layers"),
    *("--power-cap", "--tokens", "--site", "--set", "--profiles", "--json"),
}
VALIDATION = {"--out", "--fail-above", "--baseline", "--profiles", "--json"}
IMPORT = {"--device", "--operation", "--link"}
OPTIONS = {
    "predict": CONFIGURATION,
    "explain": CONFIGURATION | {"--quantity", "--depth"},
    "validate": set(),
    "measurements": set(),
    "import": IMPORT | {"--out", "--replace", "--profiles", "--json"},
    "runs": VALIDATION | {"--plot"},
    "kernels": VALIDATION | IMPORT,
    "roofline": {
        *("--device", "--from", "--model", "--tp", "--seq-len", "--precision", "--filter", "--out"),
        *("--operation", "--link", "--profiles", "--json"),
    },
    "power": VALIDATION,
    "systems": VALIDATION,
}


def options_of(command) -> set[str]:
    return {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--")
    }


def command_of(name: str):
    table = {verb.name: verb for verb in VERBS}
    if name in table:
        return table[name].load()
    group = "measurements" if name == "import" else "validate"
    return table[group].load().commands[name]


@pytest.mark.parametrize("name", OPTIONS)
def test_options_do_not_drift(name):
    assert options_of(command_of(name)) == OPTIONS[name]


@pytest.mark.parametrize("name", [verb.name for verb in VERBS])
def test_the_table_of_the_design_names_every_verb(name, repository):
    text = (repository / "docs" / "architecture.md").read_text()
    assert re.search(rf"^\| `{name}", text, re.MULTILINE)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_can_be_loaded_and_helps(twin, verb):
    answer = twin(verb.name, "--help")
    assert answer.code == 0
    assert answer.out.startswith(f"Usage: twin {verb.name}")
