"""Validation: how far are predictions from runs that others published?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from textual.app import ComposeResult, SystemCommand
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from tui.charts.frame import nothing
from tui.charts.picture import Style
from tui.charts.scatter import place_of, point_at, scatter
from tui.charts.window import WHOLE
from tui.compute import Compute
from tui.format import short
from tui.screens.run_text import run_lines, run_text, sheet_lines
from tui.screens.runs_screen import RunsScreen
from tui.screens.validation_sheet import (
    SORT_KEYS,
    Against,
    RunChart,
    chart_of,
    glyphs_of,
    table_columns,
)
from tui.screens.validation_text import group_head, group_rows, head_text, help_text, summary_text
from tui.screens.work_screen import bindings_of
from tui.state import Session
from tui.widgets.chart_pane import ChartPane
from tui.widgets.column_table import ColumnTable
from tui.widgets.filter_line import FilterLine
from tui.widgets.lines import ascii_text, plain
from tui.widgets.row_list import RowList
from twin.validation_view import (
    ALL,
    GROUPINGS,
    SIDES,
    Grouping,
    Side,
    errors_by,
    run_filter,
    shown_runs,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from twin.validation.predicted_run import PredictedRun

__all__ = ["ValidationScreen"]

EXAMPLE = "err>15 vendor:nvidia source:mlperf"
KEYS = " [ ] table  / filter  C group  L side  A axes  b groups  enter open  ? help"
TITLE = "Predicted against measured"
NO_RUNS = "No runs: the filter hides all, or none is there."
WIDE_COLUMNS, TALL_ROWS = 140, 32


class ValidationScreen(RunsScreen):
    """Scatter and errors by group, the list of runs, the run under the cursor."""

    ID = "validation"
    PANES = ("chart", "groups", "runs")
    BINDINGS = bindings_of("validation")

    def __init__(self, compute: Compute, session: Session, *, is_ascii: bool = False) -> None:
        super().__init__(compute, session, is_ascii=is_ascii)
        self.grouping: Grouping = GROUPINGS[0]
        self.side: Side = SIDES[0]
        self.against: Against = "times"
        self._mask: npt.NDArray[np.bool_] | None = None
        self._chart: RunChart | None = None
        self._run_id = ""
        """The run that the cursor was on, which it stays on when profiles are read again."""
        self._shows_groups = False

    def compose(self) -> ComposeResult:
        """Table, chart and groups, filter, runs, the run under the cursor."""
        style = Style(markers="ascii" if self.is_ascii else "braille")
        yield Static("", id="title", markup=False)
        yield Static("", id="device", markup=False)
        with Horizontal(id="validation-body"):
            with Vertical(id="validation-left"):
                yield ChartPane(id="chart", style=style, can_zoom=True)
                yield FilterLine(EXAMPLE)
                yield ColumnTable(id="runs", empty=NO_RUNS)
            with Vertical(id="validation-right"):
                yield Static("", id="group-head", markup=False)
                yield RowList(id="groups", empty=" No runs.", is_ascii=self.is_ascii)
                yield Static("", id="run-sheet", markup=False)
        yield Static("", id="run", markup=False)
        yield Static(KEYS, classes="keys", markup=False)

    def on_mount(self) -> None:
        """Begin with the table that was shown last, or the first one."""
        self.is_ready = True
        self.query_one(ColumnTable).focus()
        self.show_table(self.table or self.tables[0])

    def show_report(self) -> None:
        """Draw another report; a new table is ordered by the error that decides."""
        self.query_one("#chart", ChartPane).window = WHOLE
        table = self.query_one(ColumnTable)
        table.empty = "" if self.report is None else NO_RUNS
        table.show_columns(table_columns(self.runs, is_ascii=self.is_ascii))
        if table.sort_key is None:
            table.sort_by(SORT_KEYS[self.side], is_descending=True)
        places = {run.run_id: place for place, run in enumerate(self.runs)}
        if self._run_id in places:
            table.select(places[self._run_id])
        self._apply_filter(self.query_one(FilterLine).text)
        self._redraw()

    # -- drawing --------------------------------------------------------------------------------

    def _redraw(self) -> None:
        self._show_panes()
        name = self.table.name if self.table is not None else ""
        text = short(head_text(name, self.report, progress=self.progress), self.size.width or 80)
        self.query_one("#device", Static).update(self.drawn([[(text, "")]]), layout=False)
        self.draw_groups()
        self.draw_chart()
        self.draw_run()
        self._say_count()
        self.draw_title()

    def draw_chart(self) -> None:
        """Draw the runs that the filter lets through."""
        pane = self.query_one("#chart", ChartPane)
        table = self.query_one(ColumnTable)
        if self.report is None:
            words = self.progress or "No table is open."
            self._chart = None
            draw = partial(nothing, words, title=TITLE)
            pane.show(lambda size, style: draw(size=size, style=style), [[(f" {words}", "")]])
            return
        chart = chart_of(
            self.runs,
            np.sort(table.row_ids),
            grouping=self.grouping,
            side=self.side,
            against=self.against,
            selected=table.selected_id,
        )
        self._chart = chart
        pane.show(
            lambda size, style: scatter(
                replace(chart.scatter, window=pane.window), size=size, style=style
            ),
            [row.line for row in self.query_one("#groups", RowList).rows],
        )

    def draw_groups(self) -> None:
        """Draw the errors by group of the runs that the filter lets through."""
        width = max(self.query_one("#groups").size.width, 72)
        head = group_head(self.grouping.name, self.side, width=width)
        self.query_one("#group-head", Static).update(self.drawn(head), layout=False)
        rows = np.sort(self.query_one(ColumnTable).row_ids).tolist() if self.runs else []
        shown = [self.runs[row] for row in rows]
        glyphs = glyphs_of(shown, grouping=self.grouping)
        found = group_rows(errors_by(shown, self.grouping), glyphs)
        self.query_one("#groups", RowList).show_rows(found)

    def draw_run(self) -> None:
        """Draw the run under the cursor."""
        width = self.size.width or 80
        lines = run_lines(self.run, width=width)
        self.query_one("#run", Static).update(self.drawn(lines), layout=False)
        pane = self.query_one("#run-sheet", Static)
        if pane.display:
            size = pane.size
            lines = sheet_lines(self.run, width=size.width or 76, height=size.height or 24)
            pane.update(self.drawn(lines), layout=False)

    @property
    def run(self) -> PredictedRun | None:
        """The run under the cursor."""
        row = self.query_one(ColumnTable).selected_id
        return self.runs[row] if row is not None and row < len(self.runs) else None

    def status(self) -> str:
        """What is being predicted."""
        return "predicting …" if self.report is None and self.progress else ""

    def _say_count(self) -> None:
        line = self.query_one(FilterLine)
        problem = run_filter(line.text).problem
        n_shown = len(self.query_one(ColumnTable).row_ids) if self.runs else 0
        counted = f"{n_shown:,} of {len(self.runs):,} runs" if self.report is not None else ""
        words = problem or counted
        line.say(words, is_problem=problem is not None)

    def on_column_table_row_selected(self) -> None:
        """Follow the cursor; a part of the chart moves to where the run is."""
        self._run_id = self.run.run_id if self.run is not None else ""
        self.draw_chart()
        pane = self.query_one("#chart", ChartPane)
        if self._chart is not None and not pane.window.is_whole:
            pane.follow(place_of(self._chart.scatter))
        self.draw_run()

    def on_chart_pane_point_asked(self, message: ChartPane.PointAsked) -> None:
        """Go to the next run to the left or right, by measured time."""
        table = self.query_one(ColumnTable)
        rows = table.row_ids
        if not self.runs or not len(rows):
            return
        measured = np.array([self.runs[row].measured_step_time_s for row in rows.tolist()])
        order = rows[np.argsort(measured, kind="stable")]
        found = np.flatnonzero(order == table.selected_id)
        place = int(found[0]) + message.step if len(found) else 0
        table.select(int(order[min(max(place, 0), len(order) - 1)]))

    def on_chart_pane_cell_clicked(self, message: ChartPane.CellClicked) -> None:
        """Select the run whose dot was clicked."""
        chart = self._chart
        if chart is None:
            return
        pane = message.pane
        place = point_at(
            replace(chart.scatter, window=pane.window),
            cell=message.cell,
            size=message.size,
            style=pane.chart_style,
        )
        if place is not None:
            self.query_one(ColumnTable).select(int(chart.rows[place]))

    def on_resize(self) -> None:
        """A wide terminal shows chart, groups and the whole run together."""
        super().on_resize()
        if self.is_ready:
            self._show_panes()
            self.call_after_refresh(self._redraw)

    def _show_panes(self) -> None:
        is_wide = (self.size.width or 80) >= WIDE_COLUMNS
        is_tall = (self.size.height or 24) >= TALL_ROWS
        self.query_one("#validation-right").display = is_wide or self._shows_groups
        self.query_one("#validation-left").display = is_wide or not self._shows_groups
        self.query_one("#run-sheet").display = is_wide and is_tall
        self.query_one("#run").display = not (is_wide and is_tall)

    # -- filtering ------------------------------------------------------------------------------

    def action_find(self) -> None:
        """Type a filter."""
        if self._shows_groups and not self.query_one("#validation-left").display:
            self.action_basis()
        self.query_one(FilterLine).begin(self.focused)

    def on_filter_line_changed(self, message: FilterLine.Changed) -> None:
        """Narrow chart, groups and runs as the filter is typed."""
        self._apply_filter(message.text)
        self.draw_groups()
        self.draw_chart()
        self.draw_run()
        self._say_count()

    def _apply_filter(self, text: str) -> None:
        if not self.runs:
            return
        wanted = run_filter(text)
        found = shown_runs(self.runs, wanted, side=self.side)
        self._mask = np.array(found, dtype=np.bool_) if wanted.terms else None
        table = self.query_one(ColumnTable)
        table.filter_rows(self._mask)
        row = table.selected_id
        is_hidden = row is None or (self._mask is not None and not self._mask[row])
        if is_hidden and len(table.row_ids):
            # What is shown in full follows the filter, as in any finder.
            table.select(int(table.row_ids[0]))

    def action_find_next(self, step: int) -> None:
        """The next or previous run that the filter lets through."""
        self.query_one(ColumnTable).action_move(step)

    def action_back(self) -> None:
        """Leave a maximised pane, else the groups, else show all runs again."""
        if self.maximized is not None:
            self.minimize()
        elif self._shows_groups:
            self.action_basis()
        elif self.query_one(FilterLine).text:
            self.query_one(FilterLine).put("")
        else:
            self.action_whole()

    # -- looking --------------------------------------------------------------------------------

    def action_group(self) -> None:
        """Colour the chart and group the errors by the next thing."""
        place = GROUPINGS.index(self.grouping)
        self.group_by(GROUPINGS[(place + 1) % len(GROUPINGS)])

    def group_by(self, grouping: Grouping) -> None:
        """Colour the chart and group the errors by one thing."""
        self.grouping = grouping
        self.draw_groups()
        self.draw_chart()

    def action_side(self) -> None:
        """Left out or in-sample: the chart, and what a bare error of a filter means."""
        table = self.query_one(ColumnTable)
        is_by_error = table.sort_key == SORT_KEYS[self.side]
        self.side = SIDES[1 - SIDES.index(self.side)]
        if is_by_error:
            table.sort_by(SORT_KEYS[self.side], is_descending=table.is_descending)
        self._apply_filter(self.query_one(FilterLine).text)
        self._redraw()
        self.say(f"shown: {self.side}" + (", which decides" if self.side == SIDES[0] else ""))

    def action_axes(self) -> None:
        """Predicted times or their errors over measured times."""
        self.against = "errors" if self.against == "times" else "times"
        self.query_one("#chart", ChartPane).window = WHOLE
        self.draw_chart()

    def action_step(self, step: int) -> None:
        """Closer to the chart or farther, about the run under the cursor."""
        place = place_of(self._chart.scatter) if self._chart is not None else None
        self.query_one("#chart", ChartPane).zoom(step, about=place)

    def action_whole(self) -> None:
        """The whole chart again."""
        self.query_one("#chart", ChartPane).show_window(WHOLE)

    def action_basis(self) -> None:
        """Show the errors by group, and back."""
        self._shows_groups = not self._shows_groups
        self._show_panes()
        self.query_one("#groups" if self._shows_groups else "#runs").focus()
        self.call_after_refresh(self._redraw)

    def action_toggle_table(self) -> None:
        """The chart as a table and back."""
        pane = self.query_one("#chart", ChartPane)
        pane.as_table = not pane.as_table

    def on_column_table_row_opened(self) -> None:
        """Show the run in full."""
        self.action_why()

    def action_enter(self) -> None:
        """Show only the runs of the group under the cursor; elsewhere the run in full."""
        groups = self.query_one("#groups", RowList)
        if self.focused is not groups:
            self.action_why()
            return
        if groups.key is None:
            return
        term = "" if groups.key == ALL else f'{self.grouping.name}="{groups.key}"'
        self.query_one(FilterLine).put(term)

    def action_why(self) -> None:
        """The run under the cursor in full; on the groups, the whole report in words."""
        if self.focused is self.query_one("#groups") and self.report is not None:
            name = self.table.name if self.table is not None else ""
            self._show(f"predictions of {name}", summary_text(self.report))
        elif self.run is not None:
            self._show("a published run and its prediction", run_text(self.run))

    def _show(self, title: str, text: str) -> None:
        self.show_text(title, ascii_text(text) if self.is_ascii else text)

    # -- copying --------------------------------------------------------------------------------

    def action_copy_value(self) -> None:
        """Copy the run under the cursor in words."""
        if self.run is not None:
            self.copied(plain(run_lines(self.run, width=10_000)).strip(), "the run")

    def action_help(self) -> None:
        """Keys, columns, filters."""
        self.show_text("Validation: keys", help_text())

    def palette_commands(self) -> Iterator[SystemCommand]:
        """Tables and groupings."""
        for table in self.tables:
            show = partial(self.show_table, table)
            yield SystemCommand(f"runs of {table.name}", "predicted against measured", show)
        for grouping in GROUPINGS:
            show = partial(self.group_by, grouping)
            yield SystemCommand(f"group runs by {grouping.name}", "errors and colours", show)
