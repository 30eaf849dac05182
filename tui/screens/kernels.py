"""Kernels: how far are kernels from the roofline, and how good is the calibration?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from textual.app import ComposeResult, SystemCommand
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Static
from textual.worker import get_current_worker

from hardware_profiles.errors import TweelingError
from tui.charts.frame import nothing
from tui.charts.picture import Style
from tui.charts.roofline import Roofline, kernel_at, place_of, roofline
from tui.charts.window import WHOLE
from tui.compute import Compute
from tui.export import ExportError, export_rows
from tui.screens.family import FamilyScreen
from tui.screens.kernel_sheet import KernelSheet, chart_of, sheet_of, table_columns
from tui.screens.kernels_text import (
    basis_head,
    basis_rows,
    device_text,
    fit_lines,
    help_text,
    kernel_lines,
    progress_text,
    roof_lines,
)
from tui.screens.opened_files import OpenedFiles
from tui.screens.work_screen import WorkScreen, bindings_of
from tui.state import Session
from tui.widgets.chart_pane import ChartPane
from tui.widgets.column_table import ColumnTable
from tui.widgets.dialogs import AskScreen
from tui.widgets.filter_line import FilterLine
from tui.widgets.lines import content, plain
from tui.widgets.row_list import RowList
from twin.kernel_bases import NO_BASES
from twin.kernel_columns import FAMILIES, concatenated, kernel_filter, mask_of
from twin.roofline_command import roofline_command

if TYPE_CHECKING:
    import numpy.typing as npt

    from kernels.own_measurements import Measured
    from twin.calibration_view import FitRow
    from twin.kernel_columns import KernelColumns, KernelPoint
    from twin.roofline import DeviceRoofs

__all__ = ["KernelsScreen"]

EXAMPLE = "gemm bf16 err>10 m>4096 -from:gpt"
KEYS = " [ ] device  / filter  enter against measured  b basis  t table  O open  ? help"
POST_EVERY_S = 0.1
"""Least time between two messages of a reader. [s]"""
N_LINES = 3
"""Lines on the kernel under the cursor. [1]"""
EXPORTED_ROWS = 100_000
"""Rows of one export at most. [1]"""
WIDE_COLUMNS = 140


class KernelsScreen(WorkScreen):
    """Roofline and calibration above, the table of kernels below."""

    ID = "kernels"
    PANES = ("roofline", "basis", "kernels")
    BINDINGS = bindings_of("kernels")

    class Loaded(Message):
        """Rows are there, or how far a table was read."""

        def __init__(self, version: int, words: str, sheet: KernelSheet | None = None) -> None:
            super().__init__()
            self.version = version
            self.words = words
            self.sheet = sheet

    class HeldElsewhere(Message):
        """A table that was opened holds kernels of other devices than the one shown."""

        def __init__(self, version: int, path: Path, devices: tuple[str, ...]) -> None:
            super().__init__()
            self.version = version
            self.path = path
            self.devices = devices

    class Refused(Message):
        """A table cannot be read."""

        def __init__(self, version: int, words: str) -> None:
            super().__init__()
            self.version = version
            self.words = words

    def __init__(self, compute: Compute, session: Session, *, is_ascii: bool = False) -> None:
        super().__init__(compute, session, is_ascii=is_ascii)
        self.device = ""
        self.sheet: KernelSheet | None = None
        self.opened = OpenedFiles()
        self.progress = ""
        """How far a table was read; empty when nothing is read."""
        self._chart: Roofline | None = None
        self._roofs: DeviceRoofs | None = None
        self._bases = NO_BASES
        self._own: Measured | None = None
        self._version = 0
        self._mask: npt.NDArray[np.bool_] | None = None
        self._shows_basis = False

    def compose(self) -> ComposeResult:
        """Device, chart and calibration, filter, table, the kernel under the cursor."""
        style = Style(markers="ascii" if self.is_ascii else "braille")
        yield Static("", id="title", markup=False)
        yield Static("", id="device", markup=False)
        with Horizontal(id="top"):
            yield ChartPane(id="roofline", style=style, can_zoom=True)
            with Vertical(id="basis-side"):
                yield Static("", id="basis-head", markup=False)
                empty = " Nothing is known of this device's kernels."
                yield RowList(id="basis", empty=empty, is_ascii=self.is_ascii)
        yield FilterLine(EXAMPLE)
        yield ColumnTable(
            id="kernels", empty="No kernels: the filter hides all, or none are known."
        )
        yield Static("", id="kernel", markup=False)
        yield Static(KEYS, classes="keys", markup=False)

    def on_mount(self) -> None:
        """Begin with the device of the scenario."""
        self.is_ready = True
        self.query_one(ColumnTable).focus()
        self.show_device(self.device or self._device_of_scenario())
        self.call_after_refresh(self._redraw)

    def _device_of_scenario(self) -> str:
        twin = self._compute.twin
        name = self.session.scenario.cluster.split(":")[0]
        found = twin.catalogue_view.device_of("cluster", name)
        devices = twin.kernel_view.devices()
        return found if found in devices else devices[0]

    # -- one device -----------------------------------------------------------------------------

    def show_device(self, name: str) -> None:
        """Show the kernels of a device: roofs at once, rows as they are computed and read."""
        self.device = name
        if not self.is_ready:
            return
        self._version += 1
        self.query_one("#roofline", ChartPane).window = WHOLE
        view = self._compute.twin.kernel_view
        self.sheet, self._mask = None, None
        self._roofs, self._bases, self._own, problem = None, NO_BASES, None, ""
        try:
            self._roofs, self._bases, self._own = view.roofs(name), view.bases(name), view.own(name)
        except TweelingError as refusal:
            problem = str(refusal)
        self.progress = problem or "predicting layers …"
        text = device_text(view.title(name), self._roofs, self._own, name)
        self.query_one("#device", Static).update(self.drawn([[(text, "")]]), layout=False)
        self.query_one(ColumnTable).show_columns(())
        self.draw_basis()
        self.draw_chart()
        self.draw_kernel()
        self._say_count()
        if not problem:
            self._load(self._version)

    def _load(self, version: int) -> None:
        """Rows of the device beside the work; what the user opened stands first in the table."""
        view, device, bases = self._compute.twin.kernel_view, self.device, self._bases
        to_read = self.opened.to_read(self._own.folder if self._own else None)

        def load() -> None:
            opened: list[KernelColumns] = []
            parts: list[KernelColumns] = [view.layers(device)]
            self.post_message(self.Loaded(version, "", sheet_of(concatenated(parts), bases)))
            for path, elsewhere in to_read:
                try:
                    rows, is_whole = self._rows_of(version, device, path, elsewhere)
                except (TweelingError, OSError) as error:
                    self.post_message(self.Refused(version, str(error)))
                    continue
                if not len(rows) and path in self.opened.unseen:
                    known, _ = view.devices_in(path)
                    self.post_message(self.HeldElsewhere(version, path, known))
                    continue
                (opened if path in self.opened.paths else parts).append(rows)
                sheet = sheet_of(concatenated([*opened, *parts]), bases)
                self.post_message(self.Loaded(version, "", sheet))
                if not is_whole:
                    return
            self.post_message(self.Loaded(version, ""))

        self.run_worker(load, thread=True, group="kernels", exclusive=True, exit_on_error=True)

    def _rows_of(
        self, version: int, device: str, path: Path, elsewhere: frozenset[Path]
    ) -> tuple[KernelColumns, bool]:
        """Rows of a table, kept once it was read, and whether they are all.

        Says how far it is at most ten times a second; when it is stopped, what was read stays.
        """
        known = self.opened.rows.get((device, path))
        if known is not None:
            return known, True
        worker, posted_s, progress = get_current_worker(), 0.0, None
        view = self._compute.twin.kernel_view
        for progress in view.measured(device, path, elsewhere=elsewhere):
            if worker.is_cancelled:
                return progress.columns, False
            if time.monotonic() - posted_s > POST_EVERY_S:
                words = progress_text(path.name, progress)
                self.post_message(self.Loaded(version, words))
                posted_s = time.monotonic()
        rows = progress.columns if progress is not None else concatenated([])
        self.opened.rows[device, path] = rows
        return rows, True

    def on_kernels_screen_loaded(self, message: Loaded) -> None:
        """Draw rows; what belongs to another device is dropped."""
        if message.version != self._version:
            return
        self.progress = message.words
        if message.sheet is not None:
            self.sheet = message.sheet
            table = self.query_one(ColumnTable)
            table.show_columns(table_columns(message.sheet, is_ascii=self.is_ascii))
            self._apply_filter(self.query_one(FilterLine).text)
        self._say_count()
        self.draw_title()
        is_last = message.sheet is None and not message.words
        words = self.opened.take_seen(self.device) if is_last else ""
        if words:
            self.say(words)

    def on_kernels_screen_held_elsewhere(self, message: HeldElsewhere) -> None:
        """Show the device whose kernels were opened; without one, say so."""
        if message.version != self._version:
            return
        device = self.opened.follow(message.path, message.devices, shown=self.device)
        if device is not None:
            self.show_device(device)
            return
        words = f"{message.path}: no timed kernels of a device that has a profile"
        self.on_kernels_screen_refused(self.Refused(message.version, words))

    def on_kernels_screen_refused(self, message: Refused) -> None:
        """A table that cannot be read is left out and said."""
        if message.version == self._version:
            self.notify(message.words, severity="error", markup=False)
            self.opened.drop([one for one in self.opened.paths if str(one) in message.words])

    def take_compute(self, compute: Compute) -> None:
        """Use another twin; tables are predicted again."""
        super().take_compute(compute)
        self.opened.rows.clear()
        if self.is_ready:
            self.show_device(self.device)

    def action_alternative(self, step: int) -> None:
        """The next or previous device of the catalogue."""
        devices = self._compute.twin.kernel_view.devices()
        place = devices.index(self.device) if self.device in devices else -step
        self.show_device(devices[(place + step) % len(devices)])

    # -- drawing --------------------------------------------------------------------------------

    def draw_chart(self) -> None:
        """Draw the roofline of the rows that the filter lets through."""
        pane = self.query_one("#roofline", ChartPane)
        roofs = self._roofs
        self._chart = None
        if roofs is None:
            words = self.progress or "No roofs are known."
            draw = partial(nothing, words, title="Roofline")
            pane.show(lambda size, style: draw(size=size, style=style), [[(f" {words}", "")]])
            return
        sheet = self.sheet if self.sheet is not None else sheet_of(concatenated([]), NO_BASES)
        selected = self.query_one(ColumnTable).selected_id
        selected = selected if selected is not None and selected < len(sheet) else None
        chart = chart_of(sheet, self._mask, roofs=roofs, selected=selected)
        self._chart = chart
        table = list(roof_lines(roofs, width=self.size.width or 80, is_ascii=self.is_ascii))
        pane.show(
            lambda size, style: roofline(
                replace(chart, window=pane.window), size=size, style=style
            ),
            table,
        )

    def draw_basis(self) -> None:
        """Draw the quality of every calibration."""
        rows = self.query_one("#basis", RowList)
        width = rows.size.width or self.size.width or 80
        self.query_one("#basis-head", Static).update(
            content([basis_head(self._bases.fits, width)]), layout=False
        )
        rows.show_rows(basis_rows(self._bases.fits, width=width, is_ascii=self.is_ascii))

    def draw_kernel(self) -> None:
        """Draw what is under the cursor in full."""
        width = self.size.width or 80
        if self.focused is self.query_one("#basis", RowList) and self.fit is not None:
            lines = fit_lines(self.fit, width=width, n_lines=N_LINES)
        else:
            lines = kernel_lines(self.point, self.basis, width=width, is_ascii=self.is_ascii)
        self.query_one("#kernel", Static).update(self.drawn(lines), layout=False)

    @property
    def point(self) -> KernelPoint | None:
        """The kernel under the cursor of the table."""
        row = self.query_one(ColumnTable).selected_id
        if self.sheet is None or row is None or row >= len(self.sheet):
            return None
        return self.sheet.columns.point(row)

    @property
    def basis(self) -> FitRow | None:
        """The fit behind the kernel under the cursor of the table."""
        row = self.query_one(ColumnTable).selected_id
        if self.sheet is None or row is None or row >= len(self.sheet):
            return None
        return self.sheet.fit(row)

    @property
    def fit(self) -> FitRow | None:
        """The fit under the cursor of the calibrations."""
        key = self.query_one("#basis", RowList).key
        fits = self._bases.fits
        return fits[key] if isinstance(key, int) and key < len(fits) else None

    def status(self) -> str:
        """How far reading is."""
        return self.progress

    def _say_count(self) -> None:
        table, line = self.query_one(ColumnTable), self.query_one(FilterLine)
        problem = kernel_filter(line.text).problem
        words = problem or f"{len(table.row_ids):,} of {table.n_rows:,} kernels"
        line.say(words, is_problem=problem is not None)

    def on_column_table_row_selected(self, message: ColumnTable.RowSelected) -> None:
        """Follow the cursor; a part of the chart moves to where the kernel is."""
        self.draw_chart()
        pane = self.query_one("#roofline", ChartPane)
        if self._chart is not None and not pane.window.is_whole:
            pane.follow(place_of(self._chart))
        self.draw_kernel()

    def on_row_list_moved(self) -> None:
        """Follow the cursor of the calibrations."""
        self.draw_kernel()

    def on_descendant_focus(self) -> None:
        """The lines below belong to the pane in focus."""
        if self.is_ready:
            self.draw_kernel()

    def on_chart_pane_point_asked(self, message: ChartPane.PointAsked) -> None:
        """Go to the next kernel to the left or right, by intensity."""
        table, sheet = self.query_one(ColumnTable), self.sheet
        rows = table.row_ids
        if sheet is None or not len(rows):
            return
        order = rows[np.argsort(sheet.intensity[rows], kind="stable")]
        found = np.flatnonzero(order == table.selected_id)
        place = int(found[0]) + message.step if len(found) else 0
        table.select(int(order[min(max(place, 0), len(order) - 1)]))

    def on_chart_pane_cell_clicked(self, message: ChartPane.CellClicked) -> None:
        """Select the kernel that was clicked."""
        if self._chart is None:
            return
        pane = message.pane
        shown = replace(self._chart, window=pane.window)
        kernel = kernel_at(shown, cell=message.cell, size=message.size, style=pane.chart_style)
        if kernel is not None and kernel.row is not None:
            self.query_one(ColumnTable).select(kernel.row)

    def action_step(self, step: int) -> None:
        """Closer to the chart or farther, about the kernel under the cursor."""
        place = place_of(self._chart) if self._chart is not None else None
        self.query_one("#roofline", ChartPane).zoom(step, about=place)

    def action_whole(self) -> None:
        """The whole chart again."""
        self.query_one("#roofline", ChartPane).show_window(WHOLE)

    def on_resize(self) -> None:
        """Texts are cut to the width; a wide terminal shows chart and calibration together."""
        super().on_resize()
        if self.is_ready:
            self.call_after_refresh(self._redraw)

    def _redraw(self) -> None:
        self._show_panes()
        self.call_after_refresh(self.draw_basis)  # a pane that was hidden has no width yet
        self.draw_kernel()

    def _show_panes(self) -> None:
        is_wide = (self.size.width or 80) >= WIDE_COLUMNS
        self.query_one("#basis-side").display = is_wide or self._shows_basis
        self.query_one("#roofline").display = is_wide or not self._shows_basis

    # -- filtering ------------------------------------------------------------------------------

    def action_find(self) -> None:
        """Type a filter."""
        self.query_one(FilterLine).begin(self.focused)

    def on_filter_line_changed(self, message: FilterLine.Changed) -> None:
        """Narrow table and chart as the filter is typed."""
        self._apply_filter(message.text)
        self._say_count()

    def _apply_filter(self, text: str) -> None:
        if self.sheet is None:
            return
        wanted = kernel_filter(text)
        self._mask = mask_of(self.sheet.columns, wanted) if wanted.terms else None
        table = self.query_one(ColumnTable)
        table.filter_rows(self._mask)
        is_hidden = table.selected_id is None or (
            self._mask is not None and not self._mask[table.selected_id]
        )
        if is_hidden and len(table.row_ids):
            # What is shown in full follows the filter, as in any finder.
            table.select(int(table.row_ids[0]))
        self.draw_chart()
        self.draw_kernel()

    def action_find_next(self, step: int) -> None:
        """The next or previous kernel that the filter lets through."""
        self.query_one(ColumnTable).action_move(step)

    def action_back(self) -> None:
        """Stop reading, else leave a maximised pane, else show all kernels again."""
        if self.progress and self.sheet is not None:
            self.workers.cancel_group(self, "kernels")
            self.progress = ""
            self.say("stopped; what was read until here stays, it is a part")
        elif self.maximized is not None:
            self.minimize()
        elif self.query_one(FilterLine).text:
            self.query_one(FilterLine).put("")
        elif self._shows_basis:
            self.action_basis()
        else:
            self.action_whole()

    # -- looking --------------------------------------------------------------------------------

    def on_column_table_row_opened(self) -> None:
        """Show predicted against measured of the family under the cursor."""
        point, sheet = self.point, self.sheet
        if point is None or sheet is None:
            return
        columns = sheet.columns
        mask = columns.family == FAMILIES.index(point.family)
        for name, text in (("dtype", point.dtype), ("library", point.library)):
            mask &= columns.codes[name] == columns.texts[name].index(text)
        mask &= ~np.isnan(columns.measured_s) & ~np.isnan(columns.predicted_s)
        if not mask.any():
            self.say("nobody measured these kernels here; O opens measurements")
            return
        origins = {columns.text("origin", int(row)) for row in np.flatnonzero(mask)[:1]}
        is_own = self._own is not None and not self.opened.paths
        words = self._own.words if is_own and self._own is not None else ", ".join(origins)
        self.app.push_screen(
            FamilyScreen(
                columns.where(mask), point, fit=self.basis, measured=words, is_ascii=self.is_ascii
            )
        )

    def action_basis(self) -> None:
        """Show on what the predictions rest, and back."""
        self._shows_basis = not self._shows_basis
        self._show_panes()
        target = "#basis" if self._shows_basis else "#kernels"
        self.query_one(target).focus()
        self.call_after_refresh(self._redraw)

    def action_toggle_table(self) -> None:
        """The chart as a table and back."""
        pane = self.query_one("#roofline", ChartPane)
        pane.as_table = not pane.as_table

    def action_why(self) -> None:
        """The whole of what is known of the kernel or fit under the cursor."""
        if self.focused is self.query_one("#basis", RowList) and self.fit is not None:
            fit = self.fit
            lines = fit_lines(fit, width=10_000, n_lines=2)
            self.show_text(fit.name, f"{plain(lines)}\n\n{fit.source}")
            return
        point = self.point
        if point is None:
            return
        basis = self.basis
        lines = kernel_lines(point, basis, width=10_000, is_ascii=self.is_ascii)
        source = basis.source if basis else ""
        self.show_text(f"{point.name} {point.shape}", f"{plain(lines)}\n\n{source}")

    def action_copy_value(self) -> None:
        """Copy the kernel under the cursor in words."""
        if self.point is not None:
            lines = kernel_lines(self.point, None, width=10_000, is_ascii=self.is_ascii)
            self.copied(plain(lines).strip(), "the kernel")

    def action_copy_table(self) -> None:
        """Copy the rows that the filter lets through as tab-separated text."""
        rows = self._rows(1_000)
        if rows:
            head = "\t".join(rows[0])
            body = ["\t".join("" if v is None else str(v) for v in row.values()) for row in rows]
            self.copied("\n".join([head, *body]), f"{len(rows)} kernels as tab-separated text")

    def _rows(self, n_most: int) -> list[dict[str, object]]:
        """Rows that the filter lets through, in the order of the table, in base units."""
        if self.sheet is None:
            return []
        columns = self.sheet.columns
        found = []
        for row in self.query_one(ColumnTable).row_ids[:n_most].tolist():
            point = columns.point(row)
            found.append({name: getattr(point, name) for name in point.__dataclass_fields__})
        return found

    def action_show_command(self) -> None:
        """Show the command that prints these kernels; with --out it draws them."""
        command = roofline_command(
            self.device,
            paths=self.opened.paths,
            expression=self.query_one(FilterLine).text,
            profile_dirs=self._compute.twin.profile_dirs,
        )
        self.show_text("these kernels on the command line (copied)", command, copies=True)

    def action_export(self) -> None:
        """Write the rows that the filter lets through to a file."""
        ask = AskScreen("export the kernels to (.json or .csv)", f"{self.device}-kernels.csv")
        self.app.push_screen(ask, self._export)

    def _export(self, name: str | None) -> None:
        if name is None:
            return
        path = Path(name).expanduser()
        try:
            rows = self._rows(EXPORTED_ROWS)
            export_rows(path, rows, head={"device": self.device})
        except ExportError as refusal:
            self.refuse(refusal)
            return
        self.say(f"exported {len(rows)} kernels to {path}")

    def action_open(self) -> None:
        """Open a table or a folder of measurements."""
        hint = (
            "tables, --benchmark-json, nccl-tests, NeuSight …, or a folder such as measured/h200\n"
            "enter accept   esc cancel"
        )
        self.app.push_screen(AskScreen("open measurements", hint=hint), self.open_table)

    def open_table(self, name: str | None) -> None:
        """Read a table of measurements beside the work."""
        if name is None:
            return
        path = Path(name).expanduser()
        self.opened.add([path])
        self.progress = f"{path.name}: reading …"
        self.draw_title()
        self._load(self._version)

    def action_help(self) -> None:
        """Keys, letters, filters."""
        self.show_text("Kernels: keys", help_text(self._bases.fits))

    def action_recompute(self) -> None:
        """Read the profiles again."""
        self.workbench.reload_twin()
        self.say("profiles read again")

    def palette_commands(self) -> Iterator[SystemCommand]:
        """Kernels of any device."""
        for device in self._compute.twin.kernel_view.devices():
            yield SystemCommand(
                f"kernels of {device}",
                "roofline and calibration",
                partial(self.show_device, device),
            )
