"""Constants of the HPL model: few, and the same for every system."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import NamedTuple

__all__ = ["HplConstants", "hpl_constants"]

FILE = Path(__file__).with_name("constants.toml")


class HplConstants(NamedTuple):
    """See ``constants.toml`` for where each comes from."""

    fp64_energy_ratio: float
    """Energy of an fp64 matrix operation over that of a 16-bit one. [1]"""
    exposed_fraction: float
    """Share of panels and exchanges that shows although updates could hide it. [1]"""
    memory_fraction: float
    """Share of the device memory that holds the matrix. [1]"""
    n_block_rows: float
    """Columns of a block, and rows that one swap moves. [1]"""
    product_efficiency_fraction: float
    """Rate of large products over the dense peak at the same clock. [1]"""
    pivot_latency_s: float
    """Exchange of one pivot between two devices of a column. [s]"""
    panel_passes: float
    """Times that factoring a panel streams it. [1]"""


@functools.cache
def hpl_constants() -> HplConstants:
    """The constants that come with the twin."""
    return HplConstants(**tomllib.loads(FILE.read_text(encoding="utf-8")))
