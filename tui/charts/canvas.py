"""Marker sets, and a canvas of dots that are finer than cells.

A braille cell holds 2 x 4 dots, a block cell 2 x 2; an ASCII cell holds one, drawn with the
glyph of its series. Series that share a cell: the one drawn last gives the colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

from tui.charts.picture import Markers, Sheet

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_BRAILLE_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BLOCK_BITS = ((1, 2), (4, 8))
_BLOCKS = " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"
_BITS: Mapping[Markers, tuple[tuple[int, ...], ...]] = {
    "braille": _BRAILLE_BITS,
    "block": _BLOCK_BITS,
    "ascii": ((1,),),
}

_DOTS = {markers: (len(bits[0]), len(bits)) for markers, bits in _BITS.items()}


def markers_for(*, setting: str, encoding: str, term: str) -> Markers:
    """The marker set for a terminal: what the settings say, or the finest it can show.

    Parameters
    ----------
    setting : str
        "braille", "block", "ascii" or "auto".
    encoding : str
        Encoding of the locale.
    term : str
        Value of TERM; the Linux console has a font without braille.
    """
    for markers in get_args(Markers):
        if setting == markers:
            chosen: Markers = markers
            return chosen
    is_unicode = encoding.lower().replace("-", "").replace("_", "") == "utf8"
    return "braille" if is_unicode and term not in {"linux", "dumb"} else "ascii"


def dots_per_cell(markers: Markers) -> tuple[int, int]:
    """Dots across and down in one cell."""
    return _DOTS[markers]


def glyph_of(mask: int, markers: Markers) -> str:
    """The glyph with these dots set, in a set that has dots within a cell."""
    return chr(0x2800 + mask) if markers == "braille" else _BLOCKS[mask]


def masks_of(
    x: npt.NDArray[np.integer],
    y: npt.NDArray[np.integer],
    *,
    width: int,
    height: int,
    markers: Markers,
) -> npt.NDArray[np.integer]:
    """The dots set in each cell, as (height, width) masks, from dot columns and rows."""
    import numpy as np

    across, down = dots_per_cell(markers)
    is_set = np.zeros((height * down, width * across), dtype=np.bool_)
    is_set[y, x] = True
    by_cell = is_set.reshape(height, down, width, across)
    masks: npt.NDArray[np.integer] = np.einsum("hdwa,da->hw", by_cell, np.array(_BITS[markers]))
    return masks


@dataclass(frozen=True, slots=True, kw_only=True)
class Pen:
    """What a stroke looks like."""

    role: str
    """Colour role."""
    glyph: str
    """Glyph of a dot where the marker set has no dots within a cell."""


@dataclass(slots=True, kw_only=True)
class DotCanvas:
    """Dots over a rectangle of cells; dot (0, 0) is at the top left."""

    width: int
    """Cells across."""
    height: int
    """Cells down."""
    markers: Markers
    """Marker set."""
    _masks: dict[tuple[int, int], int] = field(default_factory=dict)
    _pens: dict[tuple[int, int], Pen] = field(default_factory=dict)

    @property
    def n_across(self) -> int:
        """Dots across."""
        return self.width * dots_per_cell(self.markers)[0]

    @property
    def n_down(self) -> int:
        """Dots down."""
        return self.height * dots_per_cell(self.markers)[1]

    def dot(self, x: int, y: int, *, pen: Pen) -> None:
        """Set one dot; outside the canvas nothing happens."""
        across, down = _DOTS[self.markers]
        if not (0 <= x < self.width * across and 0 <= y < self.height * down):
            return
        cell = (y // down, x // across)
        self._masks[cell] = self._masks.get(cell, 0) | _BITS[self.markers][y % down][x % across]
        self._pens[cell] = pen

    def polyline(self, points: Iterable[tuple[int, int]], *, pen: Pen) -> None:
        """Join points by straight strokes; a single point is a dot."""
        before: tuple[int, int] | None = None
        for point in points:
            if point == before:
                continue
            for x, y in _stroke(before or point, point):
                self.dot(x, y, pen=pen)
            before = point

    def draw(self, sheet: Sheet, *, row: int, column: int) -> None:
        """Put the dots on a sheet, the top left cell at (row, column); empty cells are left."""
        for (cell_row, cell_column), mask in self._masks.items():
            pen = self._pens[cell_row, cell_column]
            glyph = pen.glyph if self.markers == "ascii" else glyph_of(mask, self.markers)
            sheet.put(glyph, row=row + cell_row, column=column + cell_column, role=pen.role)


def _stroke(start: tuple[int, int], end: tuple[int, int]) -> Iterable[tuple[int, int]]:
    """Dots from start to end, as many as the longer side, without gaps."""
    (x0, y0), (x1, y1) = start, end
    n_steps = max(abs(x1 - x0), abs(y1 - y0))
    if n_steps == 0:
        return [start]
    half = n_steps // 2
    return [
        (
            x0 + ((x1 - x0) * i_step + half) // n_steps,
            y0 + ((y1 - y0) * i_step + half) // n_steps,
        )
        for i_step in range(n_steps + 1)
    ]
