"""What every chart returns: rows of text, colour roles on them, a legend and a text alternative.

A chart is a pure function of (data, size, style). It draws on a `Sheet`, the only mutable
thing here, which ends as a frozen `Picture`. Nothing in this folder knows a terminal
library: a screen gives each role a colour of its theme.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Literal

Markers = Literal["braille", "block", "ascii"]

N_SERIES = 8
"""Series that differ by both colour and glyph; a ninth begins again with the first."""

SERIES_GLYPHS = "*+ox#%&="
"""One glyph per series, all ASCII, so that no marker set needs a second list."""

SERIES_ROLES = tuple(f"series-{i_series}" for i_series in range(N_SERIES))
N_HEAT_STEPS = 8
HEAT_ROLES = tuple(f"heat-{i_step}" for i_step in range(N_HEAT_STEPS))
ROLES = (
    "title",
    "axis",
    "label",
    "muted",
    "band",
    "front",
    "highlight",
    "limit",
    "cursor",
    *SERIES_ROLES,
    *HEAT_ROLES,
)
"""Every role a span can carry: a theme that knows these can colour any chart."""

_PLAIN = str.maketrans(
    {"µ": "u", "μ": "u", "·": ".", "×": "x", "–": "-", "—": "-", "…": "~", "°": "o"}
    | {"²": "2", "³": "3", "\u2009": " ", "\u202f": " ", "\u00a0": " ", "₂": "2"}
    | {"░": ":", "│": "|", "▲": "^", "■": "M", "◆": "F", "□": "D", "†": "U"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Cells that a chart may fill."""

    width: int
    """Cells in a row."""
    height: int
    """Rows."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            message = f"a chart needs at least 1 x 1 cells, got {self.width} x {self.height}"
            raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a chart is drawn, whatever it shows."""

    markers: Markers = "braille"
    """Marker set: 2 x 4 dots per cell, 2 x 2 blocks per cell, or ASCII only."""

    def plain(self, text: str) -> str:
        """Text as this style can show it: in ASCII, near letters for what is not."""
        if self.markers != "ascii" or text.isascii():
            return text
        return text.translate(_PLAIN).encode("ascii", "replace").decode("ascii")


@dataclass(frozen=True, slots=True)
class Span:
    """Cells start to end (exclusive) of one row, and the colour role that they carry."""

    row: int
    start: int
    end: int
    role: str


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """One line of the legend: the glyph on the chart, its role, and what it stands for."""

    glyph: str
    role: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Where on a picture the data stand."""

    top: int
    left: int
    width: int
    height: int

    def fraction(self, *, row: int, column: int) -> tuple[float, float]:
        """Place of a cell in the plot: 0 is left and below, 1 right and above. [1]"""
        across = (column - self.left + 0.5) / self.width
        upward = 1.0 - (row - self.top + 0.5) / self.height
        return across, upward


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A drawn chart."""

    rows: tuple[str, ...]
    """Rows of text, all of the width that was asked for."""
    spans: tuple[Span, ...]
    """Coloured stretches, by row and start, without overlap."""
    legend: tuple[LegendEntry, ...]
    """What the glyphs mean; also written on the last row of the picture where it fits."""
    text: str
    """The same content in words, for a screen reader or a log."""
    plot: Plot | None = None
    """Where the data stand; None for a picture without axes."""

    def __str__(self) -> str:
        return "\n".join(self.rows)


class Sheet:
    """Cells to write on; what falls outside is cut off."""

    def __init__(self, *, size: Size, style: Style) -> None:
        self.size = size
        self.style = style
        self._glyphs = [[" "] * size.width for _ in range(size.height)]
        self._roles = [[""] * size.width for _ in range(size.height)]

    def put(self, text: str, *, row: int, column: int, role: str = "") -> None:
        """Write text from a cell to the right, over what stood there."""
        if not 0 <= row < self.size.height:
            return
        text = self.style.plain(text)
        start, end = max(column, 0), min(column + len(text), self.size.width)
        if start < end:
            self._glyphs[row][start:end] = text[start - column : end - column]
            self._roles[row][start:end] = [role] * (end - start)

    def line(self, text: str, *, row: int, role: str = "") -> None:
        """Write text over a whole row, shortened with a mark where it does not fit."""
        self.put(shortened(text, self.size.width), row=row, column=0, role=role)

    def glyph_at(self, *, row: int, column: int) -> str:
        """The glyph in a cell."""
        return self._glyphs[row][column]

    def put_legend(self, legend: tuple[LegendEntry, ...], *, row: int) -> None:
        """Write the legend on one row: entries that do not fit are counted at the end."""
        column = 0
        for i_entry, entry in enumerate(legend):
            room = self.size.width - column
            n_left = len(legend) - i_entry
            if len(entry.glyph) + 1 + len(entry.text) > room:
                more = f"{n_left} more" if column else f"{entry.glyph} {entry.text}"
                self.put(shortened(more, room), row=row, column=column, role="muted")
                return
            self.put(entry.glyph, row=row, column=column, role=entry.role)
            column += len(entry.glyph) + 1
            self.put(entry.text, row=row, column=column, role="label")
            column += len(entry.text) + 3

    def picture(
        self, *, text: str, legend: tuple[LegendEntry, ...] = (), plot: Plot | None = None
    ) -> Picture:
        """Freeze what was drawn."""
        return Picture(
            rows=tuple("".join(glyphs) for glyphs in self._glyphs),
            spans=tuple(
                span for row, roles in enumerate(self._roles) for span in _runs(row, roles)
            ),
            legend=legend,
            text=text,
            plot=plot,
        )


def shortened(text: str, width: int) -> str:
    """Text cut to a width, with `~` as its last letter where something was cut off."""
    if len(text) <= width:
        return text
    return text[: width - 1] + "~" if width > 0 else ""


def _runs(row: int, roles: list[str]) -> list[Span]:
    """Stretches of equal role in one row."""
    spans = []
    start = 0
    for role, run in groupby(roles):
        end = start + len(list(run))
        if role:
            spans.append(Span(row, start, end, role))
        start = end
    return spans
