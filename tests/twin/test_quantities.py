"""The registry of quantities: names say units, texts say values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.quantities import QUANTITIES, QuantityError, quantity, shown, significant

ENDINGS = {
    "s": "_s",
    "byte": "bytes",
    "W": "_w",
    "J": "_j",
    "EUR": "_eur",
}


@pytest.mark.parametrize("name", QUANTITIES)
def test_a_name_says_its_unit(name):
    unit = quantity(name).unit
    if unit in ENDINGS:
        stem = name.removesuffix("_per_device")
        assert stem.endswith(ENDINGS[unit])
    elif "/" in unit:
        assert "_per_s" in name
    else:
        assert unit == "1"


@pytest.mark.parametrize("name", QUANTITIES)
def test_every_quantity_has_a_meaning_and_a_range(name):
    entry = quantity(name)
    assert entry.meaning
    assert entry.minimum < entry.maximum


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("tokens_per_s", 1_234_567.0, "1.235 M tokens/s"),
        ("tokens_per_s", 12.0, "12.00 tokens/s"),
        ("step_time_s", 0.01234, "12.34 ms"),
        ("step_time_s", 3.21, "3.210 s"),
        ("mfu", 0.41234, "41.23 %"),
        ("memory_bytes_per_device", 80e9, "80.00 GB"),
        ("it_power_w", 999_999.0, "1.000 MW"),
        ("device_power_w", 687.2, "687.2 W"),
        ("run_time_s", 86_400.0 * 54, "54.00 days"),
        ("run_energy_j", 3.6e12, "1.000 GWh"),
        ("energy_per_token_j", 0.0, "0 J"),
        ("run_cost_eur", None, "n/a"),
    ],
)
def test_values_are_shown_in_the_display_unit(name, value, text):
    assert shown(name, value) == text


@given(st.floats(min_value=1e-9, max_value=1e18))
def test_a_number_keeps_four_significant_digits(value):
    assert math.isclose(float(significant(value)), value, rel_tol=5.1e-4)


@given(st.floats(min_value=1e-9, max_value=1e20))
def test_a_prefix_leaves_less_than_five_characters_before_the_point(value):
    number, _unit = quantity("it_power_w").parts(value)
    assert "e" in number or len(number.split(".", maxsplit=1)[0]) <= 4


def test_a_quantity_knows_its_range():
    mfu = quantity("mfu")
    assert mfu.holds(0.0)
    assert mfu.holds(1.0)
    assert not mfu.holds(1.01)
    assert not mfu.holds(-0.1)
    assert not mfu.holds(float("nan"))
    assert quantity("step_time_s").holds(1e9)
    assert not quantity("step_time_s").holds(float("inf"))


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(QuantityError, match="nearest is step_time_s"):
        quantity("step_tim_s")
