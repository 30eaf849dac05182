"""Fixtures for all tests: where shared data lies, and settings that keep runs repeatable."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

PREVIEW = """\
schema_version = 1
kind = "accelerator"
name = "preview"
title = "A part of next year"
vendor = "other"
architecture = "next"
status = "announced"

[compute]
n_units = 100

[memory]
capacity_gib = 288

[[sources]]
keys = ["*"]
figure_class = "datasheet"
text = "the vendor's announcement"
"""

# Two slow shared cores: the time of one example says nothing about the code.
settings.register_profile("tweeling", deadline=None, derandomize=True)
settings.load_profile("tweeling")


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Find a file of the shared data, or skip the test and say what was missing."""
    folder = Path(os.environ.get("TWEELING_DATA_DIR", ROOT / ".." / "shared")).resolve()

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"no {name} in the shared data; set TWEELING_DATA_DIR")
        return path

    return find


@pytest.fixture
def announced(tmp_path: Path) -> Callable[[], Path]:
    """Write an announced accelerator of which only memory and units are known."""

    def write() -> Path:
        path = tmp_path / "preview.toml"
        path.write_text(PREVIEW, encoding="utf-8")
        return path

    return write
