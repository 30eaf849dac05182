"""Measurements that the user opened on the Kernels screen, and what was read of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twin.kernel_columns import KernelColumns

__all__ = ["OpenedFiles"]


@dataclass(slots=True)
class OpenedFiles:
    """Files and folders in the order in which they were opened."""

    paths: list[Path] = field(default_factory=list)
    rows: dict[tuple[str, Path], KernelColumns] = field(default_factory=dict)
    """What was read whole, by device; of our own measurements too."""
    unseen: set[Path] = field(default_factory=set)
    """Those of which no kernel was shown yet."""
    _followed: set[Path] = field(default_factory=set)

    def add(self, paths: Sequence[Path]) -> None:
        """Open; a file that was opened before is read again, since it may be written anew."""
        for path in paths:
            self.rows = {key: rows for key, rows in self.rows.items() if key[1] != path}
            self.unseen.add(path)
            self._followed.discard(path)
            if path not in self.paths:
                self.paths.append(path)

    def drop(self, paths: Sequence[Path]) -> None:
        """Forget what cannot be used."""
        self.paths = [path for path in self.paths if path not in paths]
        self.unseen.difference_update(paths)

    def follow(self, path: Path, devices: Sequence[str], *, shown: str) -> str | None:
        """Device to show, because a file holds kernels of it and none of the one shown.

        None where there is none, or where a file was followed before: two devices without a timed
        kernel would send the screen to and fro.
        """
        others = [name for name in devices if name != shown]
        if not others or path in self._followed:
            return None
        self._followed.add(path)
        return others[0]

    def take_seen(self, device: str) -> str:
        """Words about what is shown for the first time; empty when that is nothing."""
        seen = [path for path in self.paths if path in self.unseen and (device, path) in self.rows]
        self.unseen.difference_update(seen)
        counts = [f"{path.name}: {len(self.rows[device, path]):,} kernels" for path in seen]
        return f"{', '.join(counts)} of {device}" if counts else ""
