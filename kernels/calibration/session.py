"""What the calibrations of all families share: tables on disk, devices, the day, the log."""

from __future__ import annotations

import datetime
import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import Provenance
from hardware_profiles.catalogue import Catalogue
from kernels.calibration.measurements import Table, read_table
from kernels.calibration.simplex import FittedErrors

__all__ = ["Session"]

logger = logging.getLogger(__name__)

SMALLEST_SPREAD = 0.03
"""Two libraries differ by this on one shape: no interval is narrower. [1]"""


def _today() -> str:
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


def _version() -> str:
    from importlib.metadata import version

    return version("tweeling")


@dataclass(slots=True, kw_only=True)
class Session:
    """One run of the calibration on one folder of measurements.

    A device name of a table means the profile that carries it as name or alias, and nothing else;
    rows of devices without a profile are left out.
    """

    folder: Path
    catalogue: Catalogue = field(default_factory=Catalogue)
    date: str = field(default_factory=_today)
    code_version: str = field(default_factory=_version)
    _tables: dict[str, Table] = field(default_factory=dict)

    def table(self, name: str, columns: tuple[str, ...]) -> Table:
        """A table of the folder, read once."""
        if name not in self._tables:
            self._tables[name] = read_table(self.folder / name, columns)
        return self._tables[name]

    def has_table(self, name: str) -> bool:
        """Whether the folder holds this table."""
        return (self.folder / name).is_file()

    def accelerator(self, device: str) -> Accelerator | None:
        """Profile of a device named in a table; None where no profile carries the name."""
        found = self.catalogue.find("accelerator", device)
        return None if found is None else self.catalogue.accelerator(found.stem)

    def by_accelerator(self, table: Table) -> dict[str, tuple[Accelerator, Table]]:
        """Rows by the profile of their device; devices of one profile are joined."""
        names: dict[str, list[str]] = {}
        for device in sorted({str(name) for name in table["device"]}):
            accelerator = self.accelerator(device)
            if accelerator is None:
                logger.warning("%s: no profile of this name; its rows are left out", device)
                continue
            names.setdefault(accelerator.name, []).append(device)
        return {
            name: (self.catalogue.accelerator(name), table.where(np.isin(table["device"], devices)))
            for name, devices in names.items()
        }

    def provenance(
        self,
        source: str,
        *,
        figure_class: str = "fitted",
        n_samples: int | None = None,
        heldout: FittedErrors | None = None,
        spread: float | None = None,
    ) -> Provenance:
        """Provenance of a fit; the spread is that of the rows set aside unless given. [1]"""
        if spread is None:
            spread = heldout.log_spread if heldout else 0.2
        return Provenance(
            figure_class=figure_class,
            source=source,
            date=self.date,
            code_version=self.code_version,
            n_samples=n_samples,
            n_heldout=heldout.n_rows if heldout else None,
            heldout_median_ape_fraction=heldout.median_ape_fraction if heldout else None,
            heldout_mean_ape_fraction=heldout.mean_ape_fraction if heldout else None,
            heldout_p90_ape_fraction=heldout.p90_ape_fraction if heldout else None,
            relative_spread_fraction=max(spread, SMALLEST_SPREAD),
        )

    def report(self, what: str, **parts: FittedErrors | None) -> None:
        """Log the errors of one fit, by part of the rows."""
        for label, errors in parts.items():
            if errors is not None:
                logger.info("%s, %s: %s", what, label, errors.in_words)
