"""Files that hold fitted constants: frameworks, and the power models of families of devices."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import hardware_profiles
import twin.training
from hardware_profiles.catalogue import Catalogue
from hardware_profiles.toml_numbers import write_constants
from twin.fitting.parameters import FitParameter
from twin.training.framework import Constants
from twin.validation.run_constants import ARCHITECTURE

__all__ = ["current_constants", "write_to_homes"]

FRAMEWORKS = Path(twin.training.__path__[0]) / "frameworks"
ACCELERATORS = Path(hardware_profiles.__path__[0]) / "accelerators"
POWER_TABLE = "calibration.power"


def _value(document: Mapping[str, object], dotted: str) -> float | None:
    found: object = document
    for name in dotted.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return float(found) if isinstance(found, int | float) else None


def _homes(home: str) -> list[Path]:
    """Files of a home: one framework, or the profiles of a family that have power figures."""
    if not home.startswith(ARCHITECTURE):
        return [FRAMEWORKS / f"{home}.toml"]
    family = home.removeprefix(ARCHITECTURE)
    catalogue = Catalogue(())
    found = []
    for path in sorted(ACCELERATORS.rglob("*.toml")):
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        if "power" not in document.get("calibration", {}):
            continue  # inherited, and changes with the profile that it extends
        if catalogue.accelerator(str(document["name"])).architecture == family:
            found.append(path)
    return found


def _key(home: str, key: str) -> str:
    return f"{POWER_TABLE}.{key}" if home.startswith(ARCHITECTURE) else key


def current_constants(parameters: Sequence[FitParameter]) -> Constants:
    """What the files hold now; constants that no file holds yet are left out."""
    found = {}
    for parameter in parameters:
        for path in _homes(parameter.home):
            document = tomllib.loads(path.read_text(encoding="utf-8"))
            value = _value(document, _key(parameter.home, parameter.key))
            if value is not None:
                found[parameter.place] = value
    return found


def write_to_homes(values: Constants) -> None:
    """Write constants into the files that hold them.

    Raises
    ------
    HomeError
        A file lacks a constant; it is named, and no file after it is written.
    """
    homes: dict[str, dict[str, float]] = {}
    for (home, key), value in values.items():
        homes.setdefault(home, {})[_key(home, key)] = value
    for home, own in homes.items():
        for path in _homes(home):
            write_constants(path, own)
