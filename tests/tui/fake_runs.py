"""A view of published runs with two tables, for the Validation screen."""

from __future__ import annotations

from pathlib import Path

from hardware_profiles.errors import TweelingError
from tests.twin.predicted_runs import RUNS, report_of
from twin.validation_view import RunTable


class FakeValidationView:
    """Two tables; the second holds one run, and files called absent are refused."""

    def __init__(self):
        self.asked = []

    def tables(self):
        return (
            RunTable(name="runs.csv", path=Path("/data/runs.csv")),
            RunTable(name="built-in table", path=Path("/twin/runs.csv"), is_built_in=True),
        )

    def report(self, path):
        self.asked.append(path)
        if "absent" in path.name:
            msg = f"{path}: No such file or directory"
            raise TweelingError(msg)
        if "empty" in path.name:
            return report_of(())
        return report_of(RUNS if path.parts[1:2] == ("data",) else RUNS[:1])
