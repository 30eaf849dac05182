"""Predicted against measured over the shapes of one family, dtype and library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.charts.axes import Axis
from tui.charts.picture import Picture, Size, Style
from tui.charts.scatter import Scatter, scatter
from tui.format import fixed, short
from tui.screens.kernels_text import fit_lines, microseconds, signed_percent
from tui.widgets.chart_pane import ChartPane
from tui.widgets.lines import Line, content
from tui.widgets.row_list import ListRow, RowList
from twin.kernel_columns import FAMILIES, KernelColumns, shape_text

if TYPE_CHECKING:
    from twin.calibration_view import FitRow
    from twin.kernel_columns import KernelPoint

__all__ = ["FamilyScreen", "error_bars", "error_words"]

MEASURED = Axis(name="measured", unit="s", is_log=True)
ERROR = Axis(name="error", unit="%", has_si_prefix=False)
PERCENT = 100.0
GROUPS = ("fitted shapes", "set aside")
SHORT_BARS, TALL_BARS = (10, 7), (5, 13)
"""Percent of a bar of the histogram and number of bars, on short and on tall terminals: from -30 %
to 30 %, what lies beyond stands in the outermost."""
TALL_ROWS = 32
BAR_WIDTH = 24
GOOD_PERCENT = 10
"""Errors up to this are drawn in the first colour. [%]"""
FAR_ROWS = 200
"""Rows of the list, those with the largest errors first. [1]"""


def error_bars(error: npt.NDArray[np.float64], *, bin_percent: int, n_bins: int) -> list[Line]:
    """How the errors are spread, as bars."""
    half = n_bins // 2
    edges = (np.arange(n_bins - 1) - half + 0.5) * bin_percent / PERCENT
    counts = np.bincount(np.searchsorted(edges, error), minlength=n_bins)
    most = max(int(counts.max()), 1)
    lines: list[Line] = [[(" error, % of measured", "bold")]]
    for place, count in enumerate(counts.tolist()):
        middle = (place - half) * bin_percent
        label = f"{middle:+d}" if middle else "0"
        label = f"< {label}" if place == 0 else f"> {label}" if place == n_bins - 1 else label
        bar = "#" * round(BAR_WIDTH * count / most)
        tone = "$primary" if abs(middle) <= GOOD_PERCENT else "$secondary"
        lines.append(
            [(fixed(label, 7, align="right"), "dim"), (f" {bar}", tone), (f" {count}", "")]
        )
    return lines


def error_words(columns: KernelColumns) -> list[Line]:
    """Median, mean and ninetieth percentile of the errors, apart for shapes set aside."""
    error = np.abs(columns.error_fraction)
    lines: list[Line] = [[(" absolute error, %      n  median   mean    p90", "bold")]]
    for name, mask in (
        ("all", np.ones(len(error), dtype=np.bool_)),
        ("set aside", columns.is_heldout),
    ):
        found = error[mask]
        if not len(found):
            lines.append([(fixed(f" {name}", 17) + "none: no shape of these was set aside", "dim")])
            continue
        values = [np.median(found), found.mean(), np.percentile(found, 90)]
        numbers = "".join(f"{100 * value:8.1f}" for value in values)
        lines.append([(fixed(f" {name}", 17), ""), (f"{len(found):7d}{numbers}", "bold")])
    bias = float(np.median(columns.error_fraction))
    slow = "too slow" if bias > 0 else "too fast"
    lines.append([(f" median with its sign {signed_percent(bias)}: {slow}", "dim")])
    return lines


class FamilyScreen(ModalScreen[None]):
    """Scatter, histogram, errors, and the shapes that are predicted worst."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "back"),
        Binding("t", "toggle_table", "chart as a table"),
        Binding("Y", "copy_table", "copy"),
    ]

    def __init__(
        self,
        columns: KernelColumns,
        point: KernelPoint,
        *,
        fit: FitRow | None,
        measured: str,
        is_ascii: bool = False,
    ) -> None:
        super().__init__(id="family-screen")
        self._columns = columns
        self._point = point
        self._fit = fit
        self._measured = measured
        self._style = Style(markers="ascii" if is_ascii else "braille")

    def compose(self) -> ComposeResult:
        """Title, charts, list of shapes, source, keys."""
        yield Static("", id="family-title", markup=False)
        with Horizontal(id="family-top"):
            yield ChartPane(id="family-scatter", style=self._style)
            yield Static("", id="family-errors", markup=False)
        yield RowList(id="family-rows", is_ascii=self._style.markers == "ascii")
        yield Static("", id="family-source", markup=False)
        keys = " tab pane   t chart as a table   Y copy all rows   esc back"
        yield Static(keys, id="family-keys", markup=False)

    def on_mount(self) -> None:
        """Draw; the list has focus."""
        point = self._point
        title = f" {point.family} {point.dtype} {point.library}: predicted against measured"
        self.query_one("#family-title", Static).update(title)
        pane = self.query_one("#family-scatter", ChartPane)
        pane.show(self._scatter, [row.line for row in self._rows()])
        rows = self.query_one(RowList)
        rows.show_rows(self._rows())
        rows.focus()
        self._draw_words()

    def on_resize(self) -> None:
        """Words and bars follow the size."""
        if self.query("#family-source"):
            self._draw_words()

    def _scatter(self, size: Size, style: Style) -> Picture:
        columns = self._columns
        chart = Scatter(
            x=MEASURED,
            y=ERROR,
            x_values=columns.measured_s,
            y_values=PERCENT * columns.error_fraction,
            groups=columns.is_heldout.astype(np.int64),
            group_names=GROUPS,
        )
        return scatter(chart, size=size, style=style)

    def _rows(self) -> list[ListRow]:
        """The shapes that are predicted worst, first."""
        columns = self._columns
        error = columns.error_fraction
        order = np.argsort(-np.abs(error), kind="stable")[:FAR_ROWS]
        head = f" {'kernel':<16}{'shape':<26}{'measured µs':>12}{'predicted µs':>13}{'error %':>9}"
        rows = [ListRow(key="head", line=[(head, "$text-muted bold")], is_heading=True)]
        for row in order.tolist():
            shape = shape_text(int(columns.family[row]), columns.sizes[row])
            aside = "  set aside" if columns.is_heldout[row] else ""
            name = " ".join((columns.text("name", row), columns.text("direction", row)))
            line = (
                f" {short(name, 15):<16}{short(shape, 25):<26}"
                f"{microseconds(float(columns.measured_s[row])):>12}"
                f"{microseconds(float(columns.predicted_s[row])):>13}"
                f"{signed_percent(float(error[row])):>9}{aside}   {columns.text('origin', row)}"
            )
            rows.append(ListRow(key=row, line=[(line, "")]))
        left = len(columns) - len(order)
        if left > 0:
            words = f" {left} more with smaller errors: Y copies all"
            rows.append(ListRow(key="more", line=[(words, "dim")], is_heading=True))
        return rows

    def _draw_words(self) -> None:
        """Errors in numbers and bars, when and where it was measured, and what was fitted."""
        width = self.size.width or 80
        is_tall = (self.size.height or 24) >= TALL_ROWS
        bin_percent, n_bins = TALL_BARS if is_tall else SHORT_BARS
        errors = [
            *error_words(self._columns),
            *error_bars(self._columns.error_fraction, bin_percent=bin_percent, n_bins=n_bins),
        ]
        self.query_one("#family-errors", Static).update(self._drawn(errors))
        lines: list[Line] = []
        if self._measured:
            lines.append([(short(f" measured: {self._measured}", width), "")])
        if self._fit is not None:
            lines += fit_lines(self._fit, width=width, n_lines=2, hint="…")
        self.query_one("#family-source", Static).update(self._drawn(lines))

    def _drawn(self, lines: Sequence[Line]) -> Content:
        return content(lines, is_ascii=self._style.markers == "ascii")

    def action_toggle_table(self) -> None:
        """The scatter as a table and back."""
        pane = self.query_one(ChartPane)
        pane.as_table = not pane.as_table

    def action_copy_table(self) -> None:
        """Copy every row, in base units."""
        columns = self._columns
        rows = ["family\tshape\tmeasured_s\tpredicted_s\tset_aside"]
        for row in range(len(columns)):
            shape = shape_text(int(columns.family[row]), columns.sizes[row])
            times = f"{columns.measured_s[row]!r}\t{columns.predicted_s[row]!r}"
            family = FAMILIES[int(columns.family[row])]
            rows.append(f"{family}\t{shape}\t{times}\t{bool(columns.is_heldout[row])}")
        self.app.copy_to_clipboard("\n".join(rows))
        self.notify("copied as tab-separated text")

    def action_close(self) -> None:
        """Back to the kernels."""
        self.dismiss(None)
