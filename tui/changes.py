"""Things that were done on a screen and can be taken back, apart from edits of the scenario."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Change", "Changes"]


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was done, and how it is undone and done again."""

    words: str
    undo: Callable[[], None]
    redo: Callable[[], None]


@dataclass(slots=True)
class Changes:
    """What was done, in its order, with a cursor."""

    done: list[Change] = field(default_factory=list)
    n_done: int = 0
    """Changes in force; those after it were taken back. [1]"""

    def add(self, change: Change) -> None:
        """Note what was just done; what had been taken back is forgotten."""
        del self.done[self.n_done :]
        self.done.append(change)
        self.n_done += 1

    def undo(self) -> str | None:
        """Take the last one back; its words, None when there is none.

        An error of the change itself passes through, and the change stays in force.
        """
        if not self.n_done:
            return None
        change = self.done[self.n_done - 1]
        change.undo()
        self.n_done -= 1
        return change.words

    def redo(self) -> str | None:
        """Do the next one again; its words, None when there is none."""
        if self.n_done == len(self.done):
            return None
        change = self.done[self.n_done]
        change.redo()
        self.n_done += 1
        return change.words
