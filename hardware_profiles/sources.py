"""Which source stands behind a figure of a profile."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

import msgspec

from hardware_profiles.accelerator import Source
from hardware_profiles.calibration import Provenance
from hardware_profiles.schema import UNIT_PER_ENTRY, Thing, fields_of
from hardware_profiles.units import split_unit

__all__ = ["base_pattern", "figure_source", "matches"]

FigureClass = Literal["measured", "fitted", "datasheet", "assumed"]


def figure_source(thing: Thing, dotted_key: str) -> Source | None:
    """Source of one figure: the last entry of ``sources`` that names it.

    Calibrated parameters carry their own provenance; one that was taken over from another
    device counts as assumed here, since nobody measured it on this one.

    Parameters
    ----------
    thing
        A loaded profile.
    dotted_key
        Name of the figure in base units, such as ``memory.capacity_bytes``.
    """
    if dotted_key.startswith("calibration."):
        return _calibration_source(thing, dotted_key)
    for source in reversed(thing.sources):
        if any(matches(pattern, dotted_key) for pattern in source.keys):
            return source
    return None


def _calibration_source(thing: msgspec.Struct, dotted_key: str) -> Source | None:
    *tables, figure = dotted_key.split(".")
    held: object = thing
    provenance: object = None
    # A table without a provenance of its own is part of the one around it.
    for name in tables:
        held = held.get(name) if isinstance(held, dict) else getattr(held, name, None)
        provenance = getattr(held, "provenance", None) or provenance
    if "backward" in figure:
        provenance = getattr(held, "backward_provenance", None) or provenance
    if not isinstance(provenance, Provenance):
        return None
    known: dict[str, FigureClass] = {"measured": "measured", "fitted": "fitted"}
    figure_class = known.get(provenance.figure_class, "assumed")
    return Source(keys=(dotted_key,), figure_class=figure_class, text=provenance.source)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")))


def matches(pattern: str, dotted_key: str) -> bool:
    """Whether a key of ``sources`` names this figure; ``*`` stands for any run of characters."""
    return _compiled(pattern).fullmatch(dotted_key) is not None


def base_pattern(pattern: str, struct: type[msgspec.Struct]) -> str:
    """Rewrite a key of ``sources`` to base units, since a file may name what it wrote itself."""
    parts = pattern.split(".")
    result: list[str] = []
    current: type[msgspec.Struct] | None = struct
    for part in parts:
        name, current = _base_name(part, current, parent=result[-1] if result else "")
        result.append(name)
    return ".".join(result)


def _base_name(
    part: str, struct: type[msgspec.Struct] | None, *, parent: str
) -> tuple[str, type[msgspec.Struct] | None]:
    parted = split_unit(part)
    if struct is None:
        in_numbers = parted is not None and parent in UNIT_PER_ENTRY.values()
        return (parted[0] if in_numbers and parted else part), None
    fields = fields_of(struct)
    name = UNIT_PER_ENTRY.get(part, part)
    if name not in fields and parted and parted[0] + parted[1].base in fields:
        name = parted[0] + parted[1].base
    shape = fields.get(name)
    return name, shape.struct if shape and shape.holds == "table" else None
