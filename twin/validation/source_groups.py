"""Sources that are left out together: sisters share machine, authors or software."""

from __future__ import annotations

__all__ = ["SISTERS", "source_group"]

SISTERS = ("vtrain", "mlperf", "torchtitan", "nvidia_nemo")
"""Beginnings of source ids whose sources count as one; every other source stands alone."""


def source_group(source_id: str) -> str:
    """Name of the group that a source is left out with."""
    return next((name for name in SISTERS if source_id.startswith(f"{name}_")), source_id)
