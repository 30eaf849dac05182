"""The version of the installed distribution."""

from __future__ import annotations

__all__ = ["tweeling_version"]


def tweeling_version() -> str:
    """Version of the distribution ``tweeling``; ``source`` where only the folders are there."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tweeling")
    except PackageNotFoundError:
        return "source"
