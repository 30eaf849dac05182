"""Files that pytest-benchmark is asked to write and to compare with, looked at before it measures.

It would open them itself after everything was measured, or stop with a traceback.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from hardware_profiles.errors import TweelingError

__all__ = ["check_compared", "check_written"]


def check_written(path: Path) -> None:
    """Refuse a ``--benchmark-json`` that cannot be written."""
    folder = path.absolute().parent
    if path.is_dir():
        why = "is a folder; expected a file"
    elif not folder.is_dir():
        why = f"cannot be written (no such folder as {folder})"
    elif not os.access(path if path.exists() else folder, os.W_OK):
        why = "cannot be written (permission denied)"
    else:
        return
    msg = f"--benchmark-json {path}: {why}"
    raise TweelingError(msg)


def check_compared(named: str) -> None:
    """Refuse a ``--benchmark-compare`` that is no run; numbers of its storage are left to it."""
    path = Path(named)
    if not path.is_file():
        if path.is_dir() or path.suffix == ".json" or path.is_absolute():
            msg = f"--benchmark-compare {named}: no such file; expected JSON of --benchmark-json"
            raise TweelingError(msg)
        return
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        is_run = isinstance(document["benchmarks"], list)
        is_run = is_run and isinstance(document["machine_info"], dict)
    except OSError as error:
        msg = f"--benchmark-compare {named}: cannot be read ({error.strerror or error})"
        raise TweelingError(msg) from error
    except (ValueError, KeyError, TypeError):
        is_run = False
    if not is_run:
        msg = f"--benchmark-compare {named}: no run of benches; expected JSON of --benchmark-json"
        raise TweelingError(msg)
