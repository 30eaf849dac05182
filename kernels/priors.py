"""Parameters of kernel models for a device that nobody has measured.

They are middle values of the calibrated devices and carry wide spreads. A device with a
calibration of its own never uses them.
"""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path

import msgspec

from hardware_profiles.calibration import Calibration

__all__ = ["prior_calibration"]


@functools.cache
def prior_calibration() -> Calibration:
    """The calibration that stands in where a profile has none."""
    with (Path(__file__).parent / "priors.toml").open("rb") as file:
        return msgspec.convert(tomllib.load(file), Calibration)
