"""Why runs are believed to be missed: a table of what is known, and the largest term elsewhere."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

__all__ = ["MISSED_ABOVE", "miss_reason"]

MISSED_ABOVE = 0.15
"""Error above which a reason is due. [1]"""

_FILE = Path(__file__).parent / "known_misses.toml"


class KnownMiss(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Runs that are missed for one reason."""

    runs: str
    """Regular expression for whole run ids."""
    reason: str


@functools.cache
def _known() -> tuple[tuple[re.Pattern[str], str], ...]:
    with _FILE.open("rb") as file:
        entries = msgspec.convert(tomllib.load(file)["miss"], list[KnownMiss])
    return tuple((re.compile(entry.runs), entry.reason) for entry in entries)


def miss_reason(run_id: str, *, signed: float, breakdown: Mapping[str, float]) -> str | None:
    """The reason believed for a miss; None where the run is not missed.

    Parameters
    ----------
    run_id
        Key of the run.
    signed
        Predicted over measured, minus one. [1]
    breakdown
        Cause to predicted seconds. [s]
    """
    if abs(signed) <= MISSED_ABOVE:
        return None
    for pattern, reason in _known():
        if pattern.fullmatch(run_id):
            return reason
    largest = max(breakdown, key=lambda cause: breakdown[cause])
    share = breakdown[largest] / sum(breakdown.values())
    return f"not known; the largest term is {largest} with {share:.0%} of the prediction"
