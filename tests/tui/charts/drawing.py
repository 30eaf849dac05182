"""What the tests of all charts ask of a picture."""

from __future__ import annotations

from hypothesis import strategies as st

from tui.charts.picture import ROLES, Picture, Size, Style

SIZES = st.builds(Size, width=st.integers(1, 100), height=st.integers(1, 30))
STYLES = st.sampled_from([Style(markers=markers) for markers in ("braille", "block", "ascii")])
ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)


def check_picture(picture: Picture, *, size: Size, style: Style) -> None:
    """Rows fill the size, spans lie inside without overlap, and ASCII stays ASCII."""
    assert len(picture.rows) == size.height
    assert all(len(row) == size.width for row in picture.rows)
    free_from = (0, 0)
    for span in picture.spans:
        assert span.role in ROLES
        assert free_from <= (span.row, span.start)
        assert span.start < span.end <= size.width
        free_from = (span.row, span.end)
    if style.markers == "ascii":
        assert all(row.isascii() for row in picture.rows)
    assert picture.text


def body(picture: Picture) -> str:
    """The picture without trailing blanks, to compare with text in a test."""
    return "\n".join(row.rstrip() for row in picture.rows)


def roles_of(picture: Picture, role: str) -> str:
    """All glyphs that carry a role, row after row."""
    return "".join(
        picture.rows[span.row][span.start : span.end] for span in picture.spans if span.role == role
    )
