"""Constants that were fitted without one group of sources: what an honest error is made with.

The file beside this module is written by ``python -m twin.fitting``.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path

from twin.training.framework import Constants
from twin.validation.run_constants import SHIPPED, RunConstants
from twin.validation.source_groups import source_group

__all__ = ["LEFT_OUT_FILE", "constants_without", "left_out_text"]

LEFT_OUT_FILE = Path(__file__).parent / "left_out.toml"

HEADING = (
    "# Constants fitted without one group of sources; homes and keys as in\n"
    "# twin/fitting/parameters.toml.\n"
    "# Written by: python -m twin.fitting\n"
)


@functools.cache
def _groups() -> dict[str, RunConstants]:
    if not LEFT_OUT_FILE.exists():
        return {}
    with LEFT_OUT_FILE.open("rb") as file:
        document = tomllib.load(file)
    return {
        group: RunConstants.of(
            {
                (home, key): float(value)
                for home, entries in homes.items()
                for key, value in entries.items()
            }
        )
        for group, homes in document.items()
    }


def constants_without(source_id: str) -> RunConstants:
    """Constants that never saw a source or its sisters.

    A source that no fit has seen gets the shipped ones: they never saw it either.
    """
    return _groups().get(source_group(source_id), SHIPPED)


def left_out_text(left_out: Mapping[str, Constants]) -> str:
    """The file's text: a table per group and home, keys in order."""
    lines = [HEADING]
    for group in sorted(left_out):
        homes: dict[str, dict[str, float]] = {}
        for (home, key), value in left_out[group].items():
            homes.setdefault(home, {})[key] = value
        for home in sorted(homes):
            lines.append(f'\n[{group}."{home}"]\n')
            lines += [f'"{key}" = {value!r}\n' for key, value in sorted(homes[home].items())]
    return "".join(lines)
