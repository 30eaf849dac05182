"""Kinds of bad input: each is one line that says what to change, never a traceback.

A later option replaces an earlier one, so every case is the good command line plus what is wrong.
"""

from __future__ import annotations

import json
import shlex

import pytest

# What is wrong -> what the line must name: the value, and what would be valid.
CASES = {
    "--cluster dgx-h10": ["dgx-h10", "dgx-h100"],
    "--cluster ''": ["cluster"],
    "--cluster snellius-h100:cpu": ["cpu"],
    "--cluster snellius-h100 --devices 1000000": ["1000000"],
    "--model lama-3-8b": ["lama-3-8b", "llama-3-8b"],
    "--model ''": ["model"],
    "--framework megatron-cor": ["megatron-cor", "megatron-core"],
    "--framework ''": ["framework"],
    "--site gronigen": ["gronigen", "groningen"],
    "--devices 0": ["--devices", "'0'"],
    "--devices -8": ["--devices", "'-8'"],
    "--devices eight": ["--devices", "'eight'"],
    "--devices 8.5": ["--devices", "'8.5'"],
    "--devices 1e30": ["--devices", "'1e30'"],
    "--devices 63": ["63", "8"],
    "--seq-len 0": ["--seq-len"],
    "--seq-len 1000000000000000000000000000000": ["--seq-len"],
    "--global-batch 0": ["--global-batch"],
    "--global-batch nan": ["--global-batch", "'nan'"],
    "--tp 3": ["tp=3", "32"],
    "--tp 0": ["--tp"],
    "--tp 32 --pp 4": ["tp", "pp", "64"],
    "--tp 1 --sequence-parallel": ["sequence", "tp"],
    "--pp 64": ["pp=64", "32"],
    "--pp 1 --vpp 2": ["vpp=2", "pp"],
    "--pp 2 --zero 2": ["zero=2", "pp=2"],
    "--tp 1 --pp 1 --cp 1 --global-batch 500": ["500", "64"],
    "--tp 1 --pp 1 --micro-batch 1000": ["1000"],
    "--cp 3": ["cp=3", "64"],
    "--ep 8": ["ep=8"],
    "--zero 4": ["--zero", "'4'", "3"],
    "--zero -1": ["--zero", "'-1'"],
    "--recompute ful": ["'ful'", "nearest is full"],
    "--attention flsh": ["'flsh'", "nearest is flash"],
    "--plan best": ["'best'", "auto"],
    "--precision bf61": ["bf61", "bf16"],
    "--cluster dgx-a100 --precision fp8": ["fp8"],
    "--power-cap 10": ["10", "W"],
    "--power-cap 5000": ["5000", "700"],
    "--power-cap nan": ["--power-cap", "'nan'"],
    "--power-cap 500W": ["--power-cap", "'500W'"],
    "--tokens -5": ["--tokens", "'-5'"],
    "--tokens inf": ["--tokens", "'inf'"],
    "--tokens 1e30": ["--tokens", "'1e30'"],
    "--set accelerator.memory.capacity_bytes": ["--set", "key=value"],
    "--set =5": ["--set", "key=value"],
    "--set accelerator.memory.capcity_bytes=1e11": ["capcity_bytes", "capacity_bytes"],
    "--set accelerator.memory.capacity_watt=5": ["capacity_watt"],
    "--set accelerator.memory.capacity_bytes=nan": ["capacity_bytes", "nan"],
    "--set accelerator.memory.capacity_bytes=lots": ["capacity_bytes", "lots"],
    "--set accelerator.memory.capacity_bytes=-1": ["capacity_bytes", "-1"],
    "--set accelerator.memory.capacity_bytes=0": ["capacity_bytes"],
    "--set node.accelerator=mi430x": ["mi430x.toml", "announced", "power.tdp_w"],
    "--profiles no/such/folder": ["--profiles", "no/such/folder"],
    "--modle x": ["--modle", "--model"],
    "surplus": ["surplus"],
}

FILES = {
    "unclosed.toml": b"name = 'x\nkind = ",
    "garbage.toml": bytes(range(256)),
    "empty.toml": b"",
    "unknown_key.toml": b'schema_version = 1\nkind = "cluster"\nname = "x"\ncolour = "red"\n',
    "no_such_kind.toml": b'schema_version = 1\nkind = "spaceship"\nname = "x"\n',
    "future.toml": b'schema_version = 999\nkind = "cluster"\nname = "x"\n',
    "model.toml": b'schema_version = 1\nkind = "model"\nname = "x"\ntitle = "x"\nn_layers = 0\n',
}


def refused(answer) -> str:
    """The one line of a refusal."""
    assert answer.code == 2, answer.err
    assert answer.out == ""
    assert len(answer.err_lines) == 1, answer.err
    assert answer.err.startswith("twin: ")
    assert "Traceback" not in answer.err
    return answer.err


@pytest.mark.parametrize("wrong", CASES)
def test_bad_options_are_one_line(twin, base, wrong):
    line = refused(twin("predict", *base, *shlex.split(wrong), "--json"))
    for part in CASES[wrong]:
        assert part in line


@pytest.mark.parametrize("option", ["--cluster", "--model"])
@pytest.mark.parametrize("name", FILES)
def test_bad_files_are_one_line_with_their_name(twin, base, tmp_path, option, name):
    path = tmp_path / name
    path.write_bytes(FILES[name])
    assert name in refused(twin("predict", *base, option, str(path)))


@pytest.mark.parametrize("option", ["--cluster", "--model"])
def test_a_folder_or_nothing_instead_of_a_file_is_one_line(twin, base, tmp_path, option):
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    assert "folder.toml" in refused(twin("predict", *base, option, str(folder)))
    assert "absent.toml" in refused(twin("predict", *base, option, str(tmp_path / "absent.toml")))


def test_a_broken_file_in_a_folder_of_profiles_is_one_line_after_what_it_replaces(
    twin, base, tmp_path
):
    folder = tmp_path / "clusters"
    folder.mkdir()
    (folder / "dgx-h100.toml").write_text("kind = [")
    answer = twin("predict", *base, "--profiles", str(tmp_path))
    note, line = answer.err_lines
    assert (answer.code, answer.out) == (2, "")
    assert "dgx-h100.toml takes the place of hardware_profiles/" in note
    assert f"{folder / 'dgx-h100.toml'}: not valid TOML" in line


@pytest.mark.parametrize("left_out", range(0, 10, 2))
def test_a_missing_option_is_named(twin, base, left_out):
    words = [*base[:left_out], *base[left_out + 2 :]]
    assert base[left_out] in refused(twin("predict", *words))


@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_both_verbs_refuse_alike(twin, base, verb):
    assert "tp=3" in refused(twin(verb, *base, "--tp", "3"))


def test_a_plan_that_does_not_fit_is_an_answer(twin, base):
    wrong = shlex.split("--model llama-3.1-405b --devices 8 --global-batch 8 --json")
    answer = twin("predict", *base, *wrong)
    assert answer.code == 1
    document = json.loads(answer.out)
    assert document["fits_memory"] is False
    assert document["memory_bytes_per_device"] > document["memory_capacity_bytes"]
    assert answer.err == ""


def test_a_pinned_plan_that_does_not_fit_prints_its_report(twin, base):
    wrong = shlex.split("--model llama-3-70b --tp 1 --pp 1 --zero 0 --micro-batch 1")
    answer = twin("predict", *base, *wrong)
    assert answer.code == 1
    assert "DOES NOT FIT" in answer.out


@pytest.mark.parametrize("words", ["models show lama", "profiles show dgx-h10"])
def test_the_catalogues_refuse_alike(twin, words):
    refused(twin(*words.split()))
