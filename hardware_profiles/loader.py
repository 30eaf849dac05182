"""From the text of one TOML file to tables in base units, and from tables to frozen structs."""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec

from hardware_profiles.accelerator import Announcement
from hardware_profiles.calibration import Calibration
from hardware_profiles.errors import ProfileError, nearest
from hardware_profiles.physics import impossible
from hardware_profiles.schema import KINDS, Place, Table, Thing, fields_of, missing_keys, to_base
from hardware_profiles.sources import base_pattern

__all__ = [
    "SCHEMA_VERSION",
    "ProfileFile",
    "build",
    "calibration_problems",
    "merge",
    "parse",
    "read_file",
]

SCHEMA_VERSION = 1

MEDIAN_TO_SPREAD = 1.0 / 0.6745
"""Standard deviation over median absolute deviation of a normal distribution. [1]"""

LEAST_INHERITED_SPREAD = 0.08
"""Least spread of constants on a device that they were not fitted on. [1]"""

ANY = "[*]"
"""What stands in a path for the name of an entry."""

# Errors of the device that was judged say nothing about the one that takes its constants over.
_JUDGED_ELSEWHERE = (
    "n_heldout",
    "heldout_median_ape_fraction",
    "heldout_mean_ape_fraction",
    "heldout_p90_ape_fraction",
    "left_out_median_ape_fraction",
)

# A child is a thing of its own: it never takes over what identifies its base.
_NEVER_INHERITED = frozenset({"name", "aliases"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileFile:
    """One file, read and converted, not yet joined with the file it extends."""

    label: str
    """Path as messages name it."""
    kind: str
    name: str
    extends: str | None
    sha256: str
    """Of the bytes of the file. [hex]"""
    table: Table
    """What the file itself says, in base units."""
    problems: tuple[str, ...] = ()
    """Every wrong key, one line each."""


def read_file(path: Path) -> ProfileFile:
    """Read one TOML file, collecting what is wrong with its keys.

    Raises
    ------
    ProfileError
        When the file cannot be read, is no TOML, or does not say which kind of thing it is.
    """
    return parse(_content(path), label=str(path))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror or error}"
        raise ProfileError(msg) from error


def calibration_problems(path: Path) -> tuple[str, ...]:
    """What is wrong with a file of constants alone, as those of an architecture are; a line each.

    Raises
    ------
    ProfileError
        When the file cannot be read or is no TOML.
    """
    place = Place(str(path))
    table = to_base(_decode(_content(path), label=str(path)), Calibration, place=place)
    if not place.problems:
        try:
            msgspec.convert(table, Calibration)
        except msgspec.ValidationError as error:
            place.problems.append(f"{path}: {_in_words(str(error), table, Calibration)}")
    return tuple(place.problems)


def parse(content: bytes, *, label: str) -> ProfileFile:
    """Read one profile from the bytes of its file; see `read_file`."""
    raw = _decode(content, label=label)
    kind = _kind(raw, label=label)
    place = Place(label)
    extends = raw.pop("extends", None)
    if extends is not None and not isinstance(extends, str):
        place.report(("extends",), extends, "expected the name of a profile")
        extends = None
    version = raw.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        place.report(("schema_version",), version, f"expected {SCHEMA_VERSION}")
    table = to_base(raw, KINDS[kind], place=place)
    _convert_source_keys(table, KINDS[kind])
    if not isinstance(table.get("name"), str):
        place.problems.append(f"{label}: name: missing; expected the file's name without .toml")
    return ProfileFile(
        label=label,
        kind=kind,
        name=str(table.get("name", Path(label).stem)),
        extends=extends,
        sha256=hashlib.sha256(content).hexdigest(),
        table=table,
        problems=tuple(place.problems),
    )


def _decode(content: bytes, *, label: str) -> Table:
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        msg = f"{label}: line {line}: not UTF-8 text"
        raise ProfileError(msg) from error
    except tomllib.TOMLDecodeError as error:
        msg = f"{label}: not valid TOML: {error}"
        raise ProfileError(msg) from error


def _kind(raw: Table, *, label: str) -> str:
    kind = raw.get("kind")
    if isinstance(kind, str) and kind in KINDS:
        return kind
    close = nearest(str(kind), KINDS, n=1)
    hint = f"; nearest is {close[0]}" if close else ""
    shown = "missing" if kind is None else f'"{kind}"'
    msg = f"{label}: kind = {shown}: expected one of {', '.join(KINDS)}{hint}"
    raise ProfileError(msg)


def _convert_source_keys(table: Table, struct: type[msgspec.Struct]) -> None:
    for source in cast("list[Table]", table.get("sources", [])):
        keys = cast("list[str]", source.get("keys", []))
        source["keys"] = [base_pattern(key, struct) for key in keys]


def merge(base: Table, child: Table, *, base_name: str) -> Table:
    """Lay a child's table over its base: deep, sources joined, fits marked as inherited."""
    inherited = {key: value for key, value in base.items() if key not in _NEVER_INHERITED}
    # A file that carries its base's name is the same device with other figures.
    if "calibration" in inherited and child.get("name") != base_name:
        inherited["calibration"] = _as_inherited(inherited["calibration"], base_name)
    if "calibration" in inherited:
        inherited["calibration"] = _without_replaced(
            inherited["calibration"], child.get("calibration")
        )
    merged = overlay(inherited, child)
    own = cast("list[Table]", child.get("sources", []))
    merged["sources"] = [*cast("list[Table]", base.get("sources", [])), *own]
    return merged


def _without_replaced(held: object, over: object) -> object:
    """Constants of the base without those sets that the child states anew.

    A set of constants with a provenance was fitted as a whole: a correction or a library of the
    base must not slip in between. A table without one sets single figures and leaves the rest.
    """
    if not isinstance(held, dict) or not isinstance(over, dict):
        return held
    if "provenance" in over:
        return {}
    return {key: _without_replaced(value, over.get(key)) for key, value in held.items()}


def overlay(base: Table, over: Table) -> Table:
    """A copy of `base` in which the entries of `over` replace or join those of `base`."""
    result = dict(base)
    for key, value in over.items():
        held = result.get(key)
        both_tables = isinstance(value, dict) and isinstance(held, dict)
        result[key] = overlay(held, value) if both_tables else value  # type: ignore[arg-type]
    return result


def _as_inherited(value: object, base_name: str) -> object:
    """Mark every provenance below as taken over from another device, and say from which."""
    if not isinstance(value, dict):
        return value
    marked = {key: _as_inherited(held, base_name) for key, held in value.items()}
    if "figure_class" in marked and marked["figure_class"] != "inherited":
        marked["figure_class"] = "inherited"
        marked["source"] = f"taken over from {base_name}: {marked.get('source', '')}"
        marked["relative_spread_fraction"] = _inherited_spread(marked)
        for key in _JUDGED_ELSEWHERE:
            marked.pop(key, None)
    return marked


def _inherited_spread(provenance: Table) -> float:
    """Spread on another device: at least what leaving a whole device out has shown. [1]"""
    spread = float(cast("float", provenance.get("relative_spread_fraction", 0.0)))
    left_out = provenance.get("left_out_median_ape_fraction")
    seen = 0.0 if left_out is None else MEDIAN_TO_SPREAD * float(cast("float", left_out))
    return max(spread, seen, LEAST_INHERITED_SPREAD)


def build(table: Table, kind: str, *, label: str) -> Thing:
    """Make the frozen struct of one thing; complain about what is missing or impossible.

    An announced accelerator may lack figures; it then becomes an `Announcement`.
    """
    try:
        thing = _announcement(table, kind) or cast("Thing", msgspec.convert(table, KINDS[kind]))
    except msgspec.ValidationError as error:
        msg = f"{label}: {_in_words(str(error), table, KINDS[kind])}"
        raise ProfileError(msg) from error
    problem = next(impossible(thing), None)
    if problem:
        msg = f"{label}: {problem}"
        raise ProfileError(msg)
    return thing


def _announcement(table: Table, kind: str) -> Announcement | None:
    """What is known of an announced part, when that is not all that a prediction needs."""
    if kind != "accelerator" or table.get("status") != "announced":
        return None
    missing = tuple(missing_keys(table, KINDS[kind]))
    if not missing:
        return None
    known = {key: value for key, value in table.items() if key in Announcement.__struct_fields__}
    return msgspec.convert(known | {"missing_keys": missing}, Announcement)


def _in_words(message: str, table: Table, struct: type[msgspec.Struct]) -> str:
    """Turn a message of the converter into key first, then what was expected."""
    what, _, where = message.partition(" - at `$")
    path = where.rstrip("`").lstrip(".").replace("[...]", ANY)
    path = _located(path, table, struct)
    missing = re.search(r"missing required field `(\w+)`", what)
    if missing:
        key = f"{path}.{missing[1]}" if path else missing[1]
        return f"{key}: missing; the profile needs it"
    return f"{path}: {what[:1].lower()}{what[1:]}"


def _located(path: str, table: Table, struct: type[msgspec.Struct]) -> str:
    """The path of a message with the names of entries, which the converter leaves out."""
    if ANY not in path:
        return path
    step, _, rest = path.partition(".")
    name = step.removesuffix(ANY)
    shape, held = fields_of(struct).get(name), table.get(name)
    if shape is None or shape.struct is None or not isinstance(held, dict):
        return path
    if step == name:
        return f"{name}.{_located(rest, held, shape.struct)}"
    wrong = next((key for key in held if not _is_convertible(held[key], shape.struct)), None)
    if wrong is None:
        return path
    inner = _located(rest, held[wrong], shape.struct)
    return ".".join(part for part in (name, wrong, inner) if part)


def _is_convertible(value: object, struct: type[msgspec.Struct]) -> bool:
    try:
        msgspec.convert(value, struct)
    except msgspec.ValidationError:
        return False
    return True
