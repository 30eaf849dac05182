"""Words of the Catalogue: the tree, the figures of a thing, their sources. No widgets here."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tui.format import ASCII_MARKS, MARKS, fixed, short
from tui.widgets.key_words import key_rows
from tui.widgets.lines import Line, Span
from tui.widgets.row_list import ListRow
from twin.figures import better, figure_name, shown_figure
from twin.filter_expression import GRAMMAR

if TYPE_CHECKING:
    from twin.catalogue_view import Details, Entry, Figure

__all__ = [
    "TreeView",
    "calibration_lines",
    "figure_rows",
    "figure_text",
    "help_text",
    "problem_text",
    "section_rank",
    "source_lines",
    "table_text",
    "tree_rows",
]

PLURALS = {
    "accelerator": "accelerators",
    "node": "nodes",
    "cluster": "clusters",
    "site": "sites",
    "model": "models",
}
CLASS_WORDS = {
    "measured": "measured",
    "fitted": "fitted",
    "datasheet": "datasheet",
    "assumed": "assumed",
    "user": "set by you",
}
CUT_HINT = "  w shows all"
VALUE_WIDTH = 10
UNIT_WIDTH = 9
WIDE_FIGURES = 70
"""From this width on there is room for the source behind a value. [1]"""

SECTIONS = ("general", "compute", "memory", "link", "network", "power", "module", "", "derived")
""""Order of sections; an empty one stands for all others, and what was fitted comes last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeView:
    """Everything the tree draws."""

    entries: Sequence[Entry]
    """Things that the filter lets through."""
    totals: dict[str, int]
    """All things by kind."""
    collapsed: Collection[object]
    marked: Collection[tuple[str, str]]
    width: int
    is_ascii: bool = False


def tree_rows(view: TreeView) -> Iterator[ListRow]:
    """Kinds, vendors of accelerators, things."""
    for kind, plural in PLURALS.items():
        things = [entry for entry in view.entries if entry.kind == kind]
        if not things and not view.totals.get(kind):
            continue
        total = view.totals.get(kind, len(things))
        count = f"{len(things)} of {total}" if len(things) != total else f"{total}"
        is_open = kind not in view.collapsed
        yield _branch(kind, f"{plural} ({count})", view, depth=0, is_open=is_open)
        if is_open:
            yield from _below(kind, things, view)


def _below(kind: str, things: Sequence[Entry], view: TreeView) -> Iterator[ListRow]:
    if kind != "accelerator":
        yield from (_leaf(entry, view, depth=1) for entry in things)
        return
    for vendor in sorted({entry.vendor for entry in things}):
        made = [entry for entry in things if entry.vendor == vendor]
        key = (kind, vendor, "")
        is_open = key not in view.collapsed
        name = vendor or "cannot be read"
        yield _branch(key, f"{name} ({len(made)})", view, depth=1, is_open=is_open)
        if is_open:
            yield from (_leaf(entry, view, depth=2) for entry in made)


def _branch(key: object, text: str, view: TreeView, *, depth: int, is_open: bool) -> ListRow:
    mark = "v" if is_open else ">"
    return ListRow(key=key, line=[(fixed(f"{'  ' * depth}{mark} {text}", view.width), "bold")])


def _leaf(entry: Entry, view: TreeView, *, depth: int) -> ListRow:
    key = (entry.kind, entry.name)
    is_marked = key in view.marked
    mark = "*" if is_marked else " "
    note, style = "", "bold $accent" if is_marked else ""
    if entry.problem:
        note, style = "broken", "$error"
    elif entry.is_announced:
        note, style = "announced", "dim"
    elif entry.is_own:
        note = "own"
    name = f"{'  ' * depth}{mark} {entry.name}"
    if len(name) + len(note) + 2 > view.width:
        note = note[:3]
    text = fixed(name, view.width - len(note) - 1)
    return ListRow(
        key=key, line=[(text, style), (f"{note} ", "dim" if note != "broken" else style)]
    )


def figure_rows(details: Details, *, width: int, is_ascii: bool = False) -> list[ListRow]:
    """Sections of key, value, unit, class mark and source."""
    if details.entry.problem:
        return []
    marks = ASCII_MARKS if is_ascii else MARKS
    is_wide = width >= WIDE_FIGURES
    name_width = 30 if is_wide else max(12, width - VALUE_WIDTH - UNIT_WIDTH - 6)
    rows: list[ListRow] = []
    for section, figures in _sections(details.figures):
        line = [(fixed(f"{section} ", width), "$text-muted bold")]
        rows.append(ListRow(key=("section", section), line=line, is_heading=True))
        for figure in figures:
            number, unit = shown_figure(figure.key, figure.value)
            tone = "" if figure.value is not None else "dim"
            figure_class = "" if figure.value is None else figure.figure_class or ""
            mark = marks.get(figure_class, " ")
            is_text = not unit and isinstance(figure.value, str)
            fixed_width = name_width + 2 + VALUE_WIDTH + 1 + UNIT_WIDTH + 3
            line = [(fixed(f" {figure_name(figure.key)[1]}", name_width), "dim"), ("  ", "")]
            if is_text:
                line.append((fixed(number, VALUE_WIDTH + 1 + UNIT_WIDTH), tone))
            else:
                line.append((fixed(number, VALUE_WIDTH, align="right"), f"bold {tone}".strip()))
                line.append((" " + fixed(unit, UNIT_WIDTH), ""))
            line.append((f" {mark} ", "$accent"))
            room = max(0, width - fixed_width) if is_wide else 0
            line.append((fixed(figure.source, room), "dim"))
            rows.append(ListRow(key=figure.key, line=line))
    return rows


def _sections(figures: Sequence[Figure]) -> list[tuple[str, list[Figure]]]:
    """Figures by section."""
    found: dict[str, list[Figure]] = {}
    for figure in figures:
        found.setdefault(figure_name(figure.key)[0] or SECTIONS[0], []).append(figure)
    return [(section, found[section]) for section in sorted(found, key=section_rank)]


def section_rank(section: str) -> int:
    """Where a section stands among the others."""
    if section.startswith("calibration"):
        return len(SECTIONS)
    return SECTIONS.index(section) if section in SECTIONS else SECTIONS.index("")


def figure_text(figure: Figure) -> str:
    """A value with its unit, for copying."""
    return " ".join(part for part in shown_figure(figure.key, figure.value) if part)


def source_lines(
    figure: Figure | None, *, width: int, n_lines: int, is_ascii: bool = False
) -> list[Line]:
    """The figure under the cursor in full: key, value, class, source, wrapped."""
    if figure is None:
        return []
    marks = ASCII_MARKS if is_ascii else MARKS
    mark = marks.get(figure.figure_class or "", "")
    words = CLASS_WORDS.get(figure.figure_class or "", "")
    head = f" {figure.key}  {figure_text(figure)}  {mark} {words}".rstrip()
    direction = better(figure.key)
    if direction != "neither" and figure.is_figure:
        head += f"  ({direction} is better)"
    lines: list[Line] = [[(short(head, width), "bold")]]
    wrapped = textwrap.wrap(figure.source, max(20, width - 2))
    room = n_lines - 1
    for place, text in enumerate(wrapped[:room]):
        is_cut = place == room - 1 and len(wrapped) > room
        cut = short(text, width - len(CUT_HINT) - 1) + CUT_HINT
        lines.append([(f" {cut if is_cut else text}", "$text-muted")])
    return lines


def calibration_lines(details: Details, *, width: int, is_ascii: bool = False) -> list[Line]:
    """How much of a profile is calibrated, in one line."""
    if details.entry.problem:
        return [[(short(f" ! {details.entry.problem}", width), "$error")]]
    if not details.fits:
        unknown = [figure.key for figure in details.figures if figure.value is None]
        if unknown:
            words = f" nothing can be predicted: {', '.join(unknown)} not published; e sets a value"
            return [[(short(words, width), "$warning")]]
        return []
    marks = ASCII_MARKS if is_ascii else MARKS
    name = f"{details.device}: " if details.device != details.entry.name else ""
    line: list[Span] = [(f" {name}", "dim")]
    room = width - len(line[0][0])
    for place, (figure_class, words) in enumerate(details.summary):
        text = f"{', ' if place else ''}{_marked(words, marks[figure_class])}"
        if len(text) > room:
            line.append((short(text, room), ""))
            break
        line.append((text, ""))
        room -= len(text)
    return [line]


def problem_text(details: Details, *, width: int) -> str:
    """What is wrong with a file: file, key, value, what was expected; the rest works."""
    if not details.entry.problem:
        return ""
    wrapped = textwrap.wrap(f"! {details.entry.problem}", max(20, width - 2))
    rest = ["", "The rest of the catalogue works. r reads the files again."]
    return "\n".join(f" {text}" for text in [*wrapped, *rest])


def _marked(words: str, mark: str) -> str:
    """The mark behind the family and variant, as in "gemm bf16 ◆ 3000 samples 3.9 %"."""
    for start in ("datasheet only", "inherited from", "assumed"):
        if start in words:
            head, _, _ = words.partition(start)
            return f"{head}{mark} {words[len(head) :]}"
    parts = words.split(" ")
    digits = next((i for i, part in enumerate(parts) if part[:1].isdigit()), len(parts))
    return " ".join([*parts[:digits], mark, *parts[digits:]])


def table_text(details: Details) -> str:
    """Every figure of a thing as tab-separated text, in base units."""
    rows = ["key\tvalue\tclass\tsource"]
    for figure in details.figures:
        value = "" if figure.value is None else str(figure.value)
        rows.append("\t".join([figure.key, value, figure.figure_class or "", figure.source]))
    return "\n".join(rows)


def help_text(figure: Figure | None) -> str:
    """Keys, the grammar of filters, the marks; first what is under the cursor."""
    rows = [f"{figure.key}: {figure_text(figure)}", figure.source, ""] if figure else []
    rows += key_rows("catalogue")
    rows += ["", "Filter (/): " + GRAMMAR[0], *GRAMMAR[1:]]
    rows += ["  figures of an accelerator also find the nodes and clusters that have it"]
    rows += [
        "",
        "■ measured  ◆ fitted  □ datasheet  ? assumed  † set by you",
        "What is inherited from another device or family is assumed to hold here too.",
    ]
    return "\n".join(rows)
