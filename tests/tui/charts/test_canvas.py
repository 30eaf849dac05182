"""Dots land where they are put, in every marker set, and strokes have no gaps."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.charts.canvas import DotCanvas, Pen, _stroke, dots_per_cell, markers_for
from tui.charts.picture import LegendEntry, Sheet, Size, Span, Style

PEN = Pen(role="series-0", glyph="*")


def drawn(canvas: DotCanvas) -> tuple[str, ...]:
    size = Size(width=canvas.width, height=canvas.height)
    sheet = Sheet(size=size, style=Style(markers=canvas.markers))
    canvas.draw(sheet, row=0, column=0)
    return sheet.picture(text="").rows


@pytest.mark.parametrize(
    ("markers", "rows"),
    [("braille", ("⠁ ", " ⢀")), ("block", ("▘ ", " ▗")), ("ascii", ("* ", " *"))],
)
def test_the_corner_dots_are_the_corners_of_the_picture(markers, rows):
    canvas = DotCanvas(width=2, height=2, markers=markers)
    canvas.dot(0, 0, pen=PEN)
    canvas.dot(canvas.n_across - 1, canvas.n_down - 1, pen=PEN)
    assert drawn(canvas) == rows


@pytest.mark.parametrize(("markers", "full"), [("braille", "⣿"), ("block", "█"), ("ascii", "*")])
def test_all_dots_fill_the_cell(markers, full):
    canvas = DotCanvas(width=1, height=1, markers=markers)
    across, down = dots_per_cell(markers)
    for x in range(across):
        for y in range(down):
            canvas.dot(x, y, pen=PEN)
    assert drawn(canvas) == (full,)


def test_a_dot_outside_is_not_drawn():
    canvas = DotCanvas(width=1, height=1, markers="braille")
    for x, y in ((-1, 0), (0, -1), (2, 0), (0, 4)):
        canvas.dot(x, y, pen=PEN)
    assert drawn(canvas) == (" ",)


@given(st.tuples(*[st.integers(-50, 50)] * 4))
def test_a_stroke_joins_its_ends_without_gaps(ends):
    start, end = ends[:2], ends[2:]
    dots = list(_stroke(start, end))
    assert dots[0] == start
    assert dots[-1] == end
    for (x0, y0), (x1, y1) in itertools.pairwise(dots):
        assert max(abs(x1 - x0), abs(y1 - y0)) == 1


@pytest.mark.parametrize(
    ("setting", "encoding", "term", "markers"),
    [
        ("auto", "UTF-8", "xterm-256color", "braille"),
        ("auto", "utf8", "tmux", "braille"),
        ("auto", "ISO-8859-1", "xterm", "ascii"),
        ("auto", "UTF-8", "linux", "ascii"),
        ("block", "ISO-8859-1", "linux", "block"),
    ],
)
def test_markers_follow_the_setting_then_the_terminal(setting, encoding, term, markers):
    assert markers_for(setting=setting, encoding=encoding, term=term) == markers


def test_spans_are_the_runs_of_a_role():
    sheet = Sheet(size=Size(width=6, height=2), style=Style())
    sheet.put("abcd", row=1, column=4, role="axis")
    sheet.put("xy", row=0, column=-1, role="title")
    picture = sheet.picture(text="")
    assert picture.rows == ("y     ", "    ab")
    assert picture.spans == (Span(0, 0, 1, "title"), Span(1, 4, 6, "axis"))


def test_ascii_never_shows_a_letter_that_is_not_ascii():
    sheet = Sheet(size=Size(width=12, height=1), style=Style(markers="ascii"))
    sheet.put("1\u2009200 µs, 界", row=0, column=0)
    assert sheet.picture(text="").rows == ("1 200 us, ? ",)


def test_a_legend_counts_what_does_not_fit():
    sheet = Sheet(size=Size(width=18, height=1), style=Style())
    entries = tuple(LegendEntry(glyph, "axis", "series") for glyph in "*+o")
    sheet.put_legend(entries, row=0)
    assert sheet.picture(text="").rows == ("* series   2 more ",)


def test_a_size_without_cells_is_refused():
    with pytest.raises(ValueError, match="at least 1 x 1"):
        Size(width=0, height=5)
