"""Styled lines: what panes are made of before Textual draws them."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from tui.charts.picture import Style

__all__ = ["Line", "Span", "ascii_text", "content", "plain"]

Span = tuple[str, str]
"""Text and style; an empty style is the pane's own."""

Line = Sequence[Span]


_ASCII = Style(markers="ascii")


def ascii_text(text: str) -> str:
    """Text in ASCII, cell by cell, as charts write it."""
    return _ASCII.plain(text)


def content(lines: Sequence[Line], *, is_ascii: bool = False) -> Content:
    """Lines as one piece of styled text; in ASCII, near letters for what is not."""
    parts: list[str | tuple[str, str]] = []
    for number, line in enumerate(lines):
        if number:
            parts.append("\n")
        if is_ascii:
            line = [(ascii_text(text), style) for text, style in line]  # noqa: PLW2901
        parts += [(text, style) if style else text for text, style in line]
    return Content.assemble(*parts)


def plain(lines: Sequence[Line]) -> str:
    """Lines as bare text, for copying and for tests."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)
