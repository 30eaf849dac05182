"""What an importer is told beside its file, and what it gives back."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hardware_profiles.catalogue import Catalogue
from hardware_profiles.errors import TweelingError
from kernels.all_reduce.groups import PATTERNS
from kernels.all_reduce.wires import measured_wires
from kernels.importers.devices import Devices
from kernels.importers.tidy_rows import TidyRow

__all__ = ["OPERATIONS", "Aside", "ImportOptionError", "ImportRequest", "Rows"]

logger = logging.getLogger(__name__)

OPERATIONS = tuple("p2p" if name == "point_to_point" else name for name in PATTERNS)
"""Collectives that tables name."""

Rows = dict[str, list[TidyRow]]
"""Rows of one file by family."""


class ImportOptionError(TweelingError):
    """What the user says of a file's rows means nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What the user says of files that do not say it themselves."""

    catalogue: Catalogue
    device: str | None = None
    """Profile of rows whose own device name no profile carries."""
    operation: str | None = None
    """Collective of an nccl-tests output without a title."""
    link: str = ""
    """Wires of the nodes of collectives: no foreign format tells them."""

    def __post_init__(self) -> None:
        if self.device is not None and self.catalogue.find("accelerator", self.device) is None:
            message = f"--device: {self.catalogue.unknown(self.device, 'accelerator')}"
            raise ImportOptionError(message)
        if self.operation is not None and self.operation not in OPERATIONS:
            message = f"--operation {self.operation}: expected one of {', '.join(OPERATIONS)}"
            raise ImportOptionError(message)
        if self.link and measured_wires(self.link) is None:
            message = f"--link {self.link!r}: unknown wires; expected such as 'NVLink4+NVSwitch'"
            raise ImportOptionError(message)

    def devices(self) -> Devices:
        """Look-up of the devices of one file."""
        return Devices(catalogue=self.catalogue, named=self.device)


@dataclass(frozen=True, slots=True)
class Aside:
    """What a file holds that no table takes, counted, so that one line can say so."""

    path: Path
    reasons: Counter[str] = field(default_factory=Counter)

    def count(self, reason: str, n_rows: int = 1) -> None:
        """One more row is left aside, or so many of them."""
        self.reasons[reason] += n_rows

    def report(self) -> None:
        """Warn once."""
        if self.reasons:
            parts = ", ".join(f"{n} {reason}" for reason, n in self.reasons.most_common())
            logger.warning("%s: left aside: %s", self.path, parts)
