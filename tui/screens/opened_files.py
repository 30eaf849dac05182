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
        """Open; what was opened before is read again, since it may be written anew."""
        for path in paths:
            places = (path.resolve(), path.resolve().parent)
            self.rows = {
                key: rows for key, rows in self.rows.items() if key[1].resolve() not in places
            }
            # The same file under another name, or one of a folder that is open.
            held = next((one for one in self.paths if one.resolve() in places), None)
            if held is None:
                self.paths.append(path)
            self.unseen.add(held or path)
            self._followed.discard(held or path)

    def to_read(self, own: Path | None) -> list[tuple[Path, frozenset[Path]]]:
        """What is read, in this order, each with the places whose files others have already.

        Parameters
        ----------
        own
            Folder of our own measurements of the device; what the user opened of it is not read
            twice.
        """
        places = [path.resolve() for path in self.paths]
        opened = [(path, frozenset(places[:n])) for n, path in enumerate(self.paths)]
        if own is None or own.resolve() in places:
            return opened
        return [(own, frozenset(places)), *opened]

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
