"""A drawn chart as styled text: each colour role gets a variable of the theme."""

from __future__ import annotations

from itertools import groupby

from tui.charts.picture import Picture
from tui.widgets.lines import Line

__all__ = ["ROLE_STYLES", "picture_lines"]

ROLE_STYLES = {
    "title": "bold",
    "axis": "$text-muted",
    "label": "",
    "muted": "$text-muted",
    "band": "$text-muted",
    "front": "bold $accent",
    "highlight": "bold reverse",
    "limit": "$warning",
    "cursor": "reverse",
    "series-0": "$primary",
    "series-1": "$secondary",
    "series-2": "$accent",
    "series-3": "$warning",
    "series-4": "$success",
    "series-5": "$error",
    "series-6": "$primary",
    "series-7": "$secondary",
}
"""Style of each role of `tui.charts.picture.ROLES` but the heat steps."""


def picture_lines(picture: Picture) -> list[Line]:
    """Rows of a picture as styled lines."""
    by_row = {row: list(spans) for row, spans in groupby(picture.spans, lambda span: span.row)}
    lines: list[Line] = []
    for number, text in enumerate(picture.rows):
        parts: list[tuple[str, str]] = []
        end = 0
        for span in by_row.get(number, ()):
            if span.start > end:
                parts.append((text[end : span.start], ""))
            parts.append((text[span.start : span.end], ROLE_STYLES.get(span.role, "")))
            end = span.end
        parts.append((text[end:], ""))
        lines.append(parts)
    return lines
