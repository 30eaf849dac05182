"""Compiled host kernels on disk: what must be forgotten when a module that they call changes.

Numba keeps compiled code by the date of the file that a kernel stands in. A kernel also carries
copies of what it calls in other modules; after a change there it would run with the former ones.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["forget_older_code"]


def forget_older_code(kernel: Any, *called: ModuleType) -> None:  # noqa: ANN401 -- dispatcher
    """Remove the compiled code of a kernel's module that is older than a module it calls.

    Parameters
    ----------
    kernel
        Any cached Numba function of the module.
    called
        Modules of which the module's kernels carry code.
    """
    folder, module = kernel.stats.cache_path, Path(kernel.py_func.__code__.co_filename)
    changed_s = max(Path(str(source.__file__)).stat().st_mtime for source in called)
    for index in Path(folder).glob(f"{module.stem}.*.nbi") if folder else ():
        try:
            if index.stat().st_mtime < changed_s:
                index.unlink()
        except FileNotFoundError:
            continue  # another process was faster
