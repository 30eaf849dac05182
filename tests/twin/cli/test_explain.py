"""`twin explain`: trees as text and as JSON."""

from __future__ import annotations

import json

from twin.cli.explain import tree_lines
from twin.explain.term import Term


def test_json_holds_a_tree_for_every_quantity(twin, fake, base):
    document = json.loads(twin("explain", *base, "--json").out)
    assert list(document)[:3] == ["tweeling_version", "command", "profile_hashes"]
    assert set(document["terms"]) == {"step_time_s", "mfu"}
    root = document["terms"]["step_time_s"]
    assert root["value"] == sum(child["value"] for child in root["children"])
    assert root["children"][0]["children"][0]["source"] == "NVIDIA H100 datasheet"


def test_json_of_one_quantity_has_that_tree_only(twin, fake, base):
    document = json.loads(twin("explain", *base, "--quantity", "mfu", "--json").out)
    assert list(document["terms"]) == ["mfu"]


def test_text_shows_the_tree_of_the_step_time(twin, fake, base):
    lines = twin("explain", *base).out.splitlines()
    assert lines[0].startswith("step_time_s = 3.0000 s")
    assert lines[1].startswith("|- gemm_s = 2.5000 s")
    assert lines[2].startswith("|  `- peak_flop_per_s = 9.8900e+14 flop/s  [datasheet]")
    assert lines[3].startswith("`- rest_s = 0.50000 s  16.7%  [assumed]")


def test_an_unknown_quantity_names_the_nearest(twin, fake, base):
    answer = twin("explain", *base, "--quantity", "mfuu")
    assert answer.code == 2
    assert answer.err_lines[0].endswith("nearest is mfu")


def test_what_is_cut_off_is_counted():
    leaf = Term(name="leaf", value=1.0, unit="1")
    middle = Term(name="middle", value=2.0, unit="1", relation="sum", children=(leaf, leaf))
    root = Term(name="root", value=4.0, unit="1", relation="sum", children=(middle, middle))
    lines = tree_lines(root, depth=2)
    assert len(lines) == 5
    assert lines[2] == "|  `- 2 more below; --depth shows them"
