"""What a compiler says about one kernel; the same words for both vendors."""

from __future__ import annotations

from dataclasses import dataclass

from hardware_profiles.errors import TweelingError

__all__ = ["CompileError", "CompilerMissingError", "KernelResources", "Object"]


class CompileError(TweelingError):
    """A source does not compile for an architecture; the message ends with the compiler's log."""


class CompilerMissingError(TweelingError):
    """A compiler is not installed; one line says what to install."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelResources:
    """What one entry of an object needs on the device."""

    entry: str
    """Name of the kernel."""
    registers_per_thread: int
    """Registers of 32 bits; vector and accumulation registers together on AMD. [1]"""
    spill_bytes: int
    """Stores and loads to memory for want of registers, or the scratch that they need. [byte]"""
    static_shared_bytes: int
    """Shared memory declared in the source. [byte]"""
    waves_per_simd: int | None = None
    """Occupancy as the compiler reports it; only AMD's does. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """A source compiled for one architecture."""

    architecture: str
    """Such as sm_90a or gfx942."""
    code: bytes
    """The binary that a driver loads."""
    resources: tuple[KernelResources, ...]
    """One for each entry."""
    log: str
    """What the compiler said."""
