"""Constants that a device takes over from its relatives where it has none of its own.

Shares of datasheet figures carry over between devices of one generation, so an unmeasured device
works from its datasheet and its family's constants, with the spread that leaving whole devices out
has shown. The order is: the device itself, its architecture, related architectures, middle values
over everything measured.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import Calibration

__all__ = [
    "GENERIC",
    "calibration_sources",
    "completed_calibration",
    "family_calibration",
    "family_names",
    "related_architectures",
]

FOLDER = Path(__file__).parent
GENERIC = "generic"
"""Family of middle values over everything that was measured."""

Entry = TypeVar("Entry")


@functools.cache
def family_calibration(architecture: str) -> Calibration | None:
    """Constants of an architecture; None where none of its devices was measured.

    The generic family holds middle values of the calibrated devices.
    """
    path = FOLDER / f"{architecture}.toml"
    if architecture == "relatives" or not path.is_file():
        return None
    with path.open("rb") as file:
        return msgspec.convert(tomllib.load(file), Calibration)


@functools.cache
def _relatives() -> dict[str, list[str]]:
    with (FOLDER / "relatives.toml").open("rb") as file:
        return tomllib.load(file)


def related_architectures(architecture: str) -> tuple[str, ...]:
    """Architectures to take constants from where the own one has none, nearest first."""
    return tuple(_relatives().get(architecture, ()))


def family_names(architecture: str) -> tuple[str, ...]:
    """Families in which an architecture looks for constants, nearest first."""
    return (architecture, *related_architectures(architecture), GENERIC)


@functools.cache
def _family_sources(architecture: str) -> tuple[Calibration, ...]:
    found = [family_calibration(name) for name in family_names(architecture)]
    return tuple(one for one in found if one is not None)


def calibration_sources(accelerator: Accelerator) -> tuple[Calibration, ...]:
    """Where constants are looked for, nearest first; the device's own calibration leads."""
    return (accelerator.calibration, *_family_sources(accelerator.architecture))


def _first_of_each(tables: tuple[Mapping[str, Entry], ...]) -> dict[str, Entry]:
    """Entries by name, each from the first table that has it."""
    found: dict[str, Entry] = {}
    for table in tables:
        for name, entry in table.items():
            found.setdefault(name, entry)
    return found


def completed_calibration(accelerator: Accelerator) -> Calibration:
    """The device's calibration, with its relatives' constants where it has none of its own."""
    sources = calibration_sources(accelerator)
    return Calibration(
        gemm=_first_of_each(tuple(one.gemm for one in sources)),
        attention=_first_of_each(tuple(one.attention for one in sources)),
        collective=_first_of_each(tuple(one.collective for one in sources)),
        memory_bound=next((one.memory_bound for one in sources if one.memory_bound), None),
        power=accelerator.calibration.power,
    )
