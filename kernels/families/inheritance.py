"""Constants that a device takes over from its relatives where it has none of its own.

Shares of datasheet figures carry over between devices of one generation, so an unmeasured device
works from its datasheet and its family's constants, with the spread that leaving whole devices out
has shown. The order is: the device itself, its architecture, related architectures, middle values
over everything measured.
"""

from __future__ import annotations

import functools
import hashlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar, get_args

import msgspec

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import Calibration, widened
from hardware_profiles.catalogue import Catalogue

__all__ = [
    "GENERIC",
    "Kind",
    "calibration_sources",
    "completed_calibration",
    "family_calibration",
    "family_hashes",
    "family_names",
    "inherited_calibration",
    "named_sources",
    "prior_accelerator",
    "related_architectures",
]

FOLDER = Path(__file__).parent
GENERIC = "generic"
RELATIVES = "relatives"

Kind = Literal["gemm", "attention", "collective", "memory_bound"]
"""Families of kernels, as `Calibration` names them."""

Entry = TypeVar("Entry")


class Relatives(msgspec.Struct, frozen=True, kw_only=True):
    """What ``relatives.toml`` says besides the common order."""

    attention: dict[str, tuple[str, ...]]
    """Orders that differ for attention."""
    spread_fraction: dict[str, float]
    """Least spread of constants from another architecture, by family of kernels. [1]"""


@functools.cache
def _document() -> dict[str, object]:
    with (FOLDER / f"{RELATIVES}.toml").open("rb") as file:
        return tomllib.load(file)


@functools.cache
def _relatives() -> Relatives:
    return msgspec.convert(_document(), Relatives)


def related_architectures(architecture: str, kind: Kind = "gemm") -> tuple[str, ...]:
    """Architectures to take constants from where the own one has none, nearest first."""
    if kind == "attention" and architecture in _relatives().attention:
        return _relatives().attention[architecture]
    return msgspec.convert(_document().get(architecture, ()), tuple[str, ...])


def family_names(architecture: str, kind: Kind = "gemm") -> tuple[str, ...]:
    """Families in which an architecture looks for constants, nearest first."""
    return (architecture, *related_architectures(architecture, kind), GENERIC)


@functools.cache
def family_calibration(architecture: str) -> Calibration | None:
    """Constants of an architecture; None where none of its devices was measured.

    The generic family holds middle values of the calibrated devices.
    """
    path = FOLDER / f"{architecture}.toml"
    if architecture == RELATIVES or not path.is_file():
        return None
    with path.open("rb") as file:
        return msgspec.convert(tomllib.load(file), Calibration)


@functools.cache
def _foreign_calibration(architecture: str) -> Calibration | None:
    """Constants of an architecture as another one takes them over: with wider intervals."""
    family = family_calibration(architecture)
    return None if family is None else widened(family, _relatives().spread_fraction)


@functools.cache
def _family_sources(architecture: str, kind: Kind) -> tuple[tuple[str, Calibration], ...]:
    names = family_names(architecture, kind)
    _, *others = names
    found = [family_calibration(architecture), *map(_foreign_calibration, others)]
    return tuple((name, one) for name, one in zip(names, found, strict=True) if one is not None)


def named_sources(accelerator: Accelerator, kind: Kind) -> tuple[tuple[str, Calibration], ...]:
    """The sources of `calibration_sources`, each with its family; empty for the device itself."""
    own = ("", accelerator.calibration)
    return (own, *_family_sources(accelerator.architecture, kind))


def calibration_sources(accelerator: Accelerator, kind: Kind) -> tuple[Calibration, ...]:
    """Where constants of a family of kernels are looked for; the device's own come first."""
    return tuple(source for _, source in named_sources(accelerator, kind))


def _first_of_each(tables: tuple[Mapping[str, Entry], ...]) -> dict[str, Entry]:
    """Entries by name, each from the first table that has it."""
    found: dict[str, Entry] = {}
    for table in tables:
        for name, entry in table.items():
            found.setdefault(name, entry)
    return found


def completed_calibration(accelerator: Accelerator) -> Calibration:
    """The device's calibration, with its relatives' constants where it has none of its own."""
    streams = calibration_sources(accelerator, "memory_bound")
    return Calibration(
        gemm=_first_of_each(tuple(c.gemm for c in calibration_sources(accelerator, "gemm"))),
        attention=_first_of_each(
            tuple(c.attention for c in calibration_sources(accelerator, "attention"))
        ),
        collective=_first_of_each(
            tuple(c.collective for c in calibration_sources(accelerator, "collective"))
        ),
        memory_bound=next((c.memory_bound for c in streams if c.memory_bound), None),
        power=accelerator.calibration.power,
    )


def family_hashes(accelerator: Accelerator) -> dict[str, str]:
    """SHA-256 of each file of constants that completes a device's own, by ``family/name``. [hex]

    Whatever `completed_calibration` takes from a file is behind it, needed for a prediction or not.
    ``family/relatives``, the order of architectures, is among them where another one helps out.
    """
    names: set[str] = set()
    for kind in get_args(Kind):
        known = _entry_names(accelerator.calibration, kind)
        for name in family_names(accelerator.architecture, kind):
            family = family_calibration(name)
            entries = set() if family is None else _entry_names(family, kind)
            if entries - known:
                names.add(name)
            known |= entries
    if names - {accelerator.architecture}:
        names.add(RELATIVES)
    return {f"family/{name}": _file_hash(name) for name in sorted(names)}


def _entry_names(calibration: Calibration, kind: Kind) -> set[str]:
    """Names of what a calibration has of a family of kernels, which may be one thing as a whole."""
    held = getattr(calibration, kind)
    if kind == "memory_bound":
        return set() if held is None else {kind}
    return set(held)


@functools.cache
def _file_hash(name: str) -> str:
    return hashlib.sha256((FOLDER / f"{name}.toml").read_bytes()).hexdigest()


def prior_accelerator(catalogue: Catalogue, name: str) -> Accelerator:
    """The profile that thin tables of an accelerator lean on: the one that it extends.

    The profile itself where it extends none: a table of one server of a kind says how that server
    differs from the kind.
    """
    accelerator = catalogue.accelerator(name)
    above = catalogue.load("accelerator", name).base
    # What stands under the same name in the user's folder extends the shipped one by that name.
    while above is not None and isinstance(above.thing, Accelerator):
        accelerator, above = above.thing, above.base
    return accelerator


def inherited_calibration(catalogue: Catalogue, name: str) -> Calibration:
    """What is known of an accelerator before its own kernels are, its relatives' constants too."""
    return completed_calibration(prior_accelerator(catalogue, name))
