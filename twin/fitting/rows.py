"""Published runs as a fit sees them: requests, groups of sisters and weights."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware_profiles.errors import TweelingError
from twin.validation.run_machines import RunMachines
from twin.validation.run_prediction import predict_run
from twin.validation.run_request import RunRequest, Unsupported, run_request
from twin.validation.runs_table import read_runs
from twin.validation.source_groups import source_group

__all__ = ["FIT_TABLES", "FitRow", "fit_rows", "row_weights"]

FIT_TABLES = {"runs.csv": 1, "runs_more.csv": 1, "runs_vtrain_single_node.csv": 3}
"""Tables of a folder, and every how many-th of their rows is fitted: the last one has 900 runs of
one machine that differ little. [1]"""

FULL_WEIGHT_ROWS = 8.0
WEIGHT_EXPONENT = 0.75
"""A source of n rows weighs as 8 + n^0.75 of them, if it has more: rows of one table repeat
each other. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRow:
    """One run of the fit."""

    request: RunRequest
    group: str
    """What it is left out with."""


def _is_kept(run_id: str, every: int) -> bool:
    return int(hashlib.sha256(run_id.encode()).hexdigest(), 16) % every == 0


def fit_rows(folder: Path, machines: RunMachines) -> tuple[FitRow, ...]:
    """All runs of a folder that can be predicted.

    Raises
    ------
    TweelingError
        A table of `FIT_TABLES` cannot be read, or one that is fitted whole is not there.
    """
    rows = []
    for name, every in FIT_TABLES.items():
        path = folder / name
        if every > 1 and not path.exists():
            continue
        for run in read_runs(path):
            request = run_request(run)
            if isinstance(request, Unsupported) or not _is_kept(run.run_id, every):
                continue
            try:
                predict_run(request, machines)
            except TweelingError:
                continue  # what no prediction covers cannot teach; the validation counts it
            rows.append(FitRow(request=request, group=source_group(run.source_id)))
    return tuple(rows)


def row_weights(
    rows: Sequence[FitRow], trust: Mapping[str, float], *, without: Iterable[str] = ()
) -> list[float]:
    """Weight of each row; 0 for groups that are left out. [1]

    Parameters
    ----------
    rows
        Runs of the fit.
    trust
        Weight of sources that say themselves how little their rows mean. [1]
    without
        Groups that the fit must not see.
    """
    sizes = Counter(row.request.source_id for row in rows)
    hidden = frozenset(without)

    def weight(row: FitRow) -> float:
        if row.group in hidden:
            return 0.0
        n_rows = float(sizes[row.request.source_id])
        effective = min(n_rows, FULL_WEIGHT_ROWS + math.pow(n_rows, WEIGHT_EXPONENT))
        return trust.get(row.request.source_id, 1.0) * effective / n_rows

    return [weight(row) for row in rows]
