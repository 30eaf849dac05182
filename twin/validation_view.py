"""Looking through predictions of published runs: tables, groups, filters, errors.

A report takes seconds; whoever must not wait asks for it in a thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hardware_profiles.errors import TweelingError
from twin.filter_expression import COMPARE, Filter, Term, holds, parse_filter
from twin.predict import Predictor
from twin.validation.data_folder import data_folder
from twin.validation.published import built_in_table

if TYPE_CHECKING:
    from twin.validation.predicted_run import PredictedRun
    from twin.validation.runs import GroupErrors, RunsReport

__all__ = [
    "ALL",
    "GROUPINGS",
    "SIDES",
    "Grouping",
    "RunTable",
    "Side",
    "ValidationView",
    "error_of",
    "errors_by",
    "group_of",
    "largest_groups",
    "run_filter",
    "runs_command",
    "shown_runs",
]

Side = Literal["left out", "in-sample"]
"""Which prediction: by constants that never saw the source of the run, or by the shipped ones."""

SIDES: tuple[Side, ...] = ("left out", "in-sample")

TABLES = ("runs.csv", "runs_more.csv", "runs_vtrain_single_node.csv")
"""Tables of the data folder that are offered."""
BUILT_IN = "built-in table"
ALL = "all"
OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTable:
    """A table of published runs that can be predicted."""

    name: str
    path: Path
    is_built_in: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """By what runs are put together."""

    name: str
    """As people and filters call it."""
    attribute: str
    """Field of a predicted run."""


GROUPINGS = (
    Grouping(name="vendor", attribute="vendor"),
    Grouping(name="family", attribute="architecture"),
    Grouping(name="device", attribute="device"),
    Grouping(name="source", attribute="source_id"),
    Grouping(name="sharding", attribute="sharding"),
    Grouping(name="framework", attribute="framework"),
    Grouping(name="precision", attribute="precision"),
    Grouping(name="scale", attribute="scale"),
)
"""In the order in which a key goes through them."""


class ValidationView:
    """Predicts tables of published runs, and keeps each report."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._reports: dict[Path, RunsReport] = {}

    def tables(self) -> tuple[RunTable, ...]:
        """Tables of the data folder that are there, then the one that comes with the twin."""
        folder = data_folder() / "published_runs"
        found = [RunTable(name=name, path=folder / name) for name in TABLES]
        own = RunTable(name=BUILT_IN, path=built_in_table(), is_built_in=True)
        return (*(table for table in found if table.path.is_file()), own)

    def report(self, path: Path) -> RunsReport:
        """Predict every run of a table; at once where that was done before.

        Raises
        ------
        TweelingError
            The file cannot be read as a table of published runs.
        """
        from twin.validation.runs import validate_runs

        if path not in self._reports:
            self._reports[path] = validate_runs(path, predictor=self._predictor)
        return self._reports[path]


def runs_command(table: RunTable, *, profile_dirs: Sequence[Path]) -> str:
    """The command line that predicts the same table."""
    import shlex

    words = ["twin", "validate", "runs", *([] if table.is_built_in else [str(table.path)])]
    for folder in profile_dirs:
        words += ["--profiles", str(folder)]
    return shlex.join(words)


def error_of(run: PredictedRun, side: Side) -> float:
    """Predicted over measured, minus one. [1]"""
    return run.left_out_signed_error if side == "left out" else run.signed_error


def group_of(run: PredictedRun, grouping: Grouping) -> str:
    """Name of the group that a run belongs to."""
    return str(getattr(run, grouping.attribute))


def errors_by(runs: Sequence[PredictedRun], grouping: Grouping) -> list[GroupErrors]:
    """Errors of all runs, then of each group; nothing for no runs.

    Groups with most runs first; classes of device counts from the smallest.
    """
    from twin.validation.predicted_run import SCALE_NAMES
    from twin.validation.runs import group_errors, grouped_errors

    if not runs:
        return []
    groups = grouped_errors(runs, grouping.attribute)
    places = {name: place for place, name in enumerate(SCALE_NAMES)}
    is_scale = grouping.attribute == "scale"
    groups.sort(key=lambda group: places[group.name] if is_scale else -group.n)
    return [group_errors(ALL, runs), *groups]


def largest_groups(
    runs: Sequence[PredictedRun], grouping: Grouping, *, n_most: int
) -> tuple[str, ...]:
    """Names of at most so many groups, the largest first; what is left is called other."""
    counts = Counter(group_of(run, grouping) for run in runs)
    names = sorted(counts, key=lambda name: (-counts[name], name))
    return tuple(names) if len(names) <= n_most else (*names[: n_most - 1], OTHER)


# -- filters ------------------------------------------------------------------------------------

GIGABYTE = 1e9
Value = float | str | None

_NUMBERS: Mapping[str, Callable[[PredictedRun], float | None]] = {
    "out": lambda run: run.left_out_signed_error,
    "in": lambda run: run.signed_error,
    "measured": lambda run: run.measured_step_time_s,
    "predicted": lambda run: run.predicted_step_time_s,
    "devices": lambda run: float(run.n_devices),
    "batch": lambda run: float(run.global_batch),
    "memory": lambda run: run.measured_memory_bytes,
}
_TEXTS: Mapping[str, Callable[[PredictedRun], str]] = {
    "run": lambda run: run.run_id,
    "vendor": lambda run: run.vendor,
    "family": lambda run: run.architecture,
    "device": lambda run: run.device,
    "source": lambda run: run.source_id,
    "sharding": lambda run: run.sharding,
    "framework": lambda run: run.framework,
    "precision": lambda run: run.precision,
    "scale": lambda run: run.scale,
    "model": lambda run: run.model_name,
    "why": lambda run: run.why or "",
    "missed": lambda run: "yes" if run.why else "no",
    "fits": lambda run: "yes" if run.fits_memory else "no",
}
_ALSO = {"err": "error", "time": "measured", "n": "devices", "arch": "family", "mem": "memory"}
_FIELDS = {name: name for name in ("error", *_NUMBERS, *_TEXTS)} | _ALSO
_ERRORS = ("error", "out", "in")

_ERROR_UNITS: Mapping[str, float] = {"": 0.01, "%": 0.01}
_TIME_UNITS: Mapping[str, float] = {"": 1.0, "s": 1.0, "ms": 1e-3, "min": 60.0}
_COUNT_UNITS: Mapping[str, float] = {"": 1.0, "k": 1e3}
_UNITS: Mapping[str, Mapping[str, float]] = {
    "error": _ERROR_UNITS,
    "out": _ERROR_UNITS,
    "in": _ERROR_UNITS,
    "measured": _TIME_UNITS,
    "predicted": _TIME_UNITS,
    "devices": _COUNT_UNITS,
    "batch": _COUNT_UNITS,
    "memory": {"": GIGABYTE, "gb": GIGABYTE, "gib": 2.0**30},
}
"""Base units in one of each unit that may be typed."""


class RunFilterError(TweelingError):
    """A term of a filter cannot be read."""


def run_filter(text: str) -> Filter:
    """Read a filter over runs: errors in percent, times in s, memory in GB."""
    return parse_filter(text, fields=_FIELDS, parse=_parse)


def _parse(field: str, text: str) -> float:
    units = _UNITS.get(field)
    if units is None:
        msg = f"{field} is a text; ask {field}:{text}"
        raise RunFilterError(msg)
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz%")
    unit = text[len(number) :]
    try:
        value = float(number)
    except ValueError:
        msg = f'"{text}": expected a number'
        raise RunFilterError(msg) from None
    if unit not in units:
        msg = f'unit "{unit}" does not fit {field}; expected {", ".join(filter(None, units))}'
        raise RunFilterError(msg)
    return value * units[unit]


def shown_runs(runs: Sequence[PredictedRun], wanted: Filter, *, side: Side) -> list[bool]:
    """Which runs satisfy every term of a filter; a plain error is that of the side shown."""
    return [
        all(_holds(term, run, side=side) != term.is_negated for term in wanted.terms)
        for run in runs
    ]


def _holds(term: Term, run: PredictedRun, *, side: Side) -> bool:
    if term.field is None:
        return any(holds(term, text(run)) for text in _TEXTS.values())
    value: Value
    if term.field in _TEXTS:
        value = _TEXTS[term.field](run)
    elif term.field == "error":
        value = error_of(run, side)
    else:
        value = _NUMBERS[term.field](run) if term.field in _NUMBERS else None
    if term.field in _ERRORS and term.number is not None and term.comparison in (">", ">="):
        # An error of more than ten percent, in either direction.
        return bool(COMPARE[term.comparison](abs(float(value or 0.0)), term.number))
    return holds(term, value)
