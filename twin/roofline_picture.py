"""The roofline of a device as a picture: SVG, PNG or PDF.

Two panels: arithmetic rate over intensity for kernels with matrix work, under peaks and slopes of
memory; and rate of traffic over traffic for those without, which have no place among the first.
A colour is a family, a shape a dtype; a filled mark is measured, a hollow one predicted, and a line
joins the two of one kernel. Dark and light colours tell the families of a panel apart without hue.

References
----------
S. Williams, A. Waterman, D. Patterson, Roofline, CACM 52(4), 2009.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kernels.gemm.precision import PRECISIONS
from twin.picture_file import LINE, clean, write_picture
from twin.roofline_ceilings import Range, draw_bandwidths, draw_slopes_and_peaks, shown_memories
from twin.roofline_marks import MarkGroup, Marks, marks_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from twin.roofline_report import RooflineReport

__all__ = ["write_roofline"]

WIDTH_INCHES, HEIGHT_INCHES = 11.5, 6.6
COLOURS = {"gemm": "#0b4a8f", "attention": "#e69f00", "stream": "#00664b", "collective": "#cc79a7"}
"""One dark and one light colour in each panel."""
FAMILY_WORDS = {
    "gemm": "GEMM",
    "attention": "attention",
    "stream": "memory-bound",
    "collective": "collectives",
}
MARKERS = {
    "bf16": "o", "fp16": "s", "fp8": "^", "fp32": "D", "tf32": "v", "fp64": "P", "int8": "X",
    "fp4": "*",
}  # fmt: skip
OTHER_MARKER = "h"
MARK_POINTS = 34
"""Area of a mark. [pt²]"""
MARGIN = 3.0
"""How far the axes reach beyond kernels and ridges. [1]"""
SLOPE = 6.0
"""How much of the slopes is seen left of the first ridge. [1]"""
LEAST_RANGE = 10.0
"""Rates of traffic are shown over no less. [1]"""
EMPTY_BYTES = (1e6, 1e9)
SHORT_DECADES = 1.6
"""Axes shorter than this get ticks at 1, 2 and 5."""
CAPTION_LETTERS = 190
LONGEST_SOURCE = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """What the panels show."""

    matrix: Marks
    streams: Marks

    @property
    def groups(self) -> tuple[MarkGroup, ...]:
        """Of both panels."""
        return (*self.matrix.groups, *self.streams.groups)


def write_roofline(report: RooflineReport, *, path: Path, option: str, made_by: str) -> None:
    """Draw the roofline and write the picture, whole or not at all.

    Parameters
    ----------
    report
        Roofs and kernels.
    path
        Its ending says what kind of picture it is.
    option
        Option of the command line that names the path, for messages.
    made_by
        Whose predictions they are: program and version, for the caption.

    Raises
    ------
    PictureError
        See `twin.picture_file.write_picture`.
    """
    write_picture(lambda: _figure(report, made_by), path=path, option=option)


def _figure(report: RooflineReport, made_by: str) -> Figure:
    from matplotlib.figure import Figure

    content = _Content(
        matrix=marks_of(report.columns, is_matrix_work=True),
        streams=marks_of(report.columns, is_matrix_work=False),
    )
    # White whatever the viewer's background is.
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), facecolor="white")
    figure.suptitle(f"Roofline of {clean(report.title, longest=70)} ({clean(report.device)})")
    has_streams = bool(content.streams.groups)
    grid = figure.add_gridspec(
        1,
        2 if has_streams else 1,
        width_ratios=(2.1, 1.0) if has_streams else (1.0,),
        left=0.07,
        right=0.93,
        top=0.89,
        bottom=0.26,
        wspace=0.42,
    )
    _draw_matrix_work(figure.add_subplot(grid[0, 0]), report, content.matrix)
    if has_streams:
        _draw_streams(figure.add_subplot(grid[0, 1]), report, content.streams)
    if content.groups:
        _draw_legend(figure, content)
    caption = textwrap.fill(_caption(report, content, made_by), CAPTION_LETTERS)
    figure.text(0.012, 0.012, caption, fontsize=7.5, color=LINE, va="bottom").set_gid("caption")
    return figure


def _draw_matrix_work(axes: Axes, report: RooflineReport, marks: Marks) -> None:
    roofs = report.roofs
    memories = shown_memories(roofs)
    dtypes = {_peak_of(group.dtype) for group in marks.groups}
    used = [peak for peak in roofs.peaks if peak.dtype in dtypes] or list(roofs.peaks)
    ridges = [peak.flop_per_s / memory.bytes_per_s for peak in used for memory in memories]
    intensities = [*ridges, *_values(marks, "x")]
    x = Range(low=min(min(intensities) / 1.5, min(ridges) / SLOPE), high=MARGIN * max(intensities))
    rates = [*_values(marks, "measured"), *_values(marks, "predicted")]
    peaks = [peak.flop_per_s for peak in roofs.peaks]
    slowest = min(memory.bytes_per_s for memory in memories)
    lowest = min([*rates, *peaks, slowest * min(ridges) / SLOPE])
    y = Range(low=lowest / 2.0, high=1.6 * max([*peaks, *rates]))
    _dress(axes, x, y)
    draw_slopes_and_peaks(axes, roofs, x=x, y=y, dtypes=dtypes)
    for number, group in enumerate(marks.groups):
        _draw_group(axes, group, key=f"matrix-{number}")
    axes.set_xlabel("arithmetic intensity, flop/byte")
    axes.set_ylabel("arithmetic rate, flop/s")
    axes.set_title("matrix work", fontsize=10)
    axes.xaxis.set_major_formatter(_decimal)


def _peak_of(dtype: str) -> str:
    """Peak under which products of a dtype stand: that of fp8 for its block-scaled kinds."""
    precision = PRECISIONS.get(dtype.split("/", maxsplit=1)[0])
    return precision.peak if precision else dtype


def _draw_streams(axes: Axes, report: RooflineReport, marks: Marks) -> None:
    x = Range.around(_values(marks, "x") or list(EMPTY_BYTES), margin=2.0)
    rates = [*_values(marks, "measured"), *_values(marks, "predicted")]
    families = {group.family for group in marks.groups}
    levels = {"stream": "memory", "collective": "link"}
    wanted = {levels[family] for family in families}
    memories = [one for one in report.roofs.memories if one.level in wanted]
    ceilings = [one.bytes_per_s for one in memories]
    highest = max([*rates, *ceilings])
    low = min([*rates, *ceilings, highest / LEAST_RANGE])
    y = Range(low=low / 2.0, high=2.0 * highest)
    _dress(axes, x, y)
    draw_bandwidths(axes, memories, x=x, y=y)
    for number, group in enumerate(marks.groups):
        _draw_group(axes, group, key=f"streams-{number}")
    axes.set_xlabel("traffic of one call, byte")
    axes.set_ylabel("rate of traffic, byte/s")
    axes.set_title("no matrix work", fontsize=10)
    axes.xaxis.set_major_formatter(_prefixed())


def _values(marks: Marks, name: str) -> list[float]:
    """All known values of one column of the marks."""
    found = [getattr(group, name) for group in marks.groups]
    values = np.concatenate(found) if found else np.zeros(0)
    return [float(value) for value in values[np.isfinite(values)]]


def _dress(axes: Axes, x: Range, y: Range) -> None:
    from matplotlib.ticker import LogLocator

    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(x.low, x.high)
    axes.set_ylim(y.low, y.high)
    axes.yaxis.set_major_formatter(_prefixed())
    for axis, ends in ((axes.xaxis, x), (axes.yaxis, y)):
        if ends.n_decades < SHORT_DECADES:
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_minor_formatter("")
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _prefixed() -> object:
    """Ticks with SI prefixes."""
    from matplotlib.ticker import EngFormatter

    return EngFormatter(sep=" ")


def _decimal(value: float, _: float) -> str:
    """A tick without powers."""
    return f"{value:,.0f}" if value >= 1.0 else f"{value:g}"


def _draw_group(axes: Axes, group: MarkGroup, *, key: str) -> None:
    colour = COLOURS[group.family]
    marker = MARKERS.get(group.dtype, OTHER_MARKER)
    both = np.isfinite(group.measured) & np.isfinite(group.predicted)
    lines = axes.vlines(
        group.x[both],
        np.minimum(group.measured, group.predicted)[both],
        np.maximum(group.measured, group.predicted)[both],
        color=colour,
        linewidth=0.7,
        alpha=0.8,
        zorder=3,
    )
    lines.set_gid(f"{key}-lines")
    hollow = axes.scatter(
        group.x,
        group.predicted,
        s=MARK_POINTS,
        marker=marker,
        facecolor="none",
        edgecolor=colour,
        linewidth=1.1,
        zorder=4,
    )
    hollow.set_gid(f"{key}-predicted")
    filled = axes.scatter(
        group.x,
        group.measured,
        s=MARK_POINTS,
        marker=marker,
        facecolor=colour,
        edgecolor="white",
        linewidth=0.4,
        zorder=5,
    )
    filled.set_gid(f"{key}-measured")


def _draw_legend(figure: Figure, content: _Content) -> None:
    """Families and what is filled in one row, dtypes in the next."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    groups = content.groups
    families = [name for name in COLOURS if name in {group.family for group in groups}]
    is_measured = content.matrix.n_measured + content.streams.n_measured > 0
    plain = {"linestyle": "none", "color": LINE, "markersize": 6}
    first: list[object] = [
        Patch(facecolor=COLOURS[name], label=FAMILY_WORDS[name]) for name in families
    ]
    if is_measured:
        first.append(Line2D([], [], marker="o", label="filled: measured", **plain))
    first.append(
        Line2D([], [], marker="o", markerfacecolor="none", label="hollow: predicted", **plain)
    )
    if is_measured:
        first.append(Line2D([], [], marker="|", label="line: the same kernel", **plain))
    second = [
        Line2D([], [], marker=MARKERS.get(name, OTHER_MARKER), label=clean(name) or "any", **plain)
        for name in _in_order({group.dtype for group in groups})
    ]
    for handles, height in ((first, 0.135), (second, 0.097)):
        legend = figure.legend(
            handles=handles,
            loc="lower center",
            bbox_to_anchor=(0.5, height),
            ncols=max(1, len(handles)),
            frameon=False,
            fontsize=9,
            handletextpad=0.5,
            columnspacing=1.6,
        )
        legend.set_gid("legend")


def _in_order(dtypes: set[str]) -> Sequence[str]:
    order = list(MARKERS)
    return sorted(dtypes, key=lambda name: (order.index(name) if name in order else 99, name))


def _caption(report: RooflineReport, content: _Content, made_by: str) -> str:
    """Sources, dates, how many kernels the marks stand for."""
    said = []
    for source in report.sources:
        date = f", {source.date}" if source.date else ""
        words = clean(source.words, longest=LONGEST_SOURCE)
        said.append(f"Measured: {words}{date}; {source.n_rows:,} kernels of this device.")
    n_measured = content.matrix.n_measured + content.streams.n_measured
    n_drawn = content.matrix.n_drawn + content.streams.n_drawn
    if n_drawn < n_measured:
        said.append(
            f"Of {n_measured:,} measured kernels {n_drawn:,} are drawn, one for each group of "
            "neighbours of a family and dtype."
        )
    elif n_measured < sum(source.n_rows for source in report.sources):
        said.append(f"A filter lets {n_measured:,} of them through.")
    alone = content.matrix.n_predicted_alone + content.streams.n_predicted_alone
    if alone and report.layer:
        said.append(
            f"Hollow marks without a line: kernels of a layer of {clean(report.layer)}, predicted."
        )
    peaks, memories = report.roofs.peaks, report.roofs.memories
    ceilings = sorted({one.figure_class for one in peaks} | {one.figure_class for one in memories})
    said.append(
        f"Ceilings: {', '.join(ceilings)} figures of the profile; peaks are dense. "
        "Intensity counts each operand read once and each result written once. "
        f"Predicted by {made_by}."
    )
    return " ".join(said)
