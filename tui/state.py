"""What the terminal UI remembers: scenarios, their history, what is pinned and saved.

Plain values without any Textual, so that the laws of undo are tested without an app.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hardware_profiles.whole_files import write_text_whole
from twin.scenario.fields import FIELDS, field_named
from twin.scenario.scenario import PlanRequest, Scenario

__all__ = ["Edit", "Session", "change_words", "journal_path", "read_journal", "write_journal"]

HISTORY_DEPTH = 500
"""Scenarios that undo can go back to. [1]"""

JOURNAL_VERSION = 1


@dataclass(frozen=True, slots=True)
class Edit:
    """One state of the scenario and, in words, what led to it."""

    scenario: Scenario
    words: str
    field_name: str | None = None
    """Field that was edited; keystrokes within one field are one edit."""


@dataclass(slots=True)
class Session:
    """History of scenarios with a cursor; everything that can be undone passes through here."""

    history: list[Edit]
    position: int = 0
    pinned: list[Scenario] = field(default_factory=list)
    saved: Scenario | None = None
    path: Path | None = None

    @classmethod
    def of(cls, scenario: Scenario, *, path: Path | None = None) -> Session:
        """A new session on one scenario."""
        return cls(history=[Edit(scenario, "opened")], saved=scenario, path=path)

    @property
    def scenario(self) -> Scenario:
        """The scenario on screen."""
        return self.history[self.position].scenario

    @property
    def is_changed(self) -> bool:
        """Whether the scenario differs from the one saved."""
        return self.scenario != self.saved

    @property
    def n_changes(self) -> int:
        """Edits that undo could take back. [1]"""
        return self.position

    def edit(self, scenario: Scenario, words: str, *, field_name: str | None = None) -> bool:
        """Put a changed scenario on top; False when nothing changed.

        Several edits of one field in a row count as one, so that one undo takes back a word and
        not a letter. What had been undone is forgotten.
        """
        if scenario == self.scenario:
            return False
        del self.history[self.position + 1 :]
        last = self.history[self.position]
        if field_name is not None and last.field_name == field_name and self.position > 0:
            self.history[self.position] = Edit(scenario, words, field_name)
        else:
            self.history.append(Edit(scenario, words, field_name))
            self.position += 1
        if len(self.history) > HISTORY_DEPTH:
            del self.history[0]
            self.position -= 1
        return True

    def close_edit(self) -> None:
        """Let the next edit of the same field be a step of its own."""
        last = self.history[self.position]
        self.history[self.position] = Edit(last.scenario, last.words)

    def undo(self) -> str | None:
        """Step back; the words of what was undone, None at the beginning."""
        if self.position == 0:
            return None
        words = self.history[self.position].words
        self.position -= 1
        return words

    def redo(self) -> str | None:
        """Step forward again; the words of what was redone, None at the end."""
        if self.position + 1 >= len(self.history):
            return None
        self.position += 1
        return self.history[self.position].words

    def pin(self) -> bool:
        """Keep the scenario for comparison; False when it is pinned already."""
        if self.scenario in self.pinned:
            return False
        self.pinned.append(self.scenario)
        return True

    def unpin(self) -> bool:
        """Forget the pin of this scenario."""
        if self.scenario not in self.pinned:
            return False
        self.pinned.remove(self.scenario)
        return True


def journal_path() -> Path:
    """Where the history survives a restart: the user's state folder."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "tweeling" / "journal.json"


def _scenario(raw: object) -> Scenario | None:
    if not isinstance(raw, dict):
        return None
    plan = raw.get("plan")
    overrides = raw.get("overrides", [])
    known = {f.name for f in FIELDS if not f.is_plan}
    try:
        return Scenario(
            **{key: value for key, value in raw.items() if key in known},
            plan=PlanRequest(**plan) if isinstance(plan, dict) else PlanRequest(),
            overrides=tuple((str(key), str(value)) for key, value in overrides),
        )
    except (TypeError, ValueError):
        return None


def write_journal(session: Session, path: Path) -> None:
    """Keep the history on disk, whole or not at all; a read-only home is no error."""
    document = {
        "version": JOURNAL_VERSION,
        "position": session.position,
        "path": str(session.path) if session.path else None,
        "saved": asdict(session.saved) if session.saved else None,
        "history": [
            {"words": edit.words, "scenario": asdict(edit.scenario)} for edit in session.history
        ],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_whole(path, json.dumps(document))
    except OSError:
        return


def read_journal(path: Path) -> Session | None:
    """The session of last time; None when there is none or it cannot be read."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(document, dict) or document.get("version") != JOURNAL_VERSION:
        return None
    history = []
    for entry in document.get("history", []):
        scenario = _scenario(entry.get("scenario")) if isinstance(entry, dict) else None
        if scenario is None:
            return None
        history.append(Edit(scenario, str(entry.get("words", ""))))
    position = document.get("position")
    if not history or not isinstance(position, int) or not 0 <= position < len(history):
        return None
    named = document.get("path")
    return Session(
        history=history,
        position=position,
        saved=_scenario(document.get("saved")),
        path=Path(named) if isinstance(named, str) else None,
    )


def change_words(name: str, before: Scenario, after: Scenario) -> str:
    """An edit in words: field, old value, new value."""
    changed = field_named(name)
    old, new = changed.text(changed.of(before)), changed.text(changed.of(after))
    return f"{changed.label} {old} -> {new}"
