"""Filters: every term counts, unfinished ones are said and left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.catalogue_view import FIELDS
from twin.figures import parse_figure
from twin.filter_expression import holds, parse_filter


def read(text):
    return parse_filter(text, fields=FIELDS, parse=parse_figure)


def test_terms_are_fields_texts_and_words():
    terms = read('mem>100 vendor:amd -pcie "mi 300" year=2024').terms
    assert [term.field for term in terms] == [
        "memory.capacity_bytes",
        "vendor",
        None,
        None,
        "launch_year",
    ]
    assert terms[0].number == 100e9
    assert terms[2].is_negated
    assert terms[3].text == "mi 300"


@pytest.mark.parametrize(
    ("text", "number"),
    [("mem>1TB", 1e12), ("mem > 80GiB", 80 * 2.0**30), ("tdp<=1.2kW", 1200.0), ("bf16>1", 1e12)],
)
def test_numbers_carry_their_unit_or_take_the_screens(text, number):
    assert read(text).terms[0].number == pytest.approx(number)


@pytest.mark.parametrize("text", ["mem>", "mem>x", "memory>1", "tdp<5GB"])
def test_a_term_that_cannot_be_read_is_said_and_the_others_count(text):
    found = read(f"{text} amd")
    assert found.problem
    assert [term.text for term in found.terms] == ["amd"]


@pytest.mark.parametrize(
    ("text", "value", "is_held"),
    [
        ("mem>100", 141e9, True),
        ("mem>100", 80e9, False),
        ("mem>=80", 80e9, True),
        ("mem=80", 80e9, True),
        ("mem:n/a", None, True),
        ("mem:n/a", 80e9, False),
        ("mem>1", None, False),
        ("vendor:am", "amd", True),
        ("vendor=am", "amd", False),
    ],
)
def test_values_hold_or_do_not(text, value, is_held):
    assert holds(read(text).terms[0], value) is is_held


@given(st.text(max_size=40))
def test_nothing_that_is_typed_raises(text):
    read(text)
