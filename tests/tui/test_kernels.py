"""Kernels: devices, rows as they come, filters, predicted against measured, opened tables."""

from __future__ import annotations

import csv
import threading
from dataclasses import replace

import numpy as np
import pytest

from tests.tui.fake_shelf import BASES, FIT, ROOFS, layer_rows, measured_rows
from tests.tui.test_compose import settled
from tests.tui.test_screens import rested
from tui.charts.picture import Size, Style
from tui.charts.roofline import roofline
from tui.screens.family import FamilyScreen, error_bars
from tui.screens.kernel_sheet import chart_of, sheet_of, table_columns
from tui.screens.kernels_text import basis_head, basis_rows, microseconds
from tui.screens.opened_files import OpenedFiles
from tui.widgets.chart_pane import ChartPane
from tui.widgets.column_table import ColumnTable
from tui.widgets.lines import plain
from tui.widgets.row_list import RowList
from twin.kernel_bases import KernelBases
from twin.kernel_columns import concatenated

SIZE = (80, 24)


@pytest.fixture
async def opened(app):
    """The app on its Kernels, and a pilot."""
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await pilot.press("7")
        await rested(pilot)
        yield app.screen, pilot


def table_of(screen):
    return screen.query_one(ColumnTable)


def text_of(screen, name):
    return str(screen.query_one(name).render())


async def test_layers_and_own_measurements_of_the_scenarios_device(opened):
    screen, _ = opened
    assert screen.device == "alpha-80"
    assert screen.focused is table_of(screen)
    assert table_of(screen).n_rows == 11
    assert "measured by us 2026-11-26" in text_of(screen, "#device") or "…" in text_of(
        screen, "#device"
    )
    assert "qkv" in text_of(screen, "#kernel")


async def test_brackets_go_through_devices_and_one_without_figures_says_so(opened):
    screen, pilot = opened
    await pilot.press("right_square_bracket")
    await rested(pilot)
    assert screen.device == "beta-192"
    assert table_of(screen).n_rows == 5
    await pilot.press("right_square_bracket")
    await rested(pilot)
    assert screen.device == "gamma-next"
    assert "lacks power.tdp_w" in text_of(screen, "#roofline")
    assert table_of(screen).n_rows == 0
    await pilot.press("left_square_bracket", "left_square_bracket")
    await rested(pilot)
    assert screen.device == "alpha-80"
    assert screen.focused is table_of(screen)


async def test_the_chart_names_the_kernel_under_the_cursor(opened):
    screen, pilot = opened
    await pilot.press("j")
    assert "mlp up 8192 x 4096 x 4096" in text_of(screen, "#roofline")
    assert "mlp up" in text_of(screen, "#kernel")


async def test_what_is_not_fitted_is_small_and_says_on_what_it_rests(fake):
    sheet = sheet_of(layer_rows(), BASES)
    chart = chart_of(sheet, None, roofs=ROOFS, selected=0)
    picture = roofline(chart, size=Size(width=150, height=24), style=Style())
    words = picture.rows[-1]
    assert "G qkv 4096 x 4096 x 4096" in words
    assert "a attention (inherited from hopper)" in words
    assert "c collective (datasheet only)" in words
    assert "C" not in "".join(picture.rows[1:-3])


def test_products_rest_on_the_fit_of_their_own_dtype():
    inherited = replace(FIT, basis="inherited", origin="ampere", n_samples=None)
    bases = KernelBases(fits=(replace(FIT, variant="fp32"), inherited), step_attention="")
    sheet = sheet_of(layer_rows(), bases)
    chart = chart_of(sheet, None, roofs=ROOFS, selected=0)
    picture = roofline(chart, size=Size(width=150, height=24), style=Style())
    assert "g gemm (inherited from ampere)" in picture.rows[-1]
    assert sheet.fit(0) is inherited


async def test_the_lines_below_and_the_sheet_cite_the_fit_of_the_row(opened, fake):
    screen, pilot = opened
    fits = (FIT, replace(FIT, variant="bf16 vllm", median_fraction=0.123, date="2025-01-02"))
    bases = KernelBases(fits=fits, step_attention="")
    fake.kernel_view.bases = lambda device: bases
    rows = measured_rows()
    vllm = replace(
        rows, texts={**rows.texts, "library": ("vllm-0.24.0:torch.nn.functional.linear",)}
    )
    screen.show_device("alpha-80")
    await rested(pilot)
    screen.post_message(screen.Loaded(screen._version, "", sheet_of(vllm, bases)))
    await rested(pilot)
    assert "gemm bf16 vllm: fitted on this device, held-out median 12.3 %" in text_of(
        screen, "#kernel"
    )
    await pilot.press("enter")
    await pilot.pause()
    assert "gemm bf16 vllm" in text_of(screen.app.screen, "#family-source")


def test_many_kernels_are_counted_by_letter():
    sheet = sheet_of(concatenated([measured_rows(400), layer_rows()]), BASES)
    chart = chart_of(sheet, None, roofs=ROOFS, selected=None)
    picture = roofline(chart, size=Size(width=150, height=24), style=Style())
    assert "G gemm 402" in picture.rows[-1]
    assert "a attention 1, inherited from hopper" in picture.rows[-1]


async def test_a_filter_narrows_table_and_chart(opened):
    screen, pilot = opened
    await pilot.press("slash", *"gemm err<-5", "enter")
    await pilot.pause()
    assert screen.focused is table_of(screen)
    assert [int(row) for row in table_of(screen).row_ids] == [7, 8, 9, 10]
    assert screen.point.error_fraction < -0.05
    assert "4 of 11 kernels" in text_of(screen, "#filter-words")
    await pilot.press("escape")
    await pilot.pause()
    assert len(table_of(screen).row_ids) == 11


async def test_enter_shows_predicted_against_measured(opened):
    screen, pilot = opened
    await pilot.press("enter")
    await pilot.pause()
    family = screen.app.screen
    assert isinstance(family, FamilyScreen)
    said = text_of(family, "#family-errors")
    assert "set aside" in said
    assert "median" in said
    assert "driver 1" in text_of(family, "#family-source")
    assert "3000 samples" in text_of(family, "#family-source")
    assert "6 points" in text_of(family, "#family-scatter")
    await pilot.press("Y")
    assert family.app.clipboard.startswith("family\tshape\tmeasured_s")
    await pilot.press("escape")
    assert screen.app.screen is screen


async def test_enter_says_when_nobody_measured_it(opened):
    screen, pilot = opened
    await pilot.press("slash", *"collective", "enter", "enter")
    await pilot.pause()
    assert screen.app.screen is screen
    assert "nobody measured" in text_of(screen, "#title")


async def test_basis_shows_the_quality_of_each_fit(opened):
    screen, pilot = opened
    await pilot.press("b")
    await rested(pilot)
    basis = screen.query_one("#basis", RowList)
    assert screen.focused is basis
    assert "gemm bf16" in basis.text()
    assert "3.9" in basis.text()
    assert "600 set aside" in text_of(screen, "#kernel")
    await pilot.press("j")
    assert "inherited from hopper" in text_of(screen, "#kernel")
    await pilot.press("b")
    assert screen.focused is table_of(screen)


@pytest.mark.parametrize("width", [64, 78, 80, 100, 120])
def test_fits_are_told_apart_at_any_width(width):
    libraries = ("vllm-flashinfer", "vllm-flashinfer-decode", "sglang-trtllm-mha")
    variants = [f"{name} {direction}" for name in libraries for direction in ("fwd", "bwd")]
    fits = [replace(FIT, family="attention", variant=variant) for variant in variants]
    rows = [plain([row.line]) for row in basis_rows(fits, width=width)]
    assert len({row.split("◆")[0] for row in rows}) == len(fits)
    assert all(len(row) <= width for row in rows)
    head = plain([basis_head(fits, width)])
    assert head.index("samples") + len("samples") == rows[0].index("3000") + len("3000")
    assert "sprd" in head
    if width > 64:
        assert all(f"attention {one} " in row for one, row in zip(variants, rows, strict=True))
    if width > 80:
        assert all("  fitted on this" in row for row in rows)
    if width > 100:
        assert all("2026-11-26  fitted on this device" in row for row in rows)


async def test_the_calibration_is_drawn_for_its_own_width(app):
    async with app.run_test(size=(160, 48)) as pilot:
        await settled(pilot)
        await pilot.press("7")
        await rested(pilot)
        basis = app.screen.query_one("#basis", RowList)
        assert basis.rows
        assert all(len(plain([row.line])) <= basis.size.width for row in basis.rows)


async def test_an_opened_table_adds_rows_and_a_wrong_one_is_said(opened, tmp_path):
    screen, pilot = opened
    await pilot.press("O")
    screen.app.screen.query_one("#ask").value = str(tmp_path / "mine.csv")
    await pilot.press("enter")
    await rested(pilot)
    assert table_of(screen).n_rows == 17
    assert screen.progress == ""
    screen.open_table(str(tmp_path / "absent.csv"))
    await rested(pilot)
    assert table_of(screen).n_rows == 17
    assert any("no such file" in str(one.message) for one in screen.app._notifications)
    assert [path.name for path in screen.opened.paths] == ["mine.csv"]


async def test_opening_what_is_loaded_does_not_double_it(opened, tmp_path):
    screen, pilot = opened
    assert table_of(screen).n_rows == 5 + 6
    screen.open_table("/own")
    await rested(pilot)
    assert table_of(screen).n_rows == 5 + 6
    assert "own: 6 kernels of alpha-80" in text_of(screen, "#title")
    for name in ("mine.csv", "folder/../mine.csv"):
        screen.open_table(str(tmp_path / name))
        await rested(pilot)
        assert table_of(screen).n_rows == 5 + 6 + 6
    assert [path.name for path in screen.opened.paths] == ["own", "mine.csv"]


def test_a_file_is_read_once_however_it_was_opened(tmp_path):
    folder, other = tmp_path / "survey", tmp_path / "other.csv"
    opened = OpenedFiles()
    opened.add([folder / "gemm.csv", other])
    assert opened.to_read(folder) == [
        (folder, frozenset({folder / "gemm.csv", other})),
        (folder / "gemm.csv", frozenset()),
        (other, frozenset({folder / "gemm.csv"})),
    ]
    opened.add([folder])
    assert [path for path, _ in opened.to_read(folder)] == [folder / "gemm.csv", other, folder]
    # A file of a folder that is open is read again with it.
    opened.rows["alpha-80", folder] = measured_rows()
    opened.add([folder / "attention.csv"])
    assert opened.paths == [folder / "gemm.csv", other, folder]
    assert not opened.rows


async def test_a_report_of_another_device_shows_that_device_and_only_once(opened, tmp_path):
    screen, pilot = opened
    screen.open_table(str(tmp_path / "beta.json"))
    await rested(pilot)
    assert screen.device == "beta-192"
    assert table_of(screen).n_rows == 5 + 6
    assert "beta.json: 6 kernels of beta-192" in text_of(screen, "#title")
    await pilot.press("left_square_bracket")
    await rested(pilot)
    assert screen.device == "alpha-80"
    await pilot.press("exclamation_mark")
    command = screen.app.clipboard
    assert command == f"twin roofline --device alpha-80 --from {tmp_path / 'beta.json'}"


async def test_esc_stops_reading_and_what_was_read_stays(opened, fake, tmp_path):
    screen, pilot = opened
    read = fake.kernel_view.measured
    may_go_on = threading.Event()

    def measured(device, path, *, elsewhere):
        for progress in read(device, path):
            yield progress
            may_go_on.wait(5.0)

    fake.kernel_view.measured = measured
    screen.open_table(str(tmp_path / "long.csv"))
    await pilot.pause(0.2)
    assert "long.csv" in screen.progress
    await pilot.press("escape")
    may_go_on.set()
    await rested(pilot)
    assert screen.progress == ""
    assert table_of(screen).n_rows == 5 + 6 + 6
    assert screen.focused is table_of(screen)


async def test_rows_of_another_device_are_dropped(opened):
    screen, pilot = opened
    old = screen._version
    await pilot.press("right_square_bracket")
    await rested(pilot)
    screen.post_message(screen.Loaded(old, "", sheet_of(measured_rows(40), BASES)))
    await pilot.pause()
    assert table_of(screen).n_rows == 5


async def test_t_shows_the_roofs_as_a_table(opened):
    screen, pilot = opened
    await pilot.press("t")
    await pilot.pause()
    said = text_of(screen, "#roofline")
    assert "4 TB/s" in said
    assert "□" in said
    await pilot.press("t")
    assert not screen.query_one(ChartPane).as_table


async def test_focus_never_moves_by_itself(opened):
    screen, pilot = opened
    for key in ("j", "o", "t", "t", "r", "y", "Y", "n", "N", "right_square_bracket", "escape"):
        await pilot.press(key)
        await rested(pilot)
        assert screen.focused is table_of(screen), key


async def test_left_and_right_on_the_chart_go_by_intensity(opened):
    screen, pilot = opened
    screen.query_one("#roofline").focus()
    table_of(screen).select(3)
    seen = []
    for _ in range(4):
        await pilot.press("l")
        await pilot.pause()
        seen.append(screen.sheet.intensity[table_of(screen).selected_id])
    assert seen == sorted(seen)


async def test_copying_exports_and_the_command(opened, tmp_path):
    screen, pilot = opened
    await pilot.press("Y")
    assert screen.app.clipboard.startswith("family\tname\tshape")
    await pilot.press("exclamation_mark")
    assert screen.app.clipboard == "twin roofline --device alpha-80"
    await pilot.press("escape", "E")
    screen.app.screen.query_one("#ask").value = str(tmp_path / "rows.csv")
    await pilot.press("enter")
    await pilot.pause()
    with (tmp_path / "rows.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 11
    assert rows[0]["shape"] == "4096 x 4096 x 4096"


async def test_a_click_on_a_letter_selects_its_kernel(opened):
    screen, pilot = opened
    pane = screen.query_one("#roofline", ChartPane)
    row = next(i for i, text in enumerate(pane.picture.rows[1:-3], 1) if "c" in text[8:-6])
    column = pane.picture.rows[row].index("c", 8)
    await pilot.click(pane, offset=(column, row))
    await pilot.pause()
    assert screen.point.family == "collective"
    assert screen.focused is pane


async def test_plus_zooms_arrows_pan_and_zero_shows_all(opened):
    screen, pilot = opened
    pane = screen.query_one("#roofline", ChartPane)
    await pilot.press("plus", "plus")
    await pilot.pause()
    assert not pane.window.is_whole
    assert "highlight" in {span.role for span in pane.picture.spans}
    before = pane.window
    pane.focus()
    await pilot.press("up")
    assert pane.window.low > before.low
    await pilot.press("down")
    assert pane.window == before
    await pilot.press("minus", "minus")
    assert pane.window.is_whole
    await pilot.press("plus", "0")
    assert pane.window.is_whole


async def test_another_device_is_shown_whole(opened):
    screen, pilot = opened
    await pilot.press("plus", "right_square_bracket")
    await rested(pilot)
    assert screen.query_one("#roofline", ChartPane).window.is_whole


def test_bars_count_every_row():
    lines = error_bars(np.array([-0.9, -0.04, 0.0, 0.0, 0.04, 2.0]), bin_percent=10, n_bins=7)
    text = plain(lines)
    assert "< -30 ###### 1" in text
    assert sum(int(line.rsplit(" ", 1)[1]) for line in text.splitlines()[1:]) == 6


@pytest.mark.parametrize(
    ("value_s", "text"),
    [(1.5e-6, "1.50"), (1.234e-3, "1234.0"), (0.0345, "34500"), (278.4, "278.4 s"), (np.nan, "—")],
)
def test_times_fit_their_column(value_s, text):
    assert microseconds(value_s) == text


def test_tables_in_ascii_are_ascii():
    for column in table_columns(sheet_of(layer_rows(), BASES), is_ascii=True):
        assert column.header.isascii()
        assert all(column.shown(value).isascii() for value in column.values)
