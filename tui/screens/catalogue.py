"""Catalogue: which parts are there, and where do their figures come from?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult, SystemCommand
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Static
from textual.worker import get_current_worker

from hardware_profiles.errors import TweelingError
from tui.changes import Change, Changes
from tui.compute import Compute
from tui.export import export_details
from tui.screens.catalogue_text import (
    TreeView,
    calibration_lines,
    figure_rows,
    figure_text,
    help_text,
    problem_text,
    source_lines,
    table_text,
    tree_rows,
)
from tui.screens.side_by_side import SideBySideScreen
from tui.screens.work_screen import WorkScreen, bindings_of
from tui.state import Session, change_words, journal_path, write_journal
from tui.widgets.dialogs import AskScreen
from tui.widgets.filter_line import FilterLine
from tui.widgets.row_list import RowList
from twin.catalogue_view import KINDS, matches, show_command
from twin.figures import display_unit, parse_figure
from twin.scenario.fields import field_named

if TYPE_CHECKING:
    from twin.catalogue_view import Details, Entry, Figure
    from twin.filter_expression import Filter

__all__ = ["CatalogueScreen"]

EXAMPLE = "mem>100 bf16>900 vendor:amd -pcie"
POST_EVERY_S = 0.1
"""Least time between two messages of the reader. [s]"""
TALL_ROWS = 32
SHORT_SOURCE, TALL_SOURCE = 3, 5
"""Lines of the source on short and on tall terminals. [1]"""
FIRST_THING = "accelerator"
KEYS = " / filter  enter use  space mark  = compare  e set  w why  K kernels  ? help"
USED_BY_NAME = ("cluster", "model", "site")

Key = tuple[str, str]


class CatalogueScreen(WorkScreen):
    """A tree on the left, the figures of the thing under its cursor on the right."""

    ID = "catalogue"
    PANES = ("tree", "figures")
    BINDINGS = bindings_of("catalogue")

    class Read(Message):
        """Some more profiles were read."""

        def __init__(self, version: int, entries: dict[Key, Entry]) -> None:
            super().__init__()
            self.version = version
            self.entries = entries

    def __init__(self, compute: Compute, session: Session, *, is_ascii: bool = False) -> None:
        super().__init__(compute, session, is_ascii=is_ascii)
        self.entries: dict[Key, Entry] = {}
        self.n_names = 0
        self.thing: Key | None = None
        """What the right side shows."""
        self.marked: list[Key] = []
        self.changes = Changes()
        self._collapsed: set[object] = set()
        self._details: dict[Key, Details] = {}
        self._version = 0
        self._filter: Filter | None = None

    def compose(self) -> ComposeResult:
        """Tree, figures, the source in full, the calibration in a line."""
        yield Static("", id="title", markup=False)
        yield FilterLine(EXAMPLE)
        with Horizontal(id="main"):
            yield RowList(id="tree", empty=" reading profiles …", is_ascii=self.is_ascii)
            with Vertical(id="right"):
                yield Static("", id="thing", markup=False)
                yield RowList(id="figures", is_ascii=self.is_ascii)
        yield Static("", id="source", markup=False)
        yield Static("", id="calibration", markup=False)
        yield Static(KEYS, classes="keys", markup=False)

    def on_mount(self) -> None:
        """Read the profiles."""
        self.is_ready = True
        self.query_one("#tree", RowList).focus()
        self.read()

    # -- reading --------------------------------------------------------------------------------

    def read(self) -> None:
        """Read every profile beside the work; the tree grows as they come."""
        self._version += 1
        self._details.clear()
        view, version = self._compute.twin.catalogue_view, self._version
        names = view.names()
        self.n_names = len(names)

        def read_all() -> None:
            worker, found, posted_s = get_current_worker(), {}, time.monotonic()
            for key in names:
                if worker.is_cancelled:
                    return
                found[key] = view.entry(*key)
                if time.monotonic() - posted_s > POST_EVERY_S:
                    self.post_message(self.Read(version, dict(found)))
                    posted_s = time.monotonic()
            self.post_message(self.Read(version, found))

        self.run_worker(read_all, thread=True, group="catalogue", exclusive=True)

    def on_catalogue_screen_read(self, message: Read) -> None:
        """Draw what was read; what belongs to older profiles is dropped."""
        if message.version == self._version:
            self.entries = message.entries
            self.draw_tree()
            if not self.is_complete:
                return
            if self.thing is None or self.thing not in self.entries:
                self._show_first()
            else:
                self.show_thing(*self.thing)

    @property
    def is_complete(self) -> bool:
        """Whether every profile was read."""
        return len(self.entries) == self.n_names

    def _show_first(self) -> None:
        first = next((key for key in self.entries if key[0] == FIRST_THING), None)
        if first is not None:
            self.show_thing(*first)

    def take_compute(self, compute: Compute) -> None:
        """Use another twin: read its profiles."""
        super().take_compute(compute)
        if self.is_ready:
            self.read()

    # -- drawing --------------------------------------------------------------------------------

    def matching(self) -> list[Entry]:
        """Things that the filter lets through."""
        wanted = self._filter
        found = self.entries.values()
        return [one for one in found if wanted is None or matches(one, wanted)]

    def draw_tree(self) -> None:
        """Draw the tree and how many things there are."""
        tree = self.query_one("#tree", RowList)
        found = self.matching()
        totals = {kind: sum(one.kind == kind for one in self.entries.values()) for kind in KINDS}
        view = TreeView(
            entries=found,
            totals=totals,
            collapsed=self._collapsed,
            marked=self.marked,
            width=tree.size.width or 26,
            is_ascii=self.is_ascii,
        )
        tree.show_rows(list(tree_rows(view)))
        problem = self._filter.problem if self._filter else None
        words = f"{len(found)} of {len(self.entries)} things"
        self.query_one(FilterLine).say(problem or words, is_problem=problem is not None)
        self.draw_title()

    def draw_thing(self) -> None:
        """Draw the figures of the thing, its source line and its calibration."""
        details = self.details
        if details is None:
            return
        figures = self.query_one("#figures", RowList)
        entry = details.entry
        status = f"   {entry.texts['status']}" if "status" in entry.texts else ""
        also = f"   also {', '.join(entry.aliases)}" if entry.aliases else ""
        head = f" {entry.kind} {entry.name}   {entry.title}{status}{also}"
        self.query_one("#thing", Static).update(self.drawn([[(head, "")]]), layout=False)
        rows = figure_rows(details, width=figures.size.width or 50, is_ascii=self.is_ascii)
        figures.empty = problem_text(details, width=figures.size.width or 50)
        figures.show_rows(rows)
        lines = calibration_lines(details, width=self.size.width or 80, is_ascii=self.is_ascii)
        self.query_one("#calibration", Static).update(self.drawn(lines), layout=False)
        self.draw_source()

    def draw_source(self) -> None:
        """Draw where the figure under the cursor comes from."""
        height = TALL_SOURCE if (self.size.height or 24) >= TALL_ROWS else SHORT_SOURCE
        lines = source_lines(
            self.figure, width=self.size.width or 80, n_lines=height, is_ascii=self.is_ascii
        )
        self.query_one("#source", Static).update(self.drawn(lines), layout=False)

    @property
    def details(self) -> Details | None:
        """Everything about the thing that is shown."""
        if self.thing is None:
            return None
        if self.thing not in self._details:
            self._details[self.thing] = self._compute.twin.catalogue_view.details(*self.thing)
        return self._details[self.thing]

    @property
    def figure(self) -> Figure | None:
        """The figure under the cursor of the right side."""
        key, details = self.query_one("#figures", RowList).key, self.details
        figures = details.figures if details else ()
        return next((figure for figure in figures if figure.key == key), None)

    @property
    def is_on_figures(self) -> bool:
        """Whether the right side has the focus."""
        return self.focused is self.query_one("#figures", RowList)

    def status(self) -> str:
        """Marks, or how far reading is."""
        if not self.is_complete:
            return f"reading {len(self.entries)} of {self.n_names} profiles"
        return f"{len(self.marked)} marked" if self.marked else ""

    def show_thing(self, kind: str, name: str) -> None:
        """Put the cursor of the tree on a thing, opening what hides it."""
        self.thing = (kind, name)
        if not self.is_ready or self.thing not in self.entries:
            return  # shown when it is read
        entry = self.entries.get(self.thing)
        self._collapsed -= {kind, (kind, entry.vendor if entry else "", "")}
        if entry is not None and self._filter and not matches(entry, self._filter):
            self.query_one(FilterLine).put("")
            self._filter = None
        self.draw_tree()
        self.query_one("#tree", RowList).put_cursor(self.thing)
        self.draw_thing()

    def on_row_list_moved(self, message: RowList.Moved) -> None:
        """Follow the cursors."""
        if message.rows.id == "figures":
            self.draw_source()
        elif isinstance(message.key, tuple) and message.key in self.entries:
            self.thing = message.key
            self.draw_thing()

    def on_row_list_sideways(self, message: RowList.Sideways) -> None:
        """Left closes a branch or leads to it, right opens it or leads to the figures."""
        if message.rows.id != "tree":
            return
        key = message.key
        is_leaf = key in self.entries
        if message.step < 0:
            if not is_leaf and key not in self._collapsed:
                self._collapsed.add(key)
                self.draw_tree()
            else:
                message.rows.put_cursor(self._above(key))
        elif not is_leaf:
            self._collapsed.discard(key)
            self.draw_tree()

    def _above(self, key: object) -> object:
        """The branch that a row of the tree hangs on."""
        entry = self.entries.get(key) if isinstance(key, tuple) else None
        if entry is not None and entry.kind == "accelerator":
            return ("accelerator", entry.vendor, "")
        return key[0] if isinstance(key, tuple) else key

    def on_resize(self) -> None:
        """Texts are cut to the width."""
        super().on_resize()
        if self.entries:
            self.call_after_refresh(self._redraw)

    def _redraw(self) -> None:
        self.draw_tree()
        self.draw_thing()

    # -- filtering ------------------------------------------------------------------------------

    def action_find(self) -> None:
        """Type a filter."""
        self.query_one(FilterLine).begin(self.focused)

    def on_filter_line_changed(self, message: FilterLine.Changed) -> None:
        """Narrow the tree as the filter is typed."""
        text = message.text
        self._filter = self._compute.twin.catalogue_view.filter(text) if text.strip() else None
        if not self.entries:
            return
        self.draw_tree()
        found = self.matching()
        if found and self.thing not in {(one.kind, one.name) for one in found}:
            # What is shown follows the filter, as in any finder.
            self.thing = (found[0].kind, found[0].name)
            self.draw_thing()
        if self.thing is not None:
            self.query_one("#tree", RowList).put_cursor(self.thing)

    def action_back(self) -> None:
        """Back from a maximised pane, else show all things again."""
        if self.maximized is not None:
            self.minimize()
        elif self._filter is not None:
            self.query_one(FilterLine).put("")

    def action_find_next(self, step: int) -> None:
        """Go to the next or previous thing that the filter lets through."""
        tree = self.query_one("#tree", RowList)
        leaves = [row.key for row in tree.rows if row.key in self.entries]
        if not leaves:
            self.say("nothing matches the filter")
            return
        here = leaves.index(tree.key) if tree.key in leaves else -step
        tree.put_cursor(leaves[(here + step) % len(leaves)])

    # -- marking and comparing ------------------------------------------------------------------

    def action_mark(self) -> None:
        """Mark the thing for side by side, or take its mark away."""
        tree = self.query_one("#tree", RowList)
        key = tree.key if not self.is_on_figures else self.thing
        if not isinstance(key, tuple) or key not in self.entries:
            self.say("go to a thing to mark it")
            return
        if key in self.marked:
            self.marked.remove(key)
        else:
            self.marked.append(key)
        self.draw_tree()

    def action_side_by_side(self) -> None:
        """Show the marked things side by side."""
        chosen = [key for key in self.marked if key in self.entries]
        if self.thing is not None and self.thing not in chosen and len(chosen) == 1:
            chosen.append(self.thing)
        if len(chosen) < 2:
            self.say("mark two or more things with space")
            return
        view = self._compute.twin.catalogue_view
        things = [view.details(*key) for key in chosen]
        self.app.push_screen(SideBySideScreen(things, is_ascii=self.is_ascii))

    # -- using ----------------------------------------------------------------------------------

    def action_enter(self) -> None:
        """Use the thing in the scenario of Compose; on a branch, open or close it."""
        tree = self.query_one("#tree", RowList)
        if self.is_on_figures:
            self.action_why()
        elif tree.key in self.entries and self.thing is not None:
            self.use(*self.thing)
        elif tree.key is not None:
            self._collapsed ^= {tree.key}
            self.draw_tree()

    def use(self, kind: str, name: str) -> None:
        """Use a thing in the scenario; a part by way of the cluster that has it."""
        if kind in USED_BY_NAME:
            self._use(kind, name)
            return
        clusters = self._compute.twin.catalogue_view.clusters_with(kind, name)
        if len(clusters) == 1:
            self._use("cluster", clusters[0])
        elif clusters:
            self.say(f"in {', '.join(clusters)}: enter on one of them")
        else:
            self.say("no cluster has it; twin profiles new NAME --kind cluster makes one")

    def _use(self, field_name: str, name: str) -> None:
        before = self.session.scenario
        after = field_named(field_name).put(before, name)
        words = change_words(field_name, before, after)
        if not self.session.edit(after, words):
            self.say(f"the scenario uses {name} already")
            return
        write_journal(self.session, journal_path())
        position = self.session.position
        self.changes.add(
            Change(words, partial(self._step_back, position), partial(self._step_on, position))
        )
        self.say(f"Compose: {words}   u takes it back")

    def _step_back(self, position: int) -> None:
        if self.session.position != position:
            msg = "the scenario was edited since; u in Compose takes it back"
            raise TweelingError(msg)
        self.session.undo()
        write_journal(self.session, journal_path())

    def _step_on(self, position: int) -> None:
        if self.session.position != position - 1 or self.session.redo() is None:
            msg = "the scenario was edited since"
            raise TweelingError(msg)
        write_journal(self.session, journal_path())

    def action_undo(self) -> None:
        """Take back what was last done here: a figure that was set, a thing that was used."""
        self._step(self.changes.undo, "undo")

    def action_redo(self) -> None:
        """Do it again."""
        self._step(self.changes.redo, "redo")

    def _step(self, step: Callable[[], str | None], name: str) -> None:
        try:
            words = step()
        except TweelingError as refusal:
            self.refuse(refusal)
            return
        self.say(f"{name}: {words}" if words else f"nothing to {name} here")

    # -- setting a figure -----------------------------------------------------------------------

    def action_edit(self) -> None:
        """Set the figure under the cursor in a file of the user's; the shipped one stays."""
        figure, details = self.figure, self.details
        if not self.is_on_figures:
            self.say("tab to the figures first, then e on one of them")
            return
        if figure is None or details is None or not figure.is_figure:
            self.say("only a number of the profile itself can be set")
            return
        unit = display_unit(figure.key) or "a plain number"
        title = f"{details.entry.name} {figure.key}, in {unit} unless it says otherwise"
        hint = f"enter writes to {self.workbench.profile_dir}, the shipped file stays; esc cancel"
        text = "" if figure.value is None else figure_text(figure)
        ask = AskScreen(title, text, hint=hint)
        self.app.push_screen(ask, partial(self._set, details.entry, figure))

    def _set(self, entry: Entry, figure: Figure, text: str | None) -> None:
        if text is None or text == figure_text(figure):
            return
        view = self._compute.twin.catalogue_view
        try:
            value = parse_figure(figure.key, text)
            change = view.override(entry, figure, value, folder=self.workbench.profile_dir)
            change.make()
        except TweelingError as refusal:
            self.refuse(refusal)
            return

        def made(step: Callable[[], None]) -> None:
            step()
            self.workbench.reload_twin()

        self.changes.add(
            Change(change.words, partial(made, change.take_back), partial(made, change.make))
        )
        self.workbench.reload_twin()
        self.say(f"{change.words}   u takes it back")

    # -- looking --------------------------------------------------------------------------------

    def action_why(self) -> None:
        """The whole source of the figure under the cursor, or the file of the thing."""
        figure, details = self.figure, self.details
        if details is None:
            return
        if figure is not None and self.is_on_figures:
            text = f"{figure_text(figure)}\n{figure.figure_class or ''}\n\n{figure.source}"
            self.show_text(f"{details.entry.name} {figure.key}", text)
            return
        fits = [f"{fit.name}: {fit.words}; {fit.source}" for fit in details.fits]
        lines = [str(details.path), details.entry.problem or "", "", *fits]
        self.show_text(f"{details.entry.kind} {details.entry.name}", "\n".join(lines))

    def action_copy_value(self) -> None:
        """Copy the value under the cursor with its unit, or the name of the thing."""
        if self.is_on_figures and self.figure is not None:
            text = figure_text(self.figure)
            self.copied(text, text)
        elif self.thing is not None:
            self.copied(self.thing[1], self.thing[1])

    def action_copy_table(self) -> None:
        """Copy every figure of the thing as tab-separated text."""
        if self.details is not None:
            self.copied(table_text(self.details), "all figures as tab-separated text")

    def action_show_command(self) -> None:
        """Show the command that prints the same."""
        if self.thing is not None:
            folders = self._compute.twin.profile_dirs
            command = show_command(*self.thing, profile_dirs=folders)
            self.show_text("the same on the command line (copied)", command, copies=True)

    def action_export(self) -> None:
        """Write the figures of the thing to a file."""
        if self.details is None or self.thing is None:
            return
        ask = AskScreen("export the figures to (.json or .csv)", f"{self.thing[1]}.json")
        self.app.push_screen(ask, self._export)

    def _export(self, name: str | None) -> None:
        if name is None or self.details is None:
            return
        path = Path(name).expanduser()
        try:
            export_details(self.details, path)
        except TweelingError as refusal:
            self.refuse(refusal)
            return
        self.say(f"exported to {path}")

    def action_kernels_of(self) -> None:
        """Go to the kernels of the device."""
        if self.details is None or self.details.device is None:
            self.say("this has no accelerator")
        else:
            self.workbench.show_kernels(self.details.device)

    def action_help(self) -> None:
        """Keys, filters, and what is under the cursor."""
        self.show_text("Catalogue: keys", help_text(self.figure if self.is_on_figures else None))

    def action_recompute(self) -> None:
        """Read the profiles again."""
        self.workbench.reload_twin()
        self.say("profiles read again")

    def palette_commands(self) -> Iterator[SystemCommand]:
        """Using and marking things, without looking for them in the tree."""
        for kind, name in self.entries:
            if kind in USED_BY_NAME:
                words = f"{kind} of the scenario in Compose"
                yield SystemCommand(f"use {name}", words, partial(self.use, kind, name))
