"""Resident blocks of a compiled kernel, from its registers, shared memory and threads.

References
----------
CUDA C++ Programming Guide, "Multiprocessor level" and "Technical specifications per compute
capability"; the limits themselves stand in architectures.toml with their sources.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hardware_profiles.errors import TweelingError, nearest

__all__ = [
    "ArchitectureError",
    "UnitLimits",
    "limits_of",
    "occupancy_fraction",
    "resident_blocks",
]


class ArchitectureError(TweelingError):
    """An architecture that is not in architectures.toml."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitLimits:
    """What one multiprocessor or compute unit can hold."""

    source: str
    """Document that states the limits."""
    vendor: str
    """nvidia or amd."""
    wave_size: int
    """Threads of a warp or wave. [1]"""
    max_waves: int
    """Resident warps or waves. [1]"""
    max_blocks: int
    """Resident blocks. [1]"""
    register_file: int
    """Registers of 32 bits over all threads. [1]"""
    register_unit: int
    """Registers that a wave is given at once. [1]"""
    max_registers_per_thread: int
    """Registers above which the compiler spills. [1]"""
    shared_bytes: int
    """Shared memory, or local data share. [byte]"""
    max_shared_per_block_bytes: int
    """Most that one block may ask for. [byte]"""
    reserved_shared_bytes: int
    """What the system takes for each block. [byte]"""
    shared_unit_bytes: int
    """Granularity of shared memory. [byte]"""
    n_partitions: int
    """Schedulers, each with its share of the registers. [1]"""


@cache
def _table() -> dict[str, UnitLimits]:
    text = (Path(__file__).parent / "architectures.toml").read_text(encoding="utf-8")
    return {name: UnitLimits(**values) for name, values in tomllib.loads(text).items()}


def limits_of(architecture: str) -> UnitLimits:
    """Limits of an architecture; ``sm_90a`` has those of ``sm_90``.

    Raises
    ------
    ArchitectureError
        When no limits are known.
    """
    table = _table()
    name = architecture.removesuffix("a") if architecture.startswith("sm_") else architecture
    if name not in table:
        likely = ", ".join(nearest(architecture, table)) or ", ".join(table)
        msg = f"architecture {architecture!r} has no limits in architectures.toml; try {likely}"
        raise ArchitectureError(msg)
    return table[name]


def resident_blocks(
    limits: UnitLimits, *, n_threads: int, registers_per_thread: int, shared_bytes: int
) -> int:
    """Blocks that fit on one multiprocessor or compute unit at once. [1].

    Waves go to partitions whole, registers are given to a wave in units, and shared memory to a
    block in units; the scarcest of the four limits decides.

    Parameters
    ----------
    limits
        Of the architecture.
    n_threads
        Threads of a block. [1]
    registers_per_thread
        As the compiler reports them; vector and accumulation registers together on AMD. [1]
    shared_bytes
        Static and dynamic shared memory of a block. [byte]

    Returns
    -------
    int
        Zero when one block alone does not fit. [1]
    """
    n_waves = -(-n_threads // limits.wave_size)
    by_waves = min(limits.max_blocks, limits.max_waves // n_waves)
    if registers_per_thread > limits.max_registers_per_thread:
        return 0
    if shared_bytes > limits.max_shared_per_block_bytes:
        return 0
    per_wave = _round_up(max(1, registers_per_thread) * limits.wave_size, limits.register_unit)
    waves_per_partition = limits.register_file // limits.n_partitions // per_wave
    by_registers = waves_per_partition * limits.n_partitions // n_waves
    block_bytes = _round_up(shared_bytes, limits.shared_unit_bytes) + limits.reserved_shared_bytes
    by_shared = limits.shared_bytes // block_bytes if block_bytes else limits.max_blocks
    return min(by_waves, by_registers, by_shared)


def occupancy_fraction(limits: UnitLimits, *, n_threads: int, n_blocks: int) -> float:
    """Resident waves over the most that there could be. [1]."""
    return n_blocks * -(-n_threads // limits.wave_size) / limits.max_waves


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
