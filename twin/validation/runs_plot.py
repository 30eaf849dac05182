"""Predicted against measured step time as a picture: SVG, PNG or PDF.

Two panels on the same logarithmic axes: predictions with the source of each run left out of the
fit, and in-sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from twin.picture_file import COLOURS, LINE, check_picture, clean, write_picture
from twin.validation.miss_reasons import MISSED_ABOVE
from twin.validation.statistics import summarise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PlottedRun", "check_plot", "write_runs_plot"]

OPTION = "--plot"

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
BAND = "#e4e4e4"
WIDTH_INCHES, HEIGHT_INCHES = 11.0, 6.4
MARGIN = 1.2
"""How far the axes reach beyond the runs. [1]"""
EMPTY_RANGE_S = (0.1, 10.0)


class PlottedRun(Protocol):
    """What the picture reads of a run."""

    @property
    def vendor(self) -> str:
        """Who makes the device."""
        ...

    @property
    def architecture(self) -> str:
        """Family of the device."""
        ...

    @property
    def measured_step_time_s(self) -> float:
        """As published. [s]"""
        ...

    @property
    def predicted_step_time_s(self) -> float:
        """With the shipped constants. [s]"""
        ...

    @property
    def left_out_step_time_s(self) -> float:
        """With the source left out. [s]"""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One of the two predictions."""

    key: str
    title: str
    predicted_s: tuple[float, ...]
    """Of each run, in their order. [s]"""
    errors: tuple[float, ...]
    """Predicted over measured, minus one. [1]"""


def check_plot(path: Path) -> None:
    """Refuse early what `write_runs_plot` could not write; see `check_picture`."""
    check_picture(path, option=OPTION)


def write_runs_plot(runs: Sequence[PlottedRun], *, name: str, path: Path) -> None:
    """Draw runs and write the picture, whole or not at all.

    Parameters
    ----------
    runs
        Predicted runs, in any order.
    name
        What the table is called, for the title.
    path
        Its ending says what kind of picture it is.

    Raises
    ------
    PictureError
        See `write_picture`.
    """
    write_picture(lambda: _figure(runs, name), path=path, option=OPTION)


def _figure(runs: Sequence[PlottedRun], name: str) -> Figure:
    from matplotlib.figure import Figure

    # White whatever the viewer's background is.
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), facecolor="white")
    figure.suptitle(f"Step time of {len(runs)} published training runs: {clean(name)}")
    figure.subplots_adjust(left=0.07, right=0.985, top=0.86, bottom=0.2, wspace=0.12)
    groups = _groups(runs)
    low_s, high_s = _range_s(runs)
    for place, panel in enumerate(_panels(runs)):
        axes = figure.add_subplot(1, 2, place + 1)
        _draw_guides(axes, low_s, high_s)
        _draw_points(axes, runs, panel, groups)
        _dress(axes, panel, low_s, high_s)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="lower center", ncols=4, frameon=False, bbox_to_anchor=(0.5, 0.0)
    )
    return figure


def _panels(runs: Sequence[PlottedRun]) -> tuple[Panel, Panel]:
    left_out = tuple(run.left_out_step_time_s for run in runs)
    in_sample = tuple(run.predicted_step_time_s for run in runs)
    return (
        _panel("left-out", "source left out of the fit (decides)", runs, left_out),
        _panel("in-sample", "in-sample", runs, in_sample),
    )


def _panel(
    key: str, title: str, runs: Sequence[PlottedRun], predicted_s: tuple[float, ...]
) -> Panel:
    pairs = zip(predicted_s, runs, strict=True)
    errors = tuple(value / run.measured_step_time_s - 1.0 for value, run in pairs)
    return Panel(key=key, title=title, predicted_s=predicted_s, errors=errors)


def _group(run: PlottedRun) -> str:
    return f"{run.vendor} {run.architecture}"


def _groups(runs: Sequence[PlottedRun]) -> tuple[tuple[str, int], ...]:
    """Vendor and family of devices with their number of runs, the largest first."""
    counts = Counter(_group(run) for run in runs)
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _range_s(runs: Sequence[PlottedRun]) -> tuple[float, float]:
    """One range for all axes, so that equals stand on one diagonal. [s]"""
    times = [
        time
        for run in runs
        for time in (run.measured_step_time_s, run.predicted_step_time_s, run.left_out_step_time_s)
    ]
    low_s, high_s = (min(times), max(times)) if times else EMPTY_RANGE_S
    return low_s / MARGIN, high_s * MARGIN


def _draw_guides(axes: Axes, low_s: float, high_s: float) -> None:
    ends = [low_s, high_s]
    upper, lower = 1.0 + MISSED_ABOVE, 1.0 - MISSED_ABOVE
    band = axes.fill_between(
        ends,
        [lower * end for end in ends],
        [upper * end for end in ends],
        color=BAND,
        linewidth=0,
        label=f"within {100.0 * MISSED_ABOVE:.0f} % of measured",
    )
    band.set_gid("band")
    (line,) = axes.plot(ends, ends, color=LINE, linewidth=1, label="predicted = measured")
    line.set_gid("diagonal")


def _draw_points(
    axes: Axes, runs: Sequence[PlottedRun], panel: Panel, groups: Sequence[tuple[str, int]]
) -> None:
    for place, (group, n_runs) in enumerate(groups):
        chosen = [i for i, run in enumerate(runs) if _group(run) == group]
        points = axes.scatter(
            [runs[i].measured_step_time_s for i in chosen],
            [panel.predicted_s[i] for i in chosen],
            s=22,
            marker=MARKERS[place % len(MARKERS)],
            facecolor=COLOURS[place % len(COLOURS)],
            edgecolor="white",
            linewidth=0.4,
            zorder=3,
            # The count first: a legend leaves out what begins with an underscore.
            label=f"{n_runs} {clean(group)}",
        )
        points.set_gid(f"{panel.key}-{place}")


def _dress(axes: Axes, panel: Panel, low_s: float, high_s: float) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low_s, high_s)
    axes.set_ylim(low_s, high_s)
    axes.set_aspect("equal")
    axes.set_xlabel("measured step time, s")
    axes.set_ylabel("predicted step time, s")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_decimal)
        axis.set_minor_formatter("")
    axes.grid(visible=True, which="major", color="#d0d0d0", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_title(f"{panel.title}\n{_errors_in_words(panel)}", fontsize=10)


def _decimal(value: float, _: float) -> str:
    """A tick without powers."""
    return f"{value:g}"


def _errors_in_words(panel: Panel) -> str:
    summary = summarise(panel.errors)
    if summary is None:
        return "no run is predicted"
    absolute = (
        ("median", summary.median_ape),
        ("mean", summary.mape),
        ("p90", summary.p90_ape),
    )
    words = [f"{name} {100.0 * error:.1f} %" for name, error in absolute]
    return f"absolute error: {', '.join(words)}; bias {100.0 * summary.bias:+.1f} %"
