"""JSON documents and tables."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.cli.output import JsonError, bar, emit_json, json_document, plain, table


@dataclass(frozen=True)
class Inner:
    value_s: float
    names: tuple[str, ...]


class Struct(msgspec.Struct):
    inner: Inner
    path: Path


def test_records_of_both_kinds_become_objects():
    record = Struct(inner=Inner(value_s=0.1, names=("a", "b")), path=Path("x/y.toml"))
    assert plain(record) == {"inner": {"value_s": 0.1, "names": ["a", "b"]}, "path": "x/y.toml"}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_survive_to_the_last_bit(value):
    document = json_document({"x": value}, command="twin", profile_hashes={})
    assert json.loads(json.dumps(document))["x"] == value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused_with_their_key(value):
    with pytest.raises(JsonError, match=r"interval\.mfu\.p90"):
        plain({"mfu": {"p90": value}}, where="interval")


def test_unknown_is_null():
    assert plain({"cost_eur": None}) == {"cost_eur": None}


def test_the_header_stands_first_and_cannot_be_overwritten(capsys):
    emit_json({"b": 1, "a": 2}, command="twin x", profile_hashes={"site/x": "00"})
    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["tweeling_version", "command", "profile_hashes", "b", "a"]
    with pytest.raises(JsonError, match="command"):
        json_document({"command": "mine"}, command="twin", profile_hashes={})


def test_types_without_a_json_form_are_refused():
    with pytest.raises(JsonError, match="no JSON form for object"):
        plain({"x": object()})


def test_columns_line_up():
    lines = table([["a", "1.0"], ["long", "10.0"]], align="lr", header=["name", "x"])
    assert lines == ["  name     x", "  a      1.0", "  long  10.0"]


def test_short_rows_leave_no_trailing_spaces():
    assert table([["a"], ["b", "c"]]) == ["  a", "  b  c"]


def test_bars_grow_with_the_share_and_never_vanish():
    assert bar(0.0) == ""
    assert bar(1e-6) == "#"
    assert len(bar(0.5, width=10)) == 5
    assert len(bar(7.0, width=10)) == 10
