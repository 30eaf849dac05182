"""Which implementation profile a library's name in a measurement table stands for."""

from __future__ import annotations

import functools
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

__all__ = ["implementation"]


@functools.cache
def _beginnings() -> dict[str, dict[str, str]]:
    with (Path(__file__).parent / "libraries.toml").open("rb") as file:
        return tomllib.load(file)


@functools.lru_cache(maxsize=4096)
def implementation(family: str, library: str) -> str | None:
    """Name of the implementation profile of a library.

    Parameters
    ----------
    family
        gemm, attention, attention-full, collectives or ops.
    library
        Text of the library column, such as ``vllm-0.24.0:torch.nn.functional.linear``.

    Returns
    -------
    str or None
        The name that the longest beginning listed in ``libraries.toml`` stands for, a star in it
        for any text; None where none is listed, which means the kernel by itself.
    """
    known = _beginnings().get(family, {})
    matching = [beginning for beginning in known if _begins(library, beginning)]
    return known[max(matching, key=len)] if matching else None


def _begins(library: str, beginning: str) -> bool:
    if "*" in beginning:
        return fnmatchcase(library, f"{beginning}*")
    return library.startswith(beginning)
