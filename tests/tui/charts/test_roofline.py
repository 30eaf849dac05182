"""A roofline shows ceilings that meet at the ridge, and kernels beneath them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tui.charts.drawing import ANY_FLOAT, SIZES, STYLES, body, check_picture, roles_of
from tui.charts.picture import Size, Style
from tui.charts.roofline import (
    KernelPoint,
    Memory,
    Peak,
    Roofline,
    attainable_flop_per_s,
    kernel_at,
    place_of,
    roofline,
)
from tui.charts.window import WHOLE

BF16 = Peak(name="bf16", flop_per_s=1e15)
HBM = Memory(name="HBM", bytes_per_s=4e12)
GEMM = KernelPoint(letter="G", name="gemm", intensity_flop_per_byte=1000, flop_per_s=7e14)
NORM = KernelPoint(
    letter="N", name="norm", intensity_flop_per_byte=10, flop_per_s=2e13, is_calibrated=False
)
DEVICE = Roofline(peaks=(BF16,), memories=(HBM,), kernels=(GEMM, NORM))


def test_the_slope_meets_the_flat_at_the_ridge():
    picture = roofline(DEVICE, size=Size(width=40, height=12), style=Style(markers="ascii"))
    assert body(picture) == (
        "Roofline: arithmetic rate (flop/s, high~\n"
        "      |\n"
        "   1P +                  /-----G---bf16\n"
        "      |                //\n"
        "      |              //\n"
        " 100T +           ///\n"
        "      |         //\n"
        "      |       //\n"
        "      |     //n\n"
        "      +-------+--------+-------+-------\n"
        "             10       100     1k\n"
        "G gemm   n norm (datasheet only)   2 mo~"
    )


@pytest.mark.parametrize(("intensity", "rate"), [(1, 4e12), (250, 1e15), (1e4, 1e15)])
def test_the_roof_is_the_lower_of_bandwidth_and_peak(intensity, rate):
    assert attainable_flop_per_s(intensity, peak=BF16, memory=HBM) == rate


def test_kernels_without_calibration_are_small_and_said():
    picture = roofline(DEVICE, size=Size(width=100, height=20), style=Style())
    assert sorted(roles_of(picture, "front")) == ["G", "G", "n", "n"]
    assert "norm (datasheet only)" in picture.rows[-1]
    assert "G gemm: 700 Tflop/s at 1 kflop/byte, 70% of the roof." in picture.text


def test_the_selected_kernel_lies_on_top():
    twins = Roofline(peaks=(BF16,), memories=(HBM,), kernels=(GEMM, GEMM, NORM), selected=0)
    picture = roofline(twins, size=Size(width=100, height=20), style=Style())
    assert roles_of(picture, "highlight").startswith("G")


def test_no_ceilings_draw_one_sentence():
    empty = roofline(
        Roofline(peaks=(), memories=(HBM,)), size=Size(width=70, height=9), style=Style()
    )
    assert "No peak and bandwidth are known for this device." in str(empty)


@given(SIZES, STYLES, st.lists(st.tuples(ANY_FLOAT, ANY_FLOAT), max_size=5))
def test_any_data_fits_any_size(size, style, pairs):
    chart = Roofline(
        peaks=tuple(Peak(name="p", flop_per_s=value) for value, _ in pairs),
        memories=tuple(Memory(name="m", bytes_per_s=value) for _, value in pairs),
        kernels=tuple(
            KernelPoint(letter="K", name="k", intensity_flop_per_byte=x, flop_per_s=y)
            for x, y in pairs
        ),
    )
    check_picture(roofline(chart, size=size, style=style), size=size, style=style)


def test_a_click_finds_the_kernel_that_is_drawn_there():
    where = {"size": Size(width=40, height=12), "style": Style(markers="ascii")}
    rows = roofline(DEVICE, **where).rows
    for kernel in (GEMM, NORM):
        row = next(i for i, text in enumerate(rows[1:-3], 1) if kernel.glyph in text[6:])
        column = rows[row].index(kernel.glyph)
        assert kernel_at(DEVICE, cell=(row, column), **where) is kernel
        assert kernel_at(DEVICE, cell=(row, column + 1), **where) is kernel
    assert kernel_at(DEVICE, cell=(2, 10), **where) is None
    assert kernel_at(DEVICE, cell=(2, 10), size=Size(width=5, height=2), style=Style()) is None


@pytest.mark.parametrize("n_steps", [1, 2, 4])
def test_a_zoomed_roofline_keeps_its_selected_kernel_and_its_roofs(n_steps):
    chosen = replace(DEVICE, selected=0)
    window = WHOLE.zoomed(n_steps, about=place_of(chosen))
    picture = roofline(
        replace(chosen, window=window), size=Size(width=60, height=20), style=Style(markers="ascii")
    )
    drawn = "".join(picture.rows[1:-3])
    assert "G" in drawn
    assert n_steps > 1 or "bf16" in drawn
    check_picture(picture, size=Size(width=60, height=20), style=Style(markers="ascii"))
