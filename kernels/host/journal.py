"""What a calibration has measured so far: a line for every visit, on disk before the next begins.

A run that is interrupted or killed loses the visit in progress and nothing else.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from hardware_profiles.whole_files import write_text_whole
from kernels.measurements import MeasurementError

__all__ = ["COLUMNS", "Journal", "Visit"]

COLUMNS = "round,case,seconds,n_calls,arithmetic_anchor_s,memory_anchor_s"
"""Head of a journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One case timed once, between two looks at how fast the machine is at the moment."""

    i_round: int
    case: str
    """Key of the case."""
    seconds: float
    """Median time of one call. [s]"""
    n_calls: int
    arithmetic_anchor_s: float
    """A fixed matrix product just before and after. [s]"""
    memory_anchor_s: float
    """A fixed copy just before and after. [s]"""

    def line(self) -> str:
        """The visit as a line of the journal."""
        values = asdict(self).values()
        return ",".join(f"{v:.7g}" if isinstance(v, float) else str(v) for v in values) + "\n"


class Journal:
    """Append-only file of visits; the first line says what was measured on what."""

    def __init__(self, path: Path, *, identity: Mapping[str, str]) -> None:
        self.path = path
        self._identity = dict(identity)
        self.visits: list[Visit] = []
        """Visits of earlier runs and of this one."""

    def open(self) -> int:
        """Take up an unfinished journal or begin a new one; returns the visits that are there.

        Raises
        ------
        MeasurementError
            In one line: a file that is no journal, a broken line, another device or software.
        """
        if self.path.exists():
            self._read()
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            head = f"# {json.dumps(self._identity, sort_keys=True)}\n{COLUMNS}\n"
            write_text_whole(self.path, head)
        return len(self.visits)

    def add(self, visit: Visit) -> None:
        """Append a visit; it is on disk when this returns."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(visit.line())
            file.flush()
            os.fsync(file.fileno())
        self.visits.append(visit)

    def close(self, *, keep_as: Path) -> None:
        """The calibration is finished: the next one begins a journal of its own."""
        self.path.replace(keep_as)

    def _read(self) -> None:
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            msg = f"{self.path}: cannot be read: {reason}; remove it to begin anew"
            raise MeasurementError(msg) from None
        lines = text.splitlines(keepends=True)
        self._check_head(lines)
        if lines and not lines[-1].endswith("\n"):
            # The visit that was being written when the run was killed.
            write_text_whole(self.path, "".join(lines[:-1]))
            lines = lines[:-1]
        self.visits = [self._parsed(line, number) for number, line in enumerate(lines[2:], 3)]

    def _check_head(self, lines: list[str]) -> None:
        try:
            found = json.loads(lines[0].removeprefix("# ")) if len(lines) > 1 else None
        except ValueError:
            found = None
        if not isinstance(found, dict) or lines[1].strip() != COLUMNS:
            msg = f"{self.path}: is no journal of a calibration; remove it to begin anew"
            raise MeasurementError(msg)
        for key, value in self._identity.items():
            if found.get(key) != value:
                msg = (
                    f"{self.path}: {key} was {found.get(key)!r}, now it is {value!r}; "
                    "finish it there, or name another folder with --out"
                )
                raise MeasurementError(msg)

    def _parsed(self, line: str, number: int) -> Visit:
        texts = line.rstrip("\n").split(",")
        kinds = {"i_round": int, "case": str, "n_calls": int}
        values: dict[str, object] = {}
        for field, text in zip(fields(Visit), texts, strict=False):
            kind = kinds.get(field.name, float)
            try:
                value = kind(text)
            except ValueError:
                value = math.nan
            if isinstance(value, float) and not (math.isfinite(value) and value > 0.0):
                msg = f"{self.path}:{number}: {field.name} = {text!r}; expected a number above 0"
                raise MeasurementError(msg)
            values[field.name] = value
        if len(texts) != len(fields(Visit)):
            msg = f"{self.path}:{number}: {len(texts)} values; expected {len(fields(Visit))}"
            raise MeasurementError(msg)
        return Visit(**values)  # type: ignore[arg-type]
