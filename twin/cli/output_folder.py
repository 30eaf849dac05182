"""The folder that a long verb writes to: tried before, and kept from a second run meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from hardware_profiles.errors import ProfileError

__all__ = ["held_folder"]

LOCK = ".calibrating"
"""File that a run holds a lock on; its being there says nothing, for a lock dies with its run."""


@contextlib.contextmanager
def held_folder(out: Path) -> Iterator[None]:
    """Make a folder that takes files and is this run's alone, as long as the block lasts.

    A folder that was made for it and is still empty afterwards goes, with the parents made for it.

    Raises
    ------
    ProfileError
        The folder cannot be made or written, or another run holds it.
    """
    made = [place for place in (out, *out.parents) if not place.exists()]
    try:
        try:
            out.mkdir(parents=True, exist_ok=True)
            stream = (out / LOCK).open("a", encoding="utf-8")
        except OSError as error:
            msg = f"--out {out}: cannot be written ({error.strerror or error})"
            raise ProfileError(msg) from error
        with stream:
            _lock(stream, out)
            try:
                yield
            finally:
                # Removed while held: whoever opened it meanwhile is refused, and comes again.
                (out / LOCK).unlink(missing_ok=True)
    finally:
        for place in made:
            # Not empty, or never made: it stays, and so do those above it.
            with contextlib.suppress(OSError):
                place.rmdir()


def _lock(stream: IO[str], out: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not a POSIX system: two runs are the user's to keep apart
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(stream.fileno()), (out / LOCK).stat()):
            # The run before let go between opening and locking: the next one has a file of its own.
            raise BlockingIOError
    except BlockingIOError as error:
        msg = f"--out {out}: another calibration is writing there; wait for it, or name another"
        raise ProfileError(msg) from error
    except OSError:
        return  # a file system without locks: refusing to calibrate there would help nobody
