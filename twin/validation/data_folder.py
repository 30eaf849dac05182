"""The folder of data that does not come with the twin."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["DATA_DIR_VARIABLE", "data_folder"]

DATA_DIR_VARIABLE = "TWEELING_DATA_DIR"
DEFAULT_DATA_DIR = "../shared"


def data_folder() -> Path:
    """The folder that the environment names, or the one beside the current folder."""
    return Path(os.environ.get(DATA_DIR_VARIABLE, DEFAULT_DATA_DIR))
