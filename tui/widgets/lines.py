"""Styled lines: what panes are made of before Textual draws them."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

__all__ = ["Line", "Span", "content", "plain"]

Span = tuple[str, str]
"""Text and style; an empty style is the pane's own."""

Line = Sequence[Span]


def content(lines: Sequence[Line]) -> Content:
    """Lines as one piece of styled text."""
    parts: list[str | tuple[str, str]] = []
    for number, line in enumerate(lines):
        if number:
            parts.append("\n")
        parts += [(text, style) if style else text for text, style in line]
    return Content.assemble(*parts)


def plain(lines: Sequence[Line]) -> str:
    """Lines as bare text, for copying and for tests."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)
