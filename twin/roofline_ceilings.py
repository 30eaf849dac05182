"""Ceilings of a roofline on the axes of a picture, each labelled where it is drawn."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twin.picture_file import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from twin.roofline import DeviceRoofs, MemoryRoof

__all__ = ["Range", "draw_bandwidths", "draw_slopes_and_peaks", "shown_memories", "si"]

PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
STYLES = {"memory": "solid", "cache": "dashed", "link": "dashdot"}
UNUSED = "#9a9a9a"
"""Of a peak that no kernel of the picture uses."""
UNUSED_INK = "#6a6a6a"
"""Of its label, which is read."""
APART = 0.075
"""Labels nearer than this share of the height would touch. [1]"""
LABEL_SIZE = 8.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Ends of a logarithmic axis."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Iterable[float], *, margin: float) -> Range:
        """From below the least to above the greatest value."""
        found = list(values)
        return cls(low=min(found) / margin, high=max(found) * margin)

    @property
    def n_decades(self) -> float:
        """Decades between the ends. [1]"""
        return math.log10(self.high / self.low)

    def share(self, value: float) -> float:
        """Where a value stands between the ends. [1]"""
        return math.log(value / self.low) / math.log(self.high / self.low)

    def at(self, share: float) -> float:
        """The value at a share of the way from end to end."""
        return self.low * math.exp(share * math.log(self.high / self.low))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Peak:
    """A height of the roof with all dtypes that share it."""

    flop_per_s: float
    dtypes: tuple[str, ...]
    is_used: bool


def si(value: float, unit: str) -> str:
    """A rate in three digits with a prefix."""
    for factor, prefix in PREFIXES:
        if value >= factor:
            number = value / factor
            digits = 0 if number >= 100 else 1 if number >= 10 else 2
            return f"{number:.{digits}f} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def shown_memories(roofs: DeviceRoofs) -> list[MemoryRoof]:
    """Levels whose slopes bound matrix work: memory, and the cache where it is known."""
    return [one for one in roofs.memories if one.level in ("memory", "cache")]


def draw_slopes_and_peaks(
    axes: Axes, roofs: DeviceRoofs, *, x: Range, y: Range, dtypes: Collection[str]
) -> None:
    """Slopes of memories up to the highest peak; peaks from the ridge of the memory.

    Between the ridges of cache and memory a peak is dashed: only data that the cache holds get
    there.
    """
    memories = shown_memories(roofs)
    highest = max(peak.flop_per_s for peak in roofs.peaks)
    for memory in memories:
        start = max(x.low, y.low / memory.bytes_per_s)
        end = min(x.high, highest / memory.bytes_per_s)
        if start < end:
            (line,) = axes.plot(
                [start, end],
                [memory.bytes_per_s * start, memory.bytes_per_s * end],
                color=INK,
                linewidth=1.4 if memory.level == "memory" else 1.0,
                linestyle=STYLES[memory.level],
                zorder=2,
            )
            line.set_gid(f"ceiling-{memory.level}")
            _label_slope(axes, memory, x=x, y=y, start=start, end=end)
    bandwidth = min(memory.bytes_per_s for memory in memories)
    fastest = max(memory.bytes_per_s for memory in memories)
    peaks = _peaks(roofs, dtypes)
    for peak in peaks:
        rate, colour = peak.flop_per_s, INK if peak.is_used else UNUSED
        ridge = max(x.low, rate / bandwidth)
        width = 1.4 if peak.is_used else 0.9
        (line,) = axes.plot([ridge, x.high], [rate, rate], color=colour, linewidth=width, zorder=2)
        line.set_gid(f"peak-{peak.dtypes[0]}")
        if fastest > bandwidth:
            axes.plot(
                [max(x.low, rate / fastest), ridge],
                [rate, rate],
                color=colour,
                linewidth=0.9,
                linestyle="dashed",
                zorder=2,
            )
    _label_peaks(axes, peaks, x=x, y=y)


def _peaks(roofs: DeviceRoofs, used: Collection[str]) -> list[_Peak]:
    """Heights from the highest down."""
    by_rate: dict[float, list[str]] = {}
    for peak in roofs.peaks:
        by_rate.setdefault(peak.flop_per_s, []).append(peak.dtype)
    return [
        _Peak(flop_per_s=rate, dtypes=tuple(names), is_used=any(name in used for name in names))
        for rate, names in sorted(by_rate.items(), reverse=True)
    ]


def _label_peaks(axes: Axes, peaks: Sequence[_Peak], *, x: Range, y: Range) -> None:
    """Names beyond the right end of the lines, so far apart that none touches another."""
    labels = [
        (f"{', '.join(peak.dtypes)}\n{si(peak.flop_per_s, 'flop/s')}", peak.flop_per_s)
        for peak in peaks
    ]
    colours = [INK if peak.is_used else UNUSED_INK for peak in peaks]
    _label_right(axes, labels, colours=colours, x=x, y=y)


def _label_right(
    axes: Axes,
    labels: Sequence[tuple[str, float]],
    *,
    colours: Sequence[str],
    x: Range,
    y: Range,
) -> None:
    """Two-line labels right of the axes, from the highest down."""
    above = math.inf
    for (text, height), colour in zip(labels, colours, strict=True):
        share = min(y.share(height), above - APART)
        axes.annotate(
            text,
            (x.high, y.at(share)),
            xytext=(5, 0),
            textcoords="offset points",
            ha="left",
            va="center",
            fontsize=LABEL_SIZE,
            color=colour,
            linespacing=1.0,
            annotation_clip=False,
        )
        above = share


def _label_slope(
    axes: Axes, memory: MemoryRoof, *, x: Range, y: Range, start: float, end: float
) -> None:
    """Name and bandwidth along the slope, near its lower end."""
    box = axes.get_position()
    width, height = axes.figure.get_size_inches()
    run = box.width * width / math.log(x.high / x.low)
    rise = box.height * height / math.log(y.high / y.low)
    place = start * (end / start) ** 0.08
    fitted = " (fitted)" if memory.figure_class == "fitted" else ""
    axes.annotate(
        f"{memory.level} {si(memory.bytes_per_s, 'B/s')}{fitted}",
        (place, memory.bytes_per_s * place),
        xytext=(-2, 4),
        textcoords="offset points",
        rotation=math.degrees(math.atan2(rise, run)),
        rotation_mode="anchor",
        ha="left",
        va="bottom",
        fontsize=LABEL_SIZE,
        color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        zorder=2.5,
    )


def draw_bandwidths(axes: Axes, memories: Sequence[MemoryRoof], *, x: Range, y: Range) -> None:
    """Bandwidths, such as those of memory and link, as flat ceilings."""
    labels = []
    for memory in sorted(memories, key=lambda one: -one.bytes_per_s):
        rate = memory.bytes_per_s
        style = STYLES[memory.level]
        (line,) = axes.plot(
            [x.low, x.high], [rate, rate], color=INK, linewidth=1.3, linestyle=style, zorder=2
        )
        line.set_gid(f"bandwidth-{memory.level}")
        labels.append((f"{memory.level}\n{si(rate, 'B/s')}", rate))
    _label_right(axes, labels, colours=[INK] * len(labels), x=x, y=y)
