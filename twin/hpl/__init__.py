"""High-Performance Linpack on a machine: rate and power of a dense LU factorisation."""

from twin.hpl.constants import HplConstants, hpl_constants
from twin.hpl.machine import hpl_system
from twin.hpl.model import HplRun, HplSystem, hpl_run
from twin.hpl.power import HplPower, hpl_power

__all__ = [
    "HplConstants",
    "HplPower",
    "HplRun",
    "HplSystem",
    "hpl_constants",
    "hpl_power",
    "hpl_run",
    "hpl_system",
]
