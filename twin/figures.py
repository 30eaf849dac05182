"""Figures of profiles as people read and write them: unit, number, which direction is better.

A profile says in the name of a key which unit it is in; here that becomes the unit of the screen,
and the text that somebody types becomes the base unit again.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from hardware_profiles.errors import TweelingError
from hardware_profiles.units import UNITS, split_unit
from twin.quantities import Better

__all__ = [
    "UNKNOWN",
    "FigureError",
    "better",
    "display_unit",
    "figure_name",
    "parse_figure",
    "shown_figure",
]


class FigureError(TweelingError):
    """A text is no value of a figure."""


UNKNOWN = "n/a"
"""What stands where nobody has published a figure."""

N_DIGITS = 4
"""Significant digits of a number on screen. [1]"""


class Shown(NamedTuple):
    """The unit of the screen for one base unit."""

    unit: str
    suffix: str
    """Suffix of a key that is in this unit."""


_SHOWN = {
    "_bytes_per_s": Shown("GB/s", "_gb_per_s"),
    "_bytes": Shown("GB", "_gb"),
    "_flop_per_s": Shown("TFLOP/s", "_tflop_per_s"),
    "_hz": Shown("MHz", "_mhz"),
    "_w": Shown("W", "_w"),
    "_j": Shown("pJ", "_pj"),
    "_s": Shown("µs", "_us"),
    "_fraction": Shown("%", "_percent"),
}
_CACHES = Shown("MB", "_mb")
"""Caches are read in megabytes."""

_PREFIXES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15}
_DERIVED = {"flop_per_j": "TFLOP/s/W", "flop_per_byte": "flop/B", "bytes_per_j": "GB/s/W"}
_COUNTED = {"parameters": ("G", 1e9)}
_SCALES = {"TFLOP/s/W": 1e12, "GB/s/W": 1e9}

_HIGHER = (
    "peak_flop_per_s",
    "capacity_bytes",
    "bandwidth_bytes_per_s",
    "_cache_bytes",
    "l2_bytes",
    "efficiency_fraction",
    "host_memory_bytes",
    "n_units",
    "clock_hz",
    "flop_per_j",
    "bytes_per_j",
)
_LOWER = ("_w", "launch_s", "latency_s", "pue", "oversubscription", "_per_flop_j", "_byte_j")
_NUMBER = re.compile(r"([-+]?(?:\d+(?:[.,]\d+)?|\.\d+)(?:e[-+]?\d+)?)\s*(.*)", re.IGNORECASE)


@lru_cache(maxsize=4096)
def better(key: str) -> Better:
    """Which direction of a figure is better for a buyer; neither where that depends."""
    name = key if "peak_flop_per_s" in key else key.rsplit(".", maxsplit=1)[-1]
    if any(part in name for part in _HIGHER):
        return "higher"
    if any(name.endswith(part) for part in _LOWER) and "minimum" not in name:
        return "lower"
    return "neither"


@lru_cache(maxsize=4096)
def figure_name(key: str) -> tuple[str, str]:
    """Section and name of a figure in words, without the unit: ("memory", "capacity")."""
    *tables, name = key.split(".")
    if tables and tables[-1].endswith("flop_per_s"):
        return " ".join(tables[:-1]), f"peak {name}"
    parted = split_unit(name)
    word = parted[0] if parted and parted[1].base != "_flop_per_s" else name
    if tables == ["derived"]:
        word = next((name.removesuffix(f"_{end}") for end in _DERIVED if name.endswith(end)), name)
    return " ".join(tables).replace("_", " "), word.replace("_", " ")


def display_unit(key: str) -> str:
    """Unit in which a figure is shown; empty for a pure number."""
    return _shown(key).unit


def shown_figure(key: str, value: object) -> tuple[str, str]:
    """Number and unit of a figure apart, for aligned columns.

    Parameters
    ----------
    key
        Dotted name in base units, such as ``memory.capacity_bytes``.
    value
        In base units; None for a figure that nobody knows, which is shown as ``n/a``.
    """
    if value is None:
        return UNKNOWN, ""
    if isinstance(value, bool):
        return ("yes" if value else "no"), ""
    if not isinstance(value, int | float):
        return str(value), ""
    shown = _shown(key)
    return _compact(value / _scale(key), is_count=not shown.unit), shown.unit


def parse_figure(key: str, text: str) -> float:
    """Value in base units of what somebody typed; without a unit, the unit of the screen counts.

    Raises
    ------
    FigureError
        When it is no number, or its unit does not fit the figure.
    """
    found = _NUMBER.fullmatch(text.strip())
    if not found:
        wanted = display_unit(key) or "a plain number"
        msg = f'"{text.strip()}": expected a number, in {wanted} unless it says otherwise'
        raise FigureError(msg)
    number = float(found[1].replace(",", "."))
    unit = found[2].strip()
    if not unit:
        return number * _scale(key)
    return number * _typed_scale(key, unit)


@lru_cache(maxsize=4096)
def _shown(key: str) -> Shown:
    name = _measure(key)
    for ending, unit in _DERIVED.items():
        if name.endswith(ending):
            return Shown(unit, "")
    if name in _COUNTED:
        return Shown(_COUNTED[name][0], "")
    if name.startswith("l2_") or name.endswith("_cache_bytes"):
        return _CACHES
    parted = split_unit(name)
    return _SHOWN.get(parted[1].base, Shown("", "")) if parted else Shown("", "")


def _measure(key: str) -> str:
    """The part of a dotted key that carries the unit."""
    *tables, name = key.split(".")
    return tables[-1] if tables and tables[-1].endswith("flop_per_s") else name


@lru_cache(maxsize=4096)
def _scale(key: str) -> float:
    """Base units in one unit of the screen. [1]"""
    shown = _shown(key)
    if shown.suffix:
        return UNITS[shown.suffix].to_base(1.0)
    name = _measure(key)
    return _COUNTED[name][1] if name in _COUNTED else _SCALES.get(shown.unit, 1.0)


def _typed_scale(key: str, unit: str) -> float:
    """Base units in one typed unit. [1]"""
    parted = split_unit(_measure(key))
    suffix = "_" + unit.lower().replace("µ", "u").replace("flops", "flop/s").replace("/s", "_per_s")
    spelled = {suffix, suffix.replace("flop_per_s_per_s", "flop_per_s"), _alias(suffix)}
    for one in spelled:
        if parted and one in UNITS and UNITS[one].base == parted[1].base:
            return UNITS[one].to_base(1.0)
    if parted is None and unit.lower() in _PREFIXES:
        return _PREFIXES[unit.lower()]
    if parted is None and unit.lower() == "b":
        return 1e9
    wanted = display_unit(key) or "no unit"
    msg = f'unit "{unit}" does not fit; expected {wanted} or another unit of the same kind'
    raise FigureError(msg)


def _alias(suffix: str) -> str:
    """Spellings that people use for the suffixes of profiles."""
    if suffix in ("_%", "_pct"):
        return "_percent"
    if suffix == "_b":
        return "_bytes"
    if suffix in ("_tf", "_pf", "_gf"):
        return f"{suffix}lop_per_s"
    return "_megawatt" if suffix == "_mw" else suffix


def _compact(value: float, *, is_count: bool) -> str:
    """At most four significant digits, without zeros that say nothing; counts as they are."""
    if is_count and float(value).is_integer() and abs(value) < 1e9:
        return f"{int(value)}"
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    digits = f"{float(f'{value:.{N_DIGITS}g}'):f}"
    return digits.rstrip("0").rstrip(".")
