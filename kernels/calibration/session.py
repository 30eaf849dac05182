"""What the recipes of all families share: tables on disk, fitters, the day and the log."""

from __future__ import annotations

import datetime
import importlib.metadata
import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hardware_profiles.calibration import Provenance
from kernels.calibration.device_figures import DeviceFigures, load_device_figures
from kernels.calibration.measurements import Mask, Table, read_table
from kernels.calibration.simplex import FittedErrors

__all__ = ["Session", "library_mask"]

logger = logging.getLogger(__name__)

SMALLEST_SPREAD = 0.03
"""Two libraries differ by this on one shape: no interval is narrower. [1]"""


def _today() -> str:
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


@dataclass
class Session:
    """One run of the calibration on one folder of measurements."""

    folder: Path
    figures: dict[str, DeviceFigures] = field(default_factory=load_device_figures)
    date: str = field(default_factory=_today)
    _tables: dict[str, Table] = field(default_factory=dict)

    def table(self, name: str, columns: tuple[str, ...]) -> Table:
        """A table of the folder, read once."""
        if name not in self._tables:
            self._tables[name] = read_table(self.folder / name, columns)
        return self._tables[name]

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
            code_version=importlib.metadata.version("tweeling"),
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
                logger.info(
                    "%s, %s: median %.1f %%, mean %.1f %%, p90 %.1f %%, bias %+.1f %%, %d rows",
                    what,
                    label,
                    100.0 * errors.median_ape_fraction,
                    100.0 * errors.mean_ape_fraction,
                    100.0 * errors.p90_ape_fraction,
                    100.0 * errors.log_bias,
                    errors.n_rows,
                )


def library_mask(rows: Table, prefixes: tuple[str, ...]) -> Mask:
    """Rows whose library starts with one of the prefixes."""
    return np.array([str(name).startswith(prefixes) for name in rows["library"]], dtype=bool)
