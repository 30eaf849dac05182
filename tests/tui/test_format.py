"""Text of values: widths hold, units are shown, nothing unknown becomes zero."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.tui.conftest import EXAMPLE
from tests.tui.fake_twin import FakeTwin
from tui.format import class_marks, fixed, interval_text, number_text, short, short_inside
from tui.widgets.breakdown import breakdown_lines, breakdown_names, memory_lines, power_lines
from tui.widgets.headline import HEADLINE, HeadlineStyle, headline_lines
from tui.widgets.lines import plain
from twin.prediction import Interval


@given(st.text(alphabet="abc xyz", max_size=40), st.integers(1, 30))
def test_fixed_has_exactly_the_width(text, width):
    assert len(fixed(text, width)) == width
    assert len(fixed(text, width, align="right")) == width
    assert len(short(text, width)) <= max(width, 1)


def test_unknown_is_not_zero():
    assert number_text("run_time_s", None)[0] == "n/a"


def test_weakest_classes_are_shown():
    assert class_marks(("measured", "fitted", "datasheet")) == "◆□"
    assert class_marks(("measured", "user"), is_ascii=True) == "MU"
    assert class_marks(()) == ""


def test_a_band_across_a_prefix_names_both_units():
    text = interval_text("step_time_s", Interval(p10=0.9, p50=1.0, p90=1.1))
    assert "ms" in text
    assert " s" in text


def test_headline_fits_the_narrow_pane():
    prediction = FakeTwin().predict(EXAMPLE)
    lines = headline_lines(prediction, HeadlineStyle())
    assert len(lines) == len(HEADLINE)
    assert max(len(line) for line in plain(lines).splitlines()) <= 44


@given(st.integers(40, 120), st.integers(3, 20), st.booleans())
def test_breakdown_never_leaves_its_pane_and_says_what_it_left_out(width, height, as_table):
    prediction = FakeTwin().predict(EXAMPLE)
    lines = breakdown_lines(prediction, width=width, height=height, as_table=as_table)
    assert len(lines) <= height
    assert "more" in plain(lines[-1:])
    if not as_table:
        assert max(len(line) for line in plain(lines).splitlines()) <= width


def test_bars_are_ordered_and_show_what_hides():
    prediction = FakeTwin().predict(EXAMPLE)
    assert breakdown_names(prediction)[0] == "gemm_backward"
    text = plain(breakdown_lines(prediction, width=60, height=9, as_table=False))
    tp_line = next(line for line in text.splitlines() if "tp comm" in line)
    assert "#" in tp_line
    assert "." in tp_line.replace("0.", "")


def test_memory_and_power_name_every_part():
    prediction = FakeTwin().predict(EXAMPLE)
    memory = plain(memory_lines(prediction, width=44))
    assert all(part in memory for part in ("weights", "optimizer", "activations", "overhead"))
    power = plain(power_lines(prediction, width=44))
    assert all(part in power for part in ("device", "node", "IT", "facility", "PUE"))


@given(st.text(), st.integers(1, 40))
def test_a_text_cut_in_the_middle_keeps_both_ends(text, width):
    cut = short_inside(text, width)
    assert len(cut) == min(len(text), width)
    assert cut[: (width - 1) // 2] == text[: (width - 1) // 2]
    tail = (width - 1) // 2
    assert not tail or text.endswith(cut[-tail:])
