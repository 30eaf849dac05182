"""Tables of the Validation screen: which there are, predicting one, writing its rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from hardware_profiles.errors import TweelingError
from tui.compute import Compute
from tui.export import ExportError, export_rows
from tui.screens.work_screen import WorkScreen
from tui.state import Session
from tui.widgets.column_table import ColumnTable
from tui.widgets.dialogs import AskScreen
from twin.validation_view import RunTable, runs_command

if TYPE_CHECKING:
    from twin.validation.predicted_run import PredictedRun
    from twin.validation.runs import RunsReport

__all__ = ["RunsScreen"]


class RunsScreen(WorkScreen):
    """Keeps one table of published runs, predicted in a thread."""

    class Loaded(Message):
        """A table is predicted."""

        def __init__(self, version: int, report: RunsReport) -> None:
            super().__init__()
            self.version = version
            self.report = report

    class Refused(Message):
        """A table cannot be read."""

        def __init__(self, version: int, words: str) -> None:
            super().__init__()
            self.version = version
            self.words = words

    def __init__(self, compute: Compute, session: Session, *, is_ascii: bool = False) -> None:
        super().__init__(compute, session, is_ascii=is_ascii)
        self.opened: list[RunTable] = []
        """Tables that the user opened."""
        self.table: RunTable | None = None
        self.report: RunsReport | None = None
        self.progress = ""
        """What is being predicted, or why it cannot be; empty when nothing is."""
        self._version = 0
        self._table_before: RunTable | None = None

    def show_report(self) -> None:
        """Draw the report, or that there is none yet."""
        raise NotImplementedError

    @property
    def tables(self) -> tuple[RunTable, ...]:
        """Tables that can be shown: those of the twin, then those that the user opened."""
        return (*self._compute.twin.validation_view.tables(), *self.opened)

    @property
    def runs(self) -> list[PredictedRun]:
        """All predicted runs of the table."""
        return self.report.runs if self.report is not None else []

    # -- one table ------------------------------------------------------------------------------

    def show_table(self, table: RunTable) -> None:
        """Predict a table beside the work and show it."""
        if not self.is_ready:
            self.table = table
            return
        before, self.table = self.table, table
        self._version += 1
        self.report = None
        self.progress = f"predicting the runs of {table.name} …"
        self.show_report()
        version, view = self._version, self._compute.twin.validation_view

        def predict() -> None:
            try:
                report = view.report(table.path)
            except TweelingError as refusal:
                self.post_message(self.Refused(version, str(refusal)))
            else:
                self.post_message(self.Loaded(version, report))

        self._table_before = before
        self.run_worker(predict, thread=True, group="validation", exclusive=True)

    def on_runs_screen_loaded(self, message: Loaded) -> None:
        """Draw a report; that of another table is dropped."""
        if message.version != self._version:
            return
        self.progress = ""
        self.report = message.report
        self.show_report()

    def on_runs_screen_refused(self, message: Refused) -> None:
        """A table that cannot be read is said, and the one before is shown again."""
        if message.version != self._version:
            return
        self.notify(message.words, severity="error", markup=False)
        refused = self.table
        self.opened = [table for table in self.opened if table != refused]
        before = self._table_before
        self.progress = ""
        if before is not None and before != refused:
            self.show_table(before)
        elif refused != (last := self.tables[-1]):
            self.show_table(last)
        else:
            self.progress = message.words
            self.show_report()

    def take_compute(self, compute: Compute) -> None:
        """Use another twin; the table is predicted again."""
        super().take_compute(compute)
        if self.is_ready and self.table is not None:
            self.show_table(self.table)

    def action_alternative(self, step: int) -> None:
        """The next or previous table."""
        tables = self.tables
        place = tables.index(self.table) if self.table in tables else -step
        self.show_table(tables[(place + step) % len(tables)])

    # -- copying ----------------------------------------------------------------------------

    def action_copy_table(self) -> None:
        """Copy the runs that the filter lets through as tab-separated text."""
        rows = self._rows()
        if rows:
            head = "\t".join(rows[0])
            body = ["\t".join("" if v is None else str(v) for v in row.values()) for row in rows]
            self.copied("\n".join([head, *body]), f"{len(rows)} runs as tab-separated text")

    def _rows(self) -> list[dict[str, object]]:
        """Runs that the filter lets through, in the order of the table, in base units."""
        if not self.runs:
            return []
        rows = []
        for place in self.query_one(ColumnTable).row_ids.tolist():
            run = self.runs[place]
            found = {
                name: getattr(run, name)
                for name in type(run).__dataclass_fields__
                if name not in ("memory", "breakdown")
            }
            rows.append(found | {f"{cause}_s": time_s for cause, time_s in run.breakdown.items()})
        return rows

    def action_show_command(self) -> None:
        """Show the command that predicts the same table."""
        if self.table is not None:
            command = runs_command(self.table, profile_dirs=self._compute.twin.profile_dirs)
            self.show_text("this table on the command line (copied)", command, copies=True)

    def action_export(self) -> None:
        """Write the runs that the filter lets through to a file."""
        ask = AskScreen("export the runs to (.json or .csv)", "validation-runs.csv")
        self.app.push_screen(ask, self._export)

    def _export(self, name: str | None) -> None:
        if name is None:
            return
        path = Path(name).expanduser()
        try:
            rows = self._rows()
            export_rows(path, rows, head={"table": self.table.name if self.table else ""})
        except ExportError as refusal:
            self.refuse(refusal)
            return
        self.say(f"exported {len(rows)} runs to {path}")

    def action_open(self) -> None:
        """Open a table of published runs."""
        hint = "CSV in the columns of twin validate runs; enter accept   esc cancel"
        self.app.push_screen(AskScreen("open published runs", hint=hint), self.open_table)

    def open_table(self, name: str | None) -> None:
        """Predict a table that the user names."""
        if name is None:
            return
        path = Path(name).expanduser()
        known = next((table for table in self.tables if table.path == path), None)
        table = known or RunTable(name=path.name, path=path)
        if known is None:
            self.opened.append(table)
        self.show_table(table)

    def action_recompute(self) -> None:
        """Read the profiles again and predict the table again."""
        self.workbench.reload_twin()
        self.say("profiles read again")
