"""Units that a key of a profile may carry, and the one base unit of each dimension.

Inside, every quantity stands in its base unit (s, byte, flop, W, J, Hz, EUR); text is the only
place where another unit may appear, as the suffix of the key: ``capacity_gib = 80``.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["UNITS", "Unit", "spellings", "split_unit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """How a number under one suffix becomes a number in the base unit."""

    base: str
    """Suffix of the base unit, such as ``_bytes``."""
    factor: float = 1.0
    """What to multiply by."""
    divisor: float = 1.0
    """What to divide by. Apart from the factor, since 1e-6 has no exact float and 1e6 has."""

    def to_base(self, value: float) -> float:
        """Express `value` in the base unit, rounded once. [base unit]"""
        return value * self.factor / self.divisor


# No key says _mw: it is milliwatt to a GPU driver and megawatt to a data centre.
UNITS: dict[str, Unit] = {
    "_bytes": Unit(base="_bytes"),
    "_kb": Unit(base="_bytes", factor=1e3),
    "_mb": Unit(base="_bytes", factor=1e6),
    "_gb": Unit(base="_bytes", factor=1e9),
    "_tb": Unit(base="_bytes", factor=1e12),
    "_kib": Unit(base="_bytes", factor=2.0**10),
    "_mib": Unit(base="_bytes", factor=2.0**20),
    "_gib": Unit(base="_bytes", factor=2.0**30),
    "_tib": Unit(base="_bytes", factor=2.0**40),
    "_bytes_per_s": Unit(base="_bytes_per_s"),
    "_mb_per_s": Unit(base="_bytes_per_s", factor=1e6),
    "_gb_per_s": Unit(base="_bytes_per_s", factor=1e9),
    "_tb_per_s": Unit(base="_bytes_per_s", factor=1e12),
    "_gib_per_s": Unit(base="_bytes_per_s", factor=2.0**30),
    "_gbit_per_s": Unit(base="_bytes_per_s", factor=1e9, divisor=8.0),
    "_tbit_per_s": Unit(base="_bytes_per_s", factor=1e12, divisor=8.0),
    "_flop": Unit(base="_flop"),
    "_flop_per_s": Unit(base="_flop_per_s"),
    "_gflop_per_s": Unit(base="_flop_per_s", factor=1e9),
    "_tflop_per_s": Unit(base="_flop_per_s", factor=1e12),
    "_pflop_per_s": Unit(base="_flop_per_s", factor=1e15),
    "_hz": Unit(base="_hz"),
    "_mhz": Unit(base="_hz", factor=1e6),
    "_ghz": Unit(base="_hz", factor=1e9),
    "_w": Unit(base="_w"),
    "_kw": Unit(base="_w", factor=1e3),
    "_megawatt": Unit(base="_w", factor=1e6),
    "_j": Unit(base="_j"),
    "_pj": Unit(base="_j", divisor=1e12),
    "_nj": Unit(base="_j", divisor=1e9),
    "_kwh": Unit(base="_j", factor=3.6e6),
    "_s": Unit(base="_s"),
    "_ms": Unit(base="_s", divisor=1e3),
    "_us": Unit(base="_s", divisor=1e6),
    "_ns": Unit(base="_s", divisor=1e9),
    "_fraction": Unit(base="_fraction"),
    "_percent": Unit(base="_fraction", divisor=1e2),
}

# Longest first, so that `_gb_per_s` is not read as `_s`.
_SUFFIXES = tuple(sorted(UNITS, key=len, reverse=True))


def split_unit(key: str) -> tuple[str, Unit] | None:
    """Part a key into the name of the quantity and its unit; None without a known suffix."""
    for suffix in _SUFFIXES:
        if key.endswith(suffix) and len(key) > len(suffix):
            return key[: -len(suffix)], UNITS[suffix]
    return None


def spellings(base_key: str) -> tuple[str, ...]:
    """Every key under which the quantity `base_key` may be written, the base unit first."""
    parted = split_unit(base_key)
    if parted is None:
        return (base_key,)
    name, unit = parted
    others = [name + suffix for suffix, other in UNITS.items() if other.base == unit.base]
    return (base_key, *(key for key in others if key != base_key))
