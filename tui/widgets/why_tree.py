"""Why this number: the tree of terms behind it, one line each."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen
from textual.widgets import Static, Tree
from textual.widgets.tree import TreeNode

from tui.format import ASCII_MARKS, MARKS
from twin.explain.inputs import PROFILE_KEY
from twin.explain.term import Term
from twin.quantities import significant

__all__ = ["WhyScreen", "term_lines", "term_text"]

NAME_WIDTH = 34
UNITS_WITHOUT_TEXT = ("1",)
BIG_SHARE = 0.1
"""Children of a sum with this share of the root are opened at once. [1]"""


def term_text(term: Term, parent: Term | None, *, is_ascii: bool = False) -> str:
    """One term: name, share of a sum, value, unit, class mark, formula."""
    unit = "" if term.unit in UNITS_WITHOUT_TEXT else f" {term.unit}"
    share = ""
    if parent is not None and parent.relation == "sum" and parent.value > 0:
        share = f"{100.0 * term.value / parent.value:5.1f} %  "
    marks = ASCII_MARKS if is_ascii else MARKS
    mark = f" {marks[term.figure_class]}" if term.figure_class in marks else ""
    formula = f"   = {term.formula}" if term.formula else ""
    value = f"{significant(term.value, n_digits=4)}{unit}"
    return f"{term.name:<{NAME_WIDTH}} {share}{value}{mark}{formula}"


def term_lines(term: Term, depth: int = 0, parent: Term | None = None) -> Iterator[str]:
    """The whole tree as indented text, for copying."""
    source = f"   [{term.source}]" if term.source else ""
    yield "  " * depth + term_text(term, parent) + source
    for child in term.children:
        yield from term_lines(child, depth + 1, term)


class WhyScreen(ModalScreen[str | None]):
    """Full screen at 80 columns, a panel on wide terminals.

    Dismissed with the dotted key of a profile figure when the user wants to override it.
    """

    BINDINGS = [  # noqa: RUF012 - the way Textual declares bindings
        Binding("escape,w,q", "close", "back"),
        Binding("y", "copy", "copy as text"),
        Binding("e", "override", "override here"),
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
        Binding("l", "open_node", show=False),
        Binding("h", "close_node", show=False),
    ]

    def __init__(self, term: Term, *, is_ascii: bool = False) -> None:
        super().__init__()
        self._term = term
        self._is_ascii = is_ascii

    def compose(self) -> ComposeResult:
        """Title, tree, and the source of the line under the cursor."""
        unit = "" if self._term.unit in UNITS_WITHOUT_TEXT else f" {self._term.unit}"
        title = f" why  {self._term.name} {significant(self._term.value)}{unit}"
        yield Static(title, id="why-title")
        yield Tree[Term](self._label(self._term, None), data=self._term, id="why-tree")
        yield Static("", id="why-source")
        yield Static(
            " enter open   y copy as text   e override here (what-if)   esc back", id="why-keys"
        )

    def _label(self, term: Term, parent: Term | None) -> Text:
        return Text(term_text(term, parent, is_ascii=self._is_ascii))

    def on_mount(self) -> None:
        """Fill the tree; large shares are open."""
        tree: Tree[Term] = self.query_one("#why-tree", Tree)
        self._fill(tree.root, self._term, self._term.value)
        tree.root.expand()
        tree.focus()

    def _fill(self, node: TreeNode[Term], term: Term, whole: float) -> None:
        for child in term.children:
            label = self._label(child, term)
            if not child.children:
                node.add_leaf(label, data=child)
                continue
            is_large = term.relation == "sum" and whole > 0 and child.value / whole >= BIG_SHARE
            branch = node.add(label, data=child, expand=is_large and term is self._term)
            self._fill(branch, child, whole)

    def on_tree_node_highlighted(self, event: Tree.NodeHighlighted[Term]) -> None:
        """Say where the value under the cursor comes from."""
        term = event.node.data
        source = f" {term.source}" if term is not None and term.source else ""
        self.query_one("#why-source", Static).update(Text(source))

    def _here(self) -> Term | None:
        tree: Tree[Term] = self.query_one("#why-tree", Tree)
        return tree.cursor_node.data if tree.cursor_node is not None else None

    def action_close(self) -> None:
        """Back to the screen behind."""
        self.dismiss(None)

    def action_cursor_down(self) -> None:
        """Move down."""
        self.query_one("#why-tree", Tree).action_cursor_down()

    def action_cursor_up(self) -> None:
        """Move up."""
        self.query_one("#why-tree", Tree).action_cursor_up()

    def action_open_node(self) -> None:
        """Open the branch under the cursor."""
        node = self.query_one("#why-tree", Tree).cursor_node
        if node is not None:
            node.expand()

    def action_close_node(self) -> None:
        """Close the branch under the cursor."""
        node = self.query_one("#why-tree", Tree).cursor_node
        if node is not None:
            node.collapse()

    def action_copy(self) -> None:
        """Copy the tree below the cursor as text."""
        term = self._here() or self._term
        self.app.copy_to_clipboard("\n".join(term_lines(term)))
        self.notify("copied the tree below the cursor")

    def action_override(self) -> None:
        """Override the profile figure under the cursor for this scenario."""
        term = self._here()
        if term is None or not term.source.startswith(PROFILE_KEY):
            self.notify("only figures of a profile can be set; pick a line with a source")
            return
        self.dismiss(term.source.removeprefix(PROFILE_KEY).split(";")[0])
