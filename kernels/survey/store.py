"""The folder of a survey: tidy tables and environment.json, whole at every moment."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kernels.measurements import (
    TABLES,
    Measurement,
    MeasurementError,
    read_measurements,
    write_json,
    write_measurements,
)

__all__ = ["Store"]

ENVIRONMENT = "environment.json"

OF_A_RUN = ("date", "software", "settings", "rows", "ending", "elapsed_s")
"""What an environment says of one run; the rest is the device's and the host's."""


class Store:
    """Rows measured so far, in memory and on disk."""

    def __init__(self, folder: Path, *, environment: Mapping[str, object]) -> None:
        self.folder = folder
        self._environment = dict(environment)
        self._tables: dict[str, list[Measurement]] = {name: [] for name in TABLES}
        self._names = {row_type: name for name, row_type in TABLES.items()}
        self._changed: set[str] = set()
        self.skipped: list[dict[str, str]] = []
        """Cases that this device cannot run: family, case, why."""
        self._earlier: list[dict[str, object]] = []

    @property
    def has_files(self) -> bool:
        """Whether the folder already holds a survey."""
        return (self.folder / ENVIRONMENT).exists()

    def load(self) -> None:
        """Read what an earlier run left, so that it is not measured again."""
        for name, row_type in TABLES.items():
            path = self.folder / f"{name}.csv"
            if path.exists():
                self._tables[name] = list(read_measurements(path, row_type))
        if self.has_files:
            before = self._read_environment()
            self.skipped = list(before.get("skipped", []))
            run = {name: before[name] for name in OF_A_RUN if name in before}
            self._earlier = [*before.get("earlier", []), run]

    def _read_environment(self) -> dict[str, Any]:
        path = self.folder / ENVIRONMENT
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            msg = f"{path}: {error}; expected the JSON that a survey writes"
            raise MeasurementError(msg) from None
        if not isinstance(content, dict):
            msg = f"{path}: expected a JSON object"
            raise MeasurementError(msg)
        return content

    def devices(self) -> set[str]:
        """Names of the devices that rows in the store were measured on."""
        return {row.device for rows in self._tables.values() for row in rows}

    def done(self) -> set[tuple[str, str]]:
        """Family and case of everything that is measured or known not to run."""
        measured = {(name, row.case) for name, rows in self._tables.items() for row in rows}
        return measured | {(entry["family"], entry["case"]) for entry in self.skipped}

    def add(self, rows: Iterable[Measurement]) -> None:
        """Take rows of any tables."""
        for row in rows:
            name = self._names[type(row)]
            self._tables[name].append(row)
            self._changed.add(name)

    def skip(self, *, family: str, case: str, why: str) -> None:
        """Take note that a case cannot run here."""
        self.skipped.append({"family": family, "case": case, "why": why})

    @property
    def environment(self) -> dict[str, object]:
        """What the survey runs on."""
        return dict(self._environment)

    def all_rows(self) -> list[Measurement]:
        """Rows of all tables."""
        return [row for rows in self._tables.values() for row in rows]

    def rows(self, name: str) -> tuple[Measurement, ...]:
        """Rows of one table."""
        return tuple(self._tables[name])

    def n_rows(self) -> dict[str, int]:
        """Rows per table. [1]."""
        return {name: len(rows) for name, rows in self._tables.items() if rows}

    def flush(self, **progress: object) -> None:
        """Write what has changed; `progress` goes into environment.json."""
        for name in sorted(self._changed):
            write_measurements(self.folder / f"{name}.csv", self._tables[name])
        self._changed.clear()
        summary = {"rows": self.n_rows(), **progress, "skipped": self.skipped}
        if self._earlier:
            summary["earlier"] = self._earlier
        write_json(self.folder / ENVIRONMENT, {**self._environment, **summary})
