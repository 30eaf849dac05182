"""Pictures as files: SVG, PNG or PDF, drawn by matplotlib, whole or not at all.

A file holds no date of its making and no random name, so that equal results make equal files.
matplotlib, an optional extra, is imported when a picture is made.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hardware_profiles.errors import TweelingError
from hardware_profiles.whole_files import write_bytes_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "INK", "LINE", "PictureError", "check_picture", "clean", "write_picture"]

ENDINGS = (".svg", ".png", ".pdf")
COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d", "#555555",
)  # fmt: skip
"""Of Okabe and Ito, which people with any colour vision tell apart."""
LINE, INK = "#666666", "#1a1a1a"
DOTS_PER_INCH = 150
LONGEST_NAME = 40
"""Letters of a name that are written. [1]"""
SETTINGS: dict[str, object] = {
    "svg.fonttype": "none",  # text stays text, to be searched and read aloud
    "svg.hashsalt": "tweeling",
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.size": 10.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
NO_DATE: dict[str, dict[str, object]] = {
    ".svg": {"Date": None, "Creator": "Tweeling"},
    ".png": {"Software": "Tweeling"},
    ".pdf": {"CreationDate": None, "Creator": "Tweeling", "Producer": None},
}


class PictureError(TweelingError):
    """A picture cannot be made."""


def check_picture(path: Path, *, option: str) -> None:
    """Refuse early what `write_picture` could not write.

    Parameters
    ----------
    path
        Where the picture shall be.
    option
        Option of the command line that says so, for the message.

    Raises
    ------
    PictureError
        The ending names no kind of picture, the folder is not there, or matplotlib is not.
    """
    if path.suffix not in ENDINGS:
        msg = f"{option} {path}: expected a name that ends in {', '.join(ENDINGS[:-1])} or .pdf"
        raise PictureError(msg)
    if path.is_dir() or not path.parent.is_dir():
        state = "is a folder" if path.is_dir() else "cannot be written (no such folder)"
        msg = f"{option} {path}: {state}"
        raise PictureError(msg)
    try:
        import matplotlib.figure  # noqa: F401 - whether it is there is the question
    except ImportError as missing:
        msg = f"{option} needs the extra `report`: pip install 'tweeling[report]'"
        raise PictureError(msg) from missing


def write_picture(draw: Callable[[], Figure], *, path: Path, option: str) -> None:
    """Draw and write a picture.

    Parameters
    ----------
    draw
        Makes the figure; called under the settings of all pictures.
    path
        Its ending says what kind of picture it is.
    option
        Option of the command line that names the path, for messages.

    Raises
    ------
    PictureError
        See `check_picture`; also for a file that cannot be written.
    """
    check_picture(path, option=option)
    from matplotlib import rc_context

    stream = io.BytesIO()
    with rc_context(SETTINGS):
        draw().savefig(
            stream,
            format=path.suffix.removeprefix("."),
            dpi=DOTS_PER_INCH,
            metadata=NO_DATE[path.suffix],
        )
    try:
        write_bytes_whole(path, stream.getvalue())
    except OSError as refusal:
        msg = f"{option} {path}: cannot be written ({refusal.strerror or refusal})"
        raise PictureError(msg) from refusal


def clean(text: str, *, longest: int = LONGEST_NAME) -> str:
    """A name without what no picture can hold, at most so many letters long."""
    kept = "".join(letter if letter.isprintable() else "?" for letter in text)
    return kept if len(kept) <= longest else kept[: longest - 1] + "…"
