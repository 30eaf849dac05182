"""The command line that shows the same kernels as a screen."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

__all__ = ["roofline_command"]


def roofline_command(
    device: str,
    *,
    paths: Sequence[Path] = (),
    expression: str = "",
    profile_dirs: Sequence[Path] = (),
) -> str:
    """`twin roofline` of a device, with files of measurements, a filter and the user's folders."""
    words = ["twin", "roofline", "--device", device]
    for path in paths:
        words += ["--from", str(path)]
    if expression.strip():
        words += ["--filter", expression.strip()]
    for folder in profile_dirs:
        words += ["--profiles", str(folder)]
    return shlex.join(words)
