"""Roofline on log-log axes: ceilings of memory and arithmetic, kernels as letters.

Attainable rate at an arithmetic intensity I is min(peak, bandwidth x I): Williams, Waterman
and Patterson, "Roofline: an insightful visual performance model", CACM 52 (2009).
"""

from __future__ import annotations

from dataclasses import dataclass

from tui.charts.axes import Axis, is_drawable, scale_for, short
from tui.charts.canvas import DotCanvas, Pen
from tui.charts.frame import Axes, Frame, framed, has_room, nothing, too_small
from tui.charts.picture import LegendEntry, Picture, Size, Style
from tui.charts.window import WHOLE, Window

INTENSITY = Axis(name="intensity", unit="flop/byte", is_log=True)
RATE = Axis(name="arithmetic rate", unit="flop/s", better="higher", is_log=True)
TITLE = f"Roofline: {RATE.title} over {INTENSITY.title}"

_MEMORY_UNIT = Axis(name="bandwidth", unit="byte/s")
N_NAMED = 8
"""Up to so many kernels are named one by one. [1]"""

NEAR_CELLS = 3
"""How far from a kernel a click still means it, in columns. [1]"""

_MARGIN = 8.0
"""How far the picture reaches beyond ridges and kernels. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """A ceiling of arithmetic, such as one precision."""

    name: str
    flop_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A ceiling of memory, such as one level."""

    name: str
    bytes_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelPoint:
    """A kernel on the roofline."""

    letter: str
    """What stands on the chart: a capital; a kernel without calibration is drawn small."""
    name: str
    intensity_flop_per_byte: float
    flop_per_s: float
    is_calibrated: bool = True
    """Whether it rests on measurements rather than on a datasheet."""
    family: str = ""
    """What the letter stands for, where there are too many kernels to name each."""
    basis: str = "datasheet only"
    """On what a kernel that is drawn small rests."""
    count: int = 1
    """Kernels that stand here together."""
    row: int | None = None
    """Row of a table that the kernel is, for whoever draws it."""

    @property
    def glyph(self) -> str:
        """The letter, small where the kernel rests on a datasheet only."""
        return self.letter.upper() if self.is_calibrated else self.letter.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """What a roofline shows."""

    peaks: tuple[Peak, ...]
    memories: tuple[Memory, ...]
    kernels: tuple[KernelPoint, ...] = ()
    selected: int | None = None
    """Index of the kernel under the cursor."""
    window: Window = WHOLE
    """The part that is shown."""


def attainable_flop_per_s(intensity_flop_per_byte: float, *, peak: Peak, memory: Memory) -> float:
    """The lower of peak and bandwidth times intensity. [flop/s]"""
    return min(peak.flop_per_s, memory.bytes_per_s * intensity_flop_per_byte)


def roofline(chart: Roofline, *, size: Size, style: Style) -> Picture:
    """Draw a roofline."""
    if not _peaks(chart) or not _memories(chart):
        sentence = "No peak and bandwidth are known for this device."
        return nothing(sentence, title=TITLE, size=size, style=style)
    text = _in_words(chart)
    if not has_room(size):
        return too_small(TITLE, size=size, style=style, text=text)
    frame = framed(TITLE, axes=_axes(chart).within(chart.window), size=size, style=style)
    _draw_ceilings(frame, chart)
    kernels = _kernels(chart)
    selected = None if chart.selected is None else chart.kernels[chart.selected]
    # The selected kernel last: it is never under another.
    for kernel in sorted(kernels, key=lambda kernel: kernel is selected):
        frame.put_point(
            kernel.glyph,
            x=kernel.intensity_flop_per_byte,
            y=kernel.flop_per_s,
            role="highlight" if kernel is selected else "front",
        )
    return frame.finished(legend=_legend(chart), text=text)


def place_of(chart: Roofline) -> tuple[float, float] | None:
    """Where the selected kernel stands on the whole axes; None where it has no place. [1]"""
    kernel = None if chart.selected is None else chart.kernels[chart.selected]
    if kernel is None or not _has_place(kernel):
        return None
    return _axes(chart).place(kernel.intensity_flop_per_byte, kernel.flop_per_s)


def kernel_at(
    chart: Roofline, *, cell: tuple[int, int], size: Size, style: Style
) -> KernelPoint | None:
    """The kernel drawn nearest to a (row, column) of the picture.

    None where no kernel lies in the cell or in one that touches it.
    """
    if not _peaks(chart) or not _memories(chart) or not has_room(size):
        return None
    frame = framed(TITLE, axes=_axes(chart).within(chart.window), size=size, style=style)

    def distance(kernel: KernelPoint) -> int:
        row, column = frame.cell(kernel.intensity_flop_per_byte, kernel.flop_per_s)
        # A row is about twice as high as a column is wide.
        return max(2 * abs(row - cell[0]), abs(column - cell[1]))

    seen = [
        kernel
        for kernel in _kernels(chart)
        if frame.x_scale.holds(kernel.intensity_flop_per_byte)
        and frame.y_scale.holds(kernel.flop_per_s)
    ]
    nearest = min(seen, key=distance, default=None)
    return nearest if nearest is not None and distance(nearest) < NEAR_CELLS else None


def _peaks(chart: Roofline) -> list[Peak]:
    return [peak for peak in chart.peaks if is_drawable(peak.flop_per_s, RATE)]


def _memories(chart: Roofline) -> list[Memory]:
    return [memory for memory in chart.memories if is_drawable(memory.bytes_per_s, RATE)]


def _has_place(kernel: KernelPoint) -> bool:
    intensity = kernel.intensity_flop_per_byte
    return is_drawable(intensity, INTENSITY) and is_drawable(kernel.flop_per_s, RATE)


def _kernels(chart: Roofline) -> list[KernelPoint]:
    return [kernel for kernel in chart.kernels if _has_place(kernel)]


def _axes(chart: Roofline) -> Axes:
    """Ranges that hold every ridge and kernel with a margin."""
    peaks, memories, kernels = _peaks(chart), _memories(chart), _kernels(chart)
    ridges = [peak.flop_per_s / memory.bytes_per_s for peak in peaks for memory in memories]
    intensities = [*ridges, *(kernel.intensity_flop_per_byte for kernel in kernels)]
    rates = [peak.flop_per_s for peak in peaks] + [kernel.flop_per_s for kernel in kernels]
    lowest = min(memory.bytes_per_s for memory in memories) * min(ridges) / _MARGIN
    return Axes(
        x=INTENSITY,
        y=RATE,
        x_scale=scale_for((min(intensities) / _MARGIN, max(intensities) * _MARGIN), INTENSITY),
        y_scale=scale_for((min(lowest, *rates), max(rates) * 1.5), RATE),
    )


def _draw_ceilings(frame: Frame, chart: Roofline) -> None:
    """Slopes up to the highest peak, flats from the ridge with the fastest memory."""
    canvas = DotCanvas(width=frame.width, height=frame.height, markers=frame.sheet.style.markers)
    highest = max(peak.flop_per_s for peak in _peaks(chart))
    fastest = max(memory.bytes_per_s for memory in _memories(chart))
    x_scale, y_scale = frame.x_scale, frame.y_scale
    for i_memory, memory in enumerate(_memories(chart)):
        start = max(x_scale.low, y_scale.low / memory.bytes_per_s)
        end = min(x_scale.high, y_scale.high / memory.bytes_per_s, highest / memory.bytes_per_s)
        if start < end:
            ends = [(x, memory.bytes_per_s * x) for x in (start, end)]
            pen = Pen(role=_slope_role(i_memory), glyph="/")
            canvas.polyline((frame.dot(x, y) for x, y in ends), pen=pen)
    peaks = [peak for peak in _peaks(chart) if y_scale.holds(peak.flop_per_s)]
    for peak in peaks:
        start = max(peak.flop_per_s / fastest, x_scale.low)
        if start < x_scale.high:
            ends = [(start, peak.flop_per_s), (x_scale.high, peak.flop_per_s)]
            canvas.polyline((frame.dot(x, y) for x, y in ends), pen=Pen(role="limit", glyph="-"))
    canvas.draw(frame.sheet, row=frame.top, column=frame.left)
    for peak in peaks:
        row, column = frame.cell(x_scale.high, peak.flop_per_s)
        frame.sheet.put(peak.name, row=row, column=column + 1 - len(peak.name), role="limit")


def _slope_role(i_memory: int) -> str:
    return f"series-{i_memory % 8}"


def _legend(chart: Roofline) -> tuple[LegendEntry, ...]:
    """Kernels first, the selected one in full; then what the ceilings are."""
    entries = []
    for i_kernel, kernel in enumerate(chart.kernels):
        is_selected = i_kernel == chart.selected
        if is_selected or len(chart.kernels) <= N_NAMED:
            said = kernel.name if kernel.is_calibrated else f"{kernel.name} ({kernel.basis})"
            entries.append(LegendEntry(kernel.glyph, "highlight" if is_selected else "front", said))
    if len(chart.kernels) > N_NAMED:
        entries += _families(chart)
    for i_memory, memory in enumerate(_memories(chart)):
        said = f"{memory.name} {short(memory.bytes_per_s, _MEMORY_UNIT)}"
        entries.append(LegendEntry("/", _slope_role(i_memory), said))
    return (
        *entries,
        *(
            LegendEntry("-", "limit", f"{peak.name} {short(peak.flop_per_s, RATE)}")
            for peak in _peaks(chart)
        ),
    )


def _families(chart: Roofline) -> list[LegendEntry]:
    """One entry per letter with the number of kernels behind it."""
    counts: dict[tuple[str, str, str], int] = {}
    for kernel in chart.kernels:
        basis = "" if kernel.is_calibrated else f", {kernel.basis}"
        key = (kernel.glyph, kernel.family, basis)
        counts[key] = counts.get(key, 0) + kernel.count
    return [
        LegendEntry(glyph, "front", f"{family} {count}{basis}")
        for (glyph, family, basis), count in counts.items()
    ]


def _in_words(chart: Roofline) -> str:
    """Each kernel with its share of the highest roof over it."""
    sentences = [f"{TITLE}."]
    sentences += [f"{peak.name} peak {short(peak.flop_per_s, RATE)}." for peak in _peaks(chart)]
    memories = _memories(chart)
    sentences += [f"{one.name} {short(one.bytes_per_s, _MEMORY_UNIT)}." for one in memories]
    kernels = _kernels(chart)
    if len(kernels) > N_NAMED:
        sentences += [f"{entry.glyph} {entry.text}." for entry in _families(chart)]
        kernels = [chart.kernels[chart.selected]] if chart.selected is not None else []
    for kernel in kernels:
        intensity = kernel.intensity_flop_per_byte
        roof = max(
            attainable_flop_per_s(intensity, peak=peak, memory=memory)
            for peak in _peaks(chart)
            for memory in memories
        )
        said = (
            f"{kernel.glyph} {kernel.name}: {short(kernel.flop_per_s, RATE)} at"
            f" {short(intensity, INTENSITY)}, {kernel.flop_per_s / roof:.0%} of the roof"
        )
        sentences.append(said + ("." if kernel.is_calibrated else f", {kernel.basis}."))
    return " ".join(sentences)
