"""The published runs that come with the twin: figures typed in, each with where it was read."""

from __future__ import annotations

from pathlib import Path

__all__ = ["built_in_table"]

_FILE = Path(__file__).parent / "published_runs.csv"


def built_in_table() -> Path:
    """A table of at most a hundred published runs, in the columns of `runs_table`."""
    return _FILE
