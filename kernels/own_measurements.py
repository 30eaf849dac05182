"""Measurements that come with the twin: which folder holds those of an accelerator.

``kernels/measured/`` has one folder per device that was measured by ``python -m kernels.survey``:
tidy tables and ``environment.json``, which says what was measured, when and with which software.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["MEASURED", "Measured", "measured_by", "own_measurements"]

MEASURED = Path(__file__).parent / "measured"
"""Folder of the measurements that come with the twin."""

ENVIRONMENT = "environment.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One folder of measurements and the words that its environment says about it."""

    folder: Path
    device: str
    """Name that the device gave itself."""
    date: str
    """Day of the survey, ISO format; empty where nobody noted it."""
    software: str
    """Driver, toolkit and libraries."""

    @property
    def words(self) -> str:
        """Device, day and software in one line."""
        return ", ".join(part for part in (self.device, self.date, self.software) if part)

    def tables(self) -> tuple[Path, ...]:
        """The tidy tables of the folder."""
        return tuple(sorted(self.folder.glob("*.csv")))


def measured_by(folder: Path) -> Measured:
    """What a folder's environment says; a folder without one is named after itself."""
    try:
        content = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = {}
    device: dict[str, Any] = content.get("device", {})
    return Measured(
        folder=folder,
        device=str(device.get("name", folder.name)),
        date=str(content.get("date", ""))[:10],
        software=_software(device, content.get("software", {})),
    )


def own_measurements(names: Collection[str]) -> Measured | None:
    """Measurements that come with the twin for a device.

    Parameters
    ----------
    names
        The accelerator's name and its aliases; case does not count.

    Returns
    -------
    Measured or None
        The folder called like the accelerator, or whose device is one of the names; None where
        nobody measured it.
    """
    wanted = {name.lower() for name in names}
    for path in sorted(MEASURED.glob(f"*/{ENVIRONMENT}")):
        found = measured_by(path.parent)
        if path.parent.name.lower() in wanted or found.device.lower() in wanted:
            return found
    return None


def _software(device: dict[str, Any], software: dict[str, Any]) -> str:
    """Versions that decide about speed."""
    known = [("driver", device.get("driver"))]
    known += [(name, software.get(name)) for name in ("cuda", "torch", "blas")]
    return ", ".join(f"{name} {version}" for name, version in known if version)
