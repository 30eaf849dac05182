"""Calibrations written into accelerator profiles, each file in one step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from hardware_profiles.calibration import Calibration
from hardware_profiles.catalogue import SHIPPED, Catalogue
from hardware_profiles.errors import ProfileError
from hardware_profiles.whole_files import write_text_whole
from kernels.calibration.joined import joined_calibration
from kernels.calibration.render import rendered_calibration

__all__ = ["calibrated_profile", "write_calibrations", "write_family_files"]

FIRST_TABLE = re.compile(r"^\[calibration[.\]]", re.MULTILINE)

HEADING = "# Below: written by twin calibrate. Facts stand above, fitted constants here."

FAMILY_HEADING = (
    "# Constants of an architecture for devices without their own, written by twin calibrate;\n"
    "# see kernels/families/inheritance.py."
)


def calibrated_profile(text: str, calibration: Calibration) -> str:
    """Text of a profile with its calibration tables replaced.

    Everything above the first of them stays as it was written, comments included.
    """
    found = FIRST_TABLE.search(text)
    facts = (text[: found.start()] if found else text).rstrip()
    facts = facts.removesuffix(HEADING).rstrip()
    tables = rendered_calibration(calibration)
    return f"{facts}\n\n{HEADING}\n{tables}" if tables else f"{facts}\n"


def write_calibrations(
    fitted: Mapping[str, Calibration], *, catalogue: Catalogue, out: Path
) -> list[Path]:
    """Write the profile of each accelerator with what was fitted.

    What was not fitted (a dtype, an implementation, an operation, a family of kernels) is predicted
    as by the constants that the profile itself has: a library of products keeps its times, so that
    its ratios are those to the device's new constants. What a fit only derives replaces nothing
    measured.

    Parameters
    ----------
    fitted
        By name of the accelerator.
    catalogue
        Where the profiles come from.
    out
        Folder; a profile goes to the place below it that it has below the shipped folder.

    Returns
    -------
    list
        Files written, sorted.
    """
    written = []
    for name, calibration in sorted(fitted.items()):
        source = catalogue.path("accelerator", name)
        own = _own_calibration(catalogue, name)
        joined = joined_calibration(catalogue.accelerator(name), own, calibration)
        text = calibrated_profile(source.read_text(encoding="utf-8"), joined)
        below = source.relative_to(SHIPPED) if source.is_relative_to(SHIPPED) else source.name
        target = out / below
        _write(target, text)
        written.append(target)
    return written


def write_family_files(families: Mapping[str, Calibration], *, out: Path) -> list[Path]:
    """Write the constants of each architecture to ``out/families``."""
    written = []
    for name, calibration in sorted(families.items()):
        target = out / "families" / f"{name}.toml"
        _write(target, f"{FAMILY_HEADING}\n{rendered_calibration(calibration, path='')}")
        written.append(target)
    return written


def _own_calibration(catalogue: Catalogue, name: str) -> Calibration:
    """What the profile's own file says, without what it takes over from the one it extends."""
    table = catalogue.load("accelerator", name).own_table.get("calibration", {})
    return msgspec.convert(table, Calibration)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_whole(path, text)
    except OSError as refusal:
        msg = f"--out {path.parent}: cannot be written: {refusal.strerror or refusal}"
        raise ProfileError(msg) from refusal
