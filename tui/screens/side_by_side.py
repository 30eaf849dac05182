"""Several things of the catalogue side by side, the best value of each row marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.format import ASCII_MARKS, MARKS, fixed, short
from tui.screens.catalogue_text import section_rank
from tui.widgets.lines import Span, content
from tui.widgets.row_list import ListRow, RowList
from twin.figures import better, display_unit, figure_name, shown_figure

if TYPE_CHECKING:
    from twin.catalogue_view import Details, Figure, Value

__all__ = ["SideBySide", "SideBySideScreen", "side_rows", "side_text"]

NAME_WIDTH = 24
UNIT_WIDTH = 22
COLUMN_WIDTH = 16
ARROWS = {"higher": "↑ better", "lower": "↓ better", "neither": ""}
WORDS = {"higher": "more better", "lower": "less better", "neither": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """What is compared, and how it is drawn."""

    things: tuple[Details, ...]
    width: int
    i_first: int = 0
    """First column in sight."""
    differs_only: bool = False
    is_ascii: bool = False

    @property
    def n_columns(self) -> int:
        """Columns that fit. [1]"""
        return max(1, (self.width - NAME_WIDTH - UNIT_WIDTH) // COLUMN_WIDTH)


def side_rows(view: SideBySide) -> list[ListRow]:
    """One row per figure: name, unit with the better direction, a value of each thing."""
    table = [{figure.key: figure for figure in one.figures} for one in view.things]
    keys = dict.fromkeys(key for figures in table for key in figures)
    rows: list[ListRow] = []
    section = None
    for key in sorted(keys, key=_rank):
        figures = [figures.get(key) for figures in table]
        values = [figure.value if figure else None for figure in figures]
        if view.differs_only and len({repr(value) for value in values}) == 1:
            continue
        head, name = figure_name(key)
        if head != section:
            section = head
            line = [(fixed(f"{head or 'general'} ", view.width), "$text-muted bold")]
            rows.append(ListRow(key=("section", head), line=line, is_heading=True))
        rows.append(ListRow(key=key, line=_row(key, name, figures, view)))
    return rows


def _rank(key: str) -> int:
    return section_rank(figure_name(key)[0] or "general")


def _row(key: str, name: str, figures: Sequence[Figure | None], view: SideBySide) -> list[Span]:
    direction = (WORDS if view.is_ascii else ARROWS)[better(key)]
    unit = f"{display_unit(key)} {direction}".strip()
    line: list[Span] = [
        (fixed(f" {name}", NAME_WIDTH), "dim"),
        (fixed(unit, UNIT_WIDTH), "dim"),
    ]
    best = _best(key, [figure.value if figure else None for figure in figures])
    marks = ASCII_MARKS if view.is_ascii else MARKS
    last = view.i_first + view.n_columns
    for place, figure in enumerate(figures[view.i_first : last], start=view.i_first):
        text = shown_figure(key, figure.value if figure else None)[0]
        is_known = figure is not None and figure.value is not None
        mark = marks.get(figure.figure_class or "", " ") if figure and is_known else " "
        cell = short(text, COLUMN_WIDTH - 4)
        line.append((" " * (COLUMN_WIDTH - 2 - len(cell)), ""))
        line.append((cell, "bold underline" if place in best else ""))
        line.append((f" {mark}", "$accent"))
    return line


def _best(key: str, values: Sequence[Value]) -> frozenset[int]:
    """Places of the best value; none where all are equal or no direction is better."""
    numbers = {
        place: value
        for place, value in enumerate(values)
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    direction = better(key)
    if direction == "neither" or len(set(numbers.values())) < 2:
        return frozenset()
    pick = max if direction == "higher" else min
    wanted = pick(numbers.values())
    return frozenset(place for place, value in numbers.items() if value == wanted)


def side_text(view: SideBySide) -> str:
    """All columns as tab-separated text, in base units."""
    names = [one.entry.name for one in view.things]
    table = [{figure.key: figure.value for figure in one.figures} for one in view.things]
    keys = dict.fromkeys(key for values in table for key in values)
    rows = ["\t".join(["key", *names])]
    for key in keys:
        cells = ["" if (value := values.get(key)) is None else str(value) for values in table]
        rows.append("\t".join([key, *cells]))
    return "\n".join(rows)


class SideBySideScreen(ModalScreen[None]):
    """Full screen; left and right scroll over things, up and down over figures."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,equals_sign", "close", "back"),
        Binding("d", "differs_only", "differing rows only"),
        Binding("Y", "copy_table", "copy as a table"),
    ]

    def __init__(self, things: Sequence[Details], *, is_ascii: bool = False) -> None:
        super().__init__(id="side-screen")
        self._view = SideBySide(things=tuple(things), width=80, is_ascii=is_ascii)

    def compose(self) -> ComposeResult:
        """Title, names of the things, rows, keys."""
        yield Static("", id="side-title", markup=False)
        yield Static("", id="side-names", markup=False)
        is_ascii = self._view.is_ascii
        yield RowList(id="side-rows", empty=" The things do not differ.", is_ascii=is_ascii)
        keys = " left right scroll   d differing rows only   Y copy as a table   esc back"
        yield Static(keys, id="side-keys", markup=False)

    def on_mount(self) -> None:
        """Draw; the rows have focus."""
        self.query_one(RowList).focus()
        self._draw()

    def on_resize(self) -> None:
        """More columns fit on a wider terminal."""
        self._draw()

    def _draw(self, **changes: object) -> None:
        from dataclasses import replace

        view = replace(self._view, width=self.size.width or 80, **changes)  # type: ignore[arg-type]
        last = max(0, len(view.things) - view.n_columns)
        self._view = view = replace(view, i_first=min(max(view.i_first, 0), last))
        shown = view.things[view.i_first : view.i_first + view.n_columns]
        more = len(view.things) - len(shown)
        title = f" {len(view.things)} side by side; the best value of a row is underlined"
        title += f"   {more} more: left, right" if more else ""
        self.query_one("#side-title", Static).update(title)
        names: list[Span] = [(" " * (NAME_WIDTH + UNIT_WIDTH), "")]
        names += [
            (
                fixed(f"{short(one.entry.name, COLUMN_WIDTH - 3)}  ", COLUMN_WIDTH, align="right"),
                "bold",
            )
            for one in shown
        ]
        self.query_one("#side-names", Static).update(content([names]))
        self.query_one(RowList).show_rows(side_rows(view))

    def on_row_list_sideways(self, message: RowList.Sideways) -> None:
        """Scroll over the things."""
        self._draw(i_first=self._view.i_first + message.step)

    def action_differs_only(self) -> None:
        """Leave out rows in which all things agree, and back."""
        self._draw(differs_only=not self._view.differs_only)

    def action_copy_table(self) -> None:
        """Copy all columns."""
        self.app.copy_to_clipboard(side_text(self._view))
        self.notify("copied as tab-separated text")

    def action_close(self) -> None:
        """Back to the catalogue."""
        self.dismiss(None)
