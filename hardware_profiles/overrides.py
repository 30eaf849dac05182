"""Figures of a profile that the user sets for once: ``--set accelerator.power.tdp_w=500``."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from hardware_profiles.errors import ProfileError, nearest
from hardware_profiles.schema import KINDS, Place, Table, settable_keys, to_base
from hardware_profiles.units import spellings, split_unit

__all__ = ["Override", "overridden_hash", "overridden_table", "parse_overrides"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One setting as the user wrote it."""

    kind: str
    path: tuple[str, ...]
    """Key within the thing, in the user's own unit."""
    value: object
    text: str
    """The whole setting, for messages."""


def parse_overrides(pairs: Iterable[tuple[str, str]]) -> tuple[Override, ...]:
    """Part each (dotted key, value as text) into what it sets and to which value."""
    return tuple(_parse(key, text) for key, text in pairs)


def _parse(dotted_key: str, text: str) -> Override:
    kind, *path = dotted_key.strip().split(".")
    setting = f"--set {dotted_key}={text}"
    if kind not in KINDS:
        close = nearest(kind, KINDS, n=1)
        hint = f"; nearest is {close[0]}" if close else ""
        msg = f"{setting}: expected a key that begins with one of {', '.join(KINDS)}{hint}"
        raise ProfileError(msg)
    if not path or not all(path):
        msg = f"{setting}: expected a figure of the {kind}, such as {_example(kind)}"
        raise ProfileError(msg)
    return Override(kind=kind, path=tuple(path), value=_value(text), text=setting)


def _example(kind: str) -> str:
    return {
        "accelerator": "accelerator.power.tdp_w=500",
        "node": "node.network.n_nics=4",
        "cluster": "cluster.fabric.oversubscription=2",
        "site": "site.pue=1.1",
    }[kind]


def _value(text: str) -> object:
    """Read a value as TOML would; what is no TOML value is a text."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if set(parsed) == {"value"} else text


def overridden_table(
    thing: msgspec.Struct, kind: str, *, overrides: Sequence[Override]
) -> tuple[Table, tuple[str, ...]]:
    """Turn the settings of one kind into a table in base units, and name the keys it sets.

    Parameters
    ----------
    thing
        The loaded profile, which says what can be set.
    kind
        Kind of the thing; settings of other kinds are passed over.
    overrides
        All settings; of two for one figure the later wins.
    """
    valid = tuple(settable_keys(thing))
    table: Table = {}
    for override in overrides:
        if override.kind == kind:
            _set_in(table, dict(_flat(_converted(override, valid=valid))))
    return table, tuple(sorted(f"{kind}.{key}" for key, _ in _flat(table)))


def _converted(override: Override, *, valid: Sequence[str]) -> Table:
    place = Place("--set")
    nested: object = override.value
    for name in reversed(override.path):
        nested = {name: nested}
    struct = KINDS[override.kind]
    if not isinstance(nested, dict):
        raise TypeError(override.path)
    table = to_base(nested, struct, place=place, path=(override.kind,))
    keys = [key for key, _ in _flat(table)]
    if not place.problems and keys and all(key in valid for key in keys):
        return table
    raise ProfileError(_complaint(override, place=place, valid=valid))


def _complaint(override: Override, *, place: Place, valid: Sequence[str]) -> str:
    written = ".".join(override.path)
    known = any(written in _dotted_spellings(key) for key in valid)
    if place.problems and (known or "unit" in place.problems[0].rpartition(": ")[2]):
        return place.problems[0]
    spelled = [spelling for key in valid for spelling in _dotted_spellings(key)]
    close = nearest(written, spelled)
    hint = f"nearest {', '.join(f'{override.kind}.{key}' for key in close)}" if close else ""
    return f"{override.text}: no figure of this {override.kind} can be set by that key; {hint}"


def _dotted_spellings(key: str) -> tuple[str, ...]:
    table, _, name = key.rpartition(".")
    prefix = f"{table}." if table else ""
    return tuple(prefix + spelling for spelling in spellings(name)) if split_unit(name) else (key,)


def _flat(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _set_in(table: Table, figures: Mapping[str, object]) -> None:
    for dotted, value in figures.items():
        *tables, name = dotted.split(".")
        target = table
        for step in tables:
            inner = target.setdefault(step, {})
            if isinstance(inner, dict):
                target = inner
        target[name] = value


def overridden_hash(sha256: str, table: Table) -> str:
    """Hash of a file with settings laid over it; the same settings in another unit count alike."""
    lines = [f"{key}={value!r}" for key, value in sorted(_flat(table))]
    return hashlib.sha256("\n".join([sha256, *lines]).encode()).hexdigest()
