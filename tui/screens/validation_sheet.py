"""Published runs ready to be drawn: columns of a table, points of a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from tui.charts.axes import Axis
from tui.charts.guides import Guide
from tui.charts.picture import SERIES_ROLES
from tui.charts.scatter import FRONT_GLYPHS, Scatter
from tui.screens.run_text import gigabytes, seconds, signed_percent
from tui.widgets.column_table import Column
from tui.widgets.lines import ascii_text
from tui.widgets.picture_text import ROLE_STYLES
from twin.validation.miss_reasons import MISSED_ABOVE
from twin.validation_view import Grouping, Side, error_of, group_of, largest_groups

if TYPE_CHECKING:
    from twin.validation.predicted_run import PredictedRun

__all__ = ["SORT_KEYS", "Against", "RunChart", "chart_of", "glyphs_of", "table_columns"]

Against = Literal["times", "errors"]
"""What stands on the y axis: the predicted time, or its error."""

SORT_KEYS: dict[Side, str] = {"left out": "out", "in-sample": "in"}
"""Column of the error of each side."""

N_GROUPS = 8
"""Groups with a glyph of their own. [1]"""
PERCENT = 100.0

MEASURED = Axis(name="measured step time", unit="s", is_log=True, has_si_prefix=False)
OFF = f"{PERCENT * MISSED_ABOVE:.0f} % off"
RATIOS = (
    Guide(name=OFF, factor=1.0 + MISSED_ABOVE, role="limit"),
    Guide(name="", factor=1.0 - MISSED_ABOVE, role="limit"),
    Guide(name="equal", factor=1.0, role="axis", glyph="/"),
)
LEVELS = (
    Guide(name=OFF, factor=PERCENT * MISSED_ABOVE, is_level=True, role="limit"),
    Guide(name="", factor=-PERCENT * MISSED_ABOVE, is_level=True, role="limit"),
    Guide(name="equal", factor=0.0, is_level=True, role="axis", glyph="-"),
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunChart:
    """A scatter, and which run each of its points is."""

    scatter: Scatter
    rows: npt.NDArray[np.intp]


def chart_of(
    runs: Sequence[PredictedRun],
    rows: npt.NDArray[np.intp],
    *,
    grouping: Grouping,
    side: Side,
    against: Against,
    selected: int | None,
) -> RunChart:
    """Predicted against measured of some of the runs, a glyph for each of the largest groups."""
    shown = [runs[row] for row in rows.tolist()]
    names = largest_groups(shown, grouping, n_most=N_GROUPS)
    places = {name: place for place, name in enumerate(names)}
    groups = [places.get(group_of(run, grouping), len(names) - 1) for run in shown]
    measured = np.array([run.measured_step_time_s for run in shown], dtype=float)
    errors = np.array([error_of(run, side) for run in shown], dtype=float)
    is_times = against == "times"
    y = (
        Axis(name=f"predicted, {side}", unit="s", is_log=True, has_si_prefix=False)
        if is_times
        else Axis(name=f"error, {side}", unit="%", has_si_prefix=False)
    )
    found = np.flatnonzero(rows == (-1 if selected is None else selected))
    scatter = Scatter(
        x=MEASURED,
        y=y,
        x_values=measured,
        y_values=measured * (1.0 + errors) if is_times else PERCENT * errors,
        groups=np.array(groups, dtype=np.int64),
        group_names=names,
        has_glyphs=True,
        is_square=is_times,
        guides=RATIOS if is_times else LEVELS,
        highlighted=int(found[0]) if len(found) else None,
    )
    return RunChart(scatter=scatter, rows=rows)


def glyphs_of(runs: Sequence[PredictedRun], *, grouping: Grouping) -> Mapping[str, tuple[str, str]]:
    """Glyph and style on the chart of every group of some runs, the small ones included."""
    names = largest_groups(runs, grouping, n_most=N_GROUPS)
    last = len(names) - 1
    places = {name: place for place, name in enumerate(names)}
    return {
        name: (FRONT_GLYPHS[place], ROLE_STYLES[SERIES_ROLES[place]])
        for name in {group_of(run, grouping) for run in runs}
        for place in (places.get(name, last),)
    }


def table_columns(runs: Sequence[PredictedRun], *, is_ascii: bool = False) -> tuple[Column, ...]:
    """Columns of the table of runs; errors are ordered by their size."""
    plain = ascii_text if is_ascii else str

    def text(key: str, title: str, width: int, values: Sequence[str]) -> Column:
        found = np.array([plain(value) for value in values], dtype=np.str_)
        return Column(key=key, title=title, values=found, width=width, is_text=True)

    def error(key: str, title: str, side: Side) -> Column:
        values = np.array([error_of(run, side) for run in runs], dtype=float)
        return Column(
            key=key,
            title=title,
            unit="%",
            values=values,
            shown=signed_percent,
            width=6,
            order=np.abs(values),
        )

    def time(key: str, title: str, values: Sequence[float]) -> Column:
        found = np.array(values, dtype=float)
        return Column(key=key, title=title, unit="s", values=found, shown=seconds, width=7)

    def count(key: str, title: str, values: Sequence[int]) -> Column:
        return Column(key=key, title=title, values=np.array(values, dtype=np.int64), width=6)

    def memory(key: str, title: str, values: Sequence[float | None]) -> Column:
        known = [np.nan if value is None else value for value in values]
        return Column(
            key=key,
            title=title,
            unit="GB",
            values=np.array(known, dtype=float),
            shown=lambda value: plain(gigabytes(value)),
            width=8,
        )

    return (
        text("run", "run", 21, [run.run_id for run in runs]),
        error("out", "out", "left out"),
        error("in", "in", "in-sample"),
        time("measured", "meas", [run.measured_step_time_s for run in runs]),
        time("left_out", "out", [run.left_out_step_time_s for run in runs]),
        time("predicted", "in", [run.predicted_step_time_s for run in runs]),
        text("model", "model", 12, [run.model_name for run in runs]),
        text("device", "device", 12, [run.device for run in runs]),
        count("devices", "n", [run.n_devices for run in runs]),
        count("batch", "batch", [run.global_batch for run in runs]),
        text("precision", "type", 5, [run.precision for run in runs]),
        text("framework", "framework", 18, [run.framework for run in runs]),
        text("sharding", "sharding", 24, [run.sharding for run in runs]),
        memory("memory", "mem", [run.measured_memory_bytes for run in runs]),
        memory("memory_predicted", "pred", [run.predicted_memory_bytes for run in runs]),
        text("source", "source", 24, [run.source_id for run in runs]),
    )
