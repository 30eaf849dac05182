"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["write_bytes_whole", "write_text_whole"]


def write_text_whole(path: Path, text: str) -> None:
    """Write text beside the file, then rename: a reader sees the old file or the new one.

    Parameters
    ----------
    path
        The file; its folder exists. Line ends are written as given.
    text
        Its content, written as UTF-8.

    Raises
    ------
    OSError
        The file cannot be written; nothing of it is left behind.
    """
    write_bytes_whole(path, text.encode("utf-8"))


def write_bytes_whole(path: Path, content: bytes) -> None:
    """Write bytes in the same way.

    Raises
    ------
    OSError
        The file cannot be written; nothing of it is left behind.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        # A temporary file is its owner's alone; what it becomes is an ordinary file.
        partial.chmod(0o644)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
