"""A scatter merges points per cell, shows the front over the rest, and finds points again."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.tui.charts.drawing import ANY_FLOAT, SIZES, STYLES, body, check_picture, roles_of
from tui.charts.axes import Axis
from tui.charts.guides import Guide
from tui.charts.picture import Size, Style
from tui.charts.scatter import Scatter, place_of, point_at, scatter
from tui.charts.window import Window

ENERGY = Axis(name="energy", unit="J", better="lower")
RATE = Axis(name="speed", unit="token/s", better="higher")
ASCII = Style(markers="ascii")
SIZE = Size(width=30, height=9)


def chart(x, y, **more) -> Scatter:
    return Scatter(
        x=ENERGY, y=RATE, x_values=np.array(x, float), y_values=np.array(y, float), **more
    )


def test_the_front_and_the_selected_point_stand_out():
    three = chart([0, 5, 10], [0, 4, 2], is_front=np.array([True, True, False]), highlighted=1)
    assert body(scatter(three, size=SIZE, style=ASCII)) == (
        "x energy (J, lower is better)~\n"
        " 4 +            @\n"
        "   |\n"
        " 2 +                        .\n"
        "   |\n"
        " 0 +o\n"
        "   ++-----------+-----------+\n"
        "    0           5          10\n"
        ". 3 points in 3 cells   2 more"
    )


def test_points_on_one_cell_are_one_glyph_and_are_counted():
    many = chart([1.0] * 5000 + [2.0], [1.0] * 5000 + [2.0])
    picture = scatter(many, size=Size(width=60, height=9), style=ASCII)
    assert roles_of(picture, "muted") == "..."
    assert picture.rows[-1].startswith(". 5001 points in 2 cells")


def test_a_thousand_braille_points_fill_at_most_the_plot():
    rng = np.random.default_rng(1)
    cloud = chart(rng.random(100_000), rng.random(100_000))
    picture = scatter(cloud, size=Size(width=40, height=14), style=Style())
    assert set(picture.rows[5][8:38]) == {"⣿"}


def test_groups_differ_by_glyph_on_the_front():
    pair = chart(
        [0, 1],
        [0, 1],
        is_front=np.array([True, True]),
        groups=np.array([0, 1]),
        group_names=("h200", "mi355x"),
    )
    picture = scatter(pair, size=Size(width=60, height=9), style=Style())
    assert roles_of(picture, "series-0") == "oo"
    assert roles_of(picture, "series-1") == "xx"


def test_without_the_rest_only_the_front_is_drawn():
    both = {"x": [0, 1, 2], "y": [0, 9, 2], "is_front": np.array([True, False, True])}
    picture = scatter(chart(**both, has_all=False), size=Size(width=60, height=9), style=ASCII)
    assert picture.rows[-1].startswith(". 2 points in 2 cells")


def test_points_without_a_place_are_said():
    odd = chart([1, 2, np.nan, np.inf], [1, 2, 3, 4])
    picture = scatter(odd, size=Size(width=60, height=9), style=ASCII)
    assert "! 2 without a place" in picture.rows[-1]


def test_a_click_finds_the_point_it_hits():
    three = chart([0, 5, 10], [0, 4, 2])
    where = {"size": SIZE, "style": ASCII}
    rows = scatter(three, **where).rows
    row = next(row for row, text in enumerate(rows) if text.find(".", 10) > 20)
    assert row == 3
    assert point_at(three, cell=(row, rows[row].index(".") + 1), **where) == 2
    assert point_at(three, cell=(5, 20), **where) is None


def test_no_points_draw_the_frame_and_one_sentence():
    assert "No points to draw yet." in str(scatter(chart([], []), size=SIZE, style=ASCII))


def test_charts_import_neither_numpy_nor_textual():
    program = (
        "import sys, tui.charts.scatter, tui.charts.line, tui.charts.stacked_bar\n"
        "sys.exit(' '.join({'numpy', 'textual', 'rich'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert run.stderr.strip() == ""


@given(
    SIZES,
    STYLES,
    st.integers(0, 12).flatmap(lambda n: arrays(np.float64, (2, n), elements=ANY_FLOAT)),
    st.booleans(),
)
def test_any_data_fits_any_size(size, style, values, is_log):
    axis = Axis(name="µ", is_log=is_log)
    data = Scatter(x=axis, y=axis, x_values=values[0], y_values=values[1])
    check_picture(scatter(data, size=size, style=style), size=size, style=style)


DIAGONAL = Guide(name="equal", factor=1.0, glyph="/")


def test_equal_values_stand_on_the_guide_of_a_square_chart():
    pairs = chart([1, 4, 10], [1, 4, 10], is_square=True, guides=(DIAGONAL,))
    picture = scatter(pairs, size=Size(width=50, height=20), style=ASCII)
    drawn = [row[4:] for row in picture.rows[1:-3]]
    assert sum(row.count(".") for row in drawn) == 3
    assert sum(row.count("/") for row in drawn) > 20
    assert "/ equal" in picture.rows[-1]


def test_a_level_guide_widens_the_range_until_it_is_in_it():
    level = Guide(name="limit", factor=15.0, is_level=True, glyph="-")
    picture = scatter(chart([0, 5], [1, 2], guides=(level,)), size=SIZE, style=ASCII)
    assert "-" * 20 in picture.rows[1]


def test_every_point_has_the_glyph_of_its_group_where_asked():
    groups = np.array([0, 1, 1])
    three = chart([0, 5, 10], [0, 4, 2], groups=groups, group_names=("a", "b"), has_glyphs=True)
    picture = scatter(three, size=Size(width=40, height=9), style=ASCII)
    drawn = "".join(picture.rows[1:-3])
    assert drawn.count("o") == 1
    assert drawn.count("x") == 2
    assert "o a   x b" in picture.rows[-1]


def test_a_window_shows_what_lies_in_it_and_finds_only_that():
    right = Window(left=0.5, right=1.0, low=0.0, high=1.0)
    three = chart([0, 6, 10], [0, 4, 2], window=right, highlighted=1)
    picture = scatter(three, size=Size(width=60, height=9), style=ASCII)
    assert "2 of 3 points" in picture.rows[-1]
    assert place_of(three) == (0.6, 1.0)
    found = {
        point_at(three, cell=(row, column), size=Size(width=60, height=9), style=ASCII)
        for row in range(9)
        for column in range(60)
    }
    assert found == {None, 1, 2}


def test_a_window_without_a_point_is_an_empty_frame():
    nowhere = Window(left=0.4, right=0.5, low=0.4, high=0.5)
    three = chart([0, 5, 10], [0, 10, 2], window=nowhere)
    picture = scatter(three, size=Size(width=60, height=9), style=ASCII)
    check_picture(picture, size=Size(width=60, height=9), style=ASCII)
    assert "0 of 3 points" in picture.rows[-1]
    assert point_at(three, cell=(4, 20), size=Size(width=60, height=9), style=ASCII) is None
