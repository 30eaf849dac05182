"""The shape of a profile, read off its struct, and text keys turned into base-unit keys."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, cast

import msgspec
from msgspec import inspect as shapes

from hardware_profiles.accelerator import Accelerator, Announcement
from hardware_profiles.cluster import Cluster, Node, Site
from hardware_profiles.errors import nearest
from hardware_profiles.ranges import expected_range
from hardware_profiles.units import Unit, spellings, split_unit

__all__ = [
    "DTYPES",
    "KINDS",
    "Place",
    "Shape",
    "Table",
    "Thing",
    "fields_of",
    "missing_keys",
    "settable_keys",
    "to_base",
]

Table = dict[str, object]

Thing = Accelerator | Announcement | Node | Cluster | Site
"""What a profile makes."""

KINDS: dict[str, type[msgspec.Struct]] = {
    "accelerator": Accelerator,
    "node": Node,
    "cluster": Cluster,
    "site": Site,
}

DTYPES = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "fp6", "fp4", "int8")

# Tables whose entries carry the unit themselves: [compute.peak_dense] bf16_tflop_per_s = 989.
UNIT_PER_ENTRY = {"peak_dense": "peak_flop_per_s"}

_NOT_SETTABLE = frozenset({"schema_version", "kind", "name", "aliases", "sources", "provenance"})


@dataclass(frozen=True, slots=True)
class Shape:
    """What one key of a table holds."""

    holds: Literal[
        "number",
        "integer",
        "flag",
        "text",
        "texts",
        "numbers",
        "number_list",
        "table",
        "tables",
        "entries",
    ]
    choices: tuple[str, ...] = ()
    struct: type[msgspec.Struct] | None = None
    is_required: bool = False

    @property
    def expected(self) -> str:
        """What a reader of a message should write there."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        return {
            "number": "a number",
            "integer": "a whole number",
            "flag": "true or false",
            "text": "a text",
            "texts": "a list of texts",
            "number_list": "a list of finite numbers",
            "tables": "a list of tables",
        }.get(self.holds, "a table")


@dataclass(slots=True)
class Place:
    """Where keys were written, and what was found wrong with them there."""

    label: str
    """File or option, as the user knows it."""
    problems: list[str] = field(default_factory=list)

    def report(self, path: tuple[str, ...], value: object, expected: str) -> None:
        """Note one wrong key in one line."""
        shown = "" if isinstance(value, (dict, list)) else f" = {_as_text(value)}"
        self.problems.append(f"{self.label}: {'.'.join(path)}{shown}: {expected}")


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text.replace("\n", "\\n")


@lru_cache(maxsize=64)
def fields_of(struct: type[msgspec.Struct]) -> Mapping[str, Shape]:
    """Each key of a struct and what it holds."""
    info = shapes.type_info(struct)
    if not isinstance(info, shapes.StructType):
        msg = f"{struct} is not a struct"
        raise TypeError(msg)
    return {
        entry.name: replace(_shape(entry.type), is_required=entry.required) for entry in info.fields
    }


def missing_keys(
    table: Mapping[str, object], struct: type[msgspec.Struct], *, prefix: str = ""
) -> Iterator[str]:
    """Dotted keys that a struct needs and a table in base units does not have."""
    for name, shape in fields_of(struct).items():
        held = table.get(name)
        if shape.holds == "table" and shape.struct and (shape.is_required or held is not None):
            inner = held if isinstance(held, dict) else {}
            yield from missing_keys(inner, shape.struct, prefix=f"{prefix}{name}.")
        elif shape.is_required and held is None:
            yield f"{prefix}{name}"


def _shape(info: object) -> Shape:  # noqa: PLR0911 - one return per type, nothing else
    match info:
        case shapes.UnionType(types=types):
            return _shape(next(t for t in types if not isinstance(t, shapes.NoneType)))
        case shapes.FloatType():
            return Shape("number")
        case shapes.BoolType():
            return Shape("flag")
        case shapes.IntType():
            return Shape("integer")
        case shapes.LiteralType(values=values):
            return Shape("text", choices=tuple(str(value) for value in values))
        case shapes.StructType(cls=struct):
            return Shape("table", struct=struct)
        case shapes.DictType(value_type=shapes.StructType(cls=struct)):
            return Shape("entries", struct=struct)
        case shapes.DictType():
            return Shape("numbers")
        case shapes.VarTupleType(item_type=shapes.StructType(cls=struct)):
            return Shape("tables", struct=struct)
        case shapes.VarTupleType(item_type=shapes.FloatType() | shapes.IntType()):
            return Shape("number_list")
        case shapes.VarTupleType():
            return Shape("texts")
        case _:
            return Shape("text")


def to_base(
    table: Mapping[str, object],
    struct: type[msgspec.Struct],
    *,
    place: Place,
    path: tuple[str, ...] = (),
) -> Table:
    """Rename the keys of a table to base units, convert its numbers and check each of them.

    Wrong keys are left out and reported to `place`; missing keys are not looked for, so that a
    part of a profile can be converted too.
    """
    fields = fields_of(struct)
    result: Table = {}
    for key, value in table.items():
        here = (*path, key)
        name = _field_name(key, value, fields=fields, place=place, path=path)
        if name is None:
            continue
        if name in result and fields[name].holds != "numbers":
            place.report(here, value, f"a second value for {name}; one is expected")
            continue
        converted = _convert(value, fields[name], key=key, name=name, place=place, path=path)
        if isinstance(converted, dict) and isinstance(earlier := result.get(name), dict):
            _add_entries(earlier, converted, place=place, path=here)
        elif converted is not None:
            result[name] = converted
    return result


def _add_entries(earlier: Table, more: Table, *, place: Place, path: tuple[str, ...]) -> None:
    for key, value in more.items():
        if key in earlier:
            place.report((*path, key), value, f"a second value for {key}; one is expected")
        else:
            earlier[key] = value


def _field_name(
    key: str,
    value: object,
    *,
    fields: Mapping[str, Shape],
    place: Place,
    path: tuple[str, ...],
) -> str | None:
    """Field that a written key means; None, reported, when there is none."""
    if key in fields:
        return key
    if UNIT_PER_ENTRY.get(key) in fields:
        return UNIT_PER_ENTRY[key]
    parted = split_unit(key)
    if parted and (name := parted[0] + parted[1].base) in fields:
        return name
    place.report((*path, key), value, _what_was_meant(key, parted, fields))
    return None


REPLACED = {"feed_ratio": "feed_bytes_per_clock"}
"""Keys of profiles that earlier versions wrote, and what says the same today in another way."""


def _what_was_meant(key: str, parted: tuple[str, Unit] | None, fields: Mapping[str, Shape]) -> str:
    if REPLACED.get(key) in fields:
        return f"replaced by {REPLACED[key]}, which twin calibrate writes"
    quantity = parted[0] if parted else key
    for name, shape in fields.items():
        known = split_unit(name)
        if known and known[0] == quantity and shape.holds in ("number", "numbers"):
            wrong = f"unit {key[len(quantity) :]} does not fit" if parted else "unit is missing"
            return f"{wrong}; expected {_any_of(spellings(name))}"
    close = nearest(key, [spelling for name in fields for spelling in spellings(name)], n=1)
    return f"unknown key; nearest is {close[0]}" if close else f"unknown key; {_any_of(fields)}"


def _any_of(names: Iterable[str]) -> str:
    return "one of " + ", ".join(names)


def _convert(
    value: object,
    shape: Shape,
    *,
    key: str,
    name: str,
    place: Place,
    path: tuple[str, ...],
) -> object | None:
    here = (*path, key)
    if shape.holds in ("number", "integer") and _is_number(value):
        return _number(cast("float", value), shape, written=here, name=name, place=place)
    if shape.holds == "numbers" and isinstance(value, dict):
        return _numbers(value, key=key, name=name, place=place, path=path)
    if shape.struct and isinstance(value, dict | list):
        return _nested(value, shape, place=place, path=here)
    if _is_plain(value, shape):
        return value
    expected = shape.expected
    if shape.choices and isinstance(value, str):
        close = nearest(value, shape.choices, n=1)
        expected += f"; nearest is {close[0]}" if close else ""
    place.report(here, value, f"expected {expected}")
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    return _is_number(value) and math.isfinite(cast("float", value))


def _is_plain(value: object, shape: Shape) -> bool:
    """Whether a value that carries no unit is of the right sort."""
    match shape.holds:
        case "flag":
            return isinstance(value, bool)
        case "text":
            return isinstance(value, str) and (not shape.choices or value in shape.choices)
        case "texts":
            return isinstance(value, list) and all(isinstance(item, str) for item in value)
        case "number_list":
            return isinstance(value, list) and all(_is_finite(item) for item in value)
        case _:
            return False


def _nested(
    value: Table | list[object], shape: Shape, *, place: Place, path: tuple[str, ...]
) -> object | None:
    """A table of a known struct, several of them by name, or a list of them."""
    struct = shape.struct
    match shape.holds, value:
        case "table", dict() if struct:
            return to_base(value, struct, place=place, path=path)
        case "entries", dict() if struct:
            return _entries(value, struct, place=place, path=path)
        case "tables", list() if struct:
            return _tables(value, struct, place=place, path=path)
    place.report(path, value, f"expected {shape.expected}")
    return None


def _number(
    value: float, shape: Shape, *, written: tuple[str, ...], name: str, place: Place
) -> float | None:
    parted = split_unit(written[-1])
    converted = value if parted is None else parted[1].to_base(value)
    if shape.holds == "integer":
        if not math.isfinite(converted) or converted != int(converted):
            place.report(written, value, "expected a whole number")
            return None
        converted = int(converted)
    expected = expected_range(name, converted, path=written[:-1])
    if expected:
        place.report(written, value, f"expected {expected}")
        return None
    return converted if shape.holds == "integer" else float(converted)


def _numbers(
    table: Mapping[str, object], *, key: str, name: str, place: Place, path: tuple[str, ...]
) -> Table:
    """Entries of one dimension by dtype; the unit stands at the table or at each entry."""
    per_entry = key in UNIT_PER_ENTRY
    unit = split_unit(name)
    table_unit = split_unit(key)
    result: Table = {}
    for entry, value in table.items():
        here = (*path, key, entry)
        parted = split_unit(entry) if per_entry else (entry, table_unit[1]) if table_unit else None
        if parted is None or unit is None or parted[1].base != unit[1].base:
            wanted = ", ".join(f"{entry}{suffix}" for suffix in ("_tflop_per_s", "_flop_per_s"))
            place.report(here, value, f"unit is missing or does not fit; expected one of {wanted}")
        elif parted[0] not in DTYPES:
            place.report(here, value, f"unknown dtype; expected one of {', '.join(DTYPES)}")
        elif not _is_number(value):
            place.report(here, value, "expected a number")
        elif parted[0] in result:
            place.report(here, value, f"a second value for {parted[0]}; one is expected")
        else:
            converted = parted[1].to_base(cast("float", value))
            expected = expected_range(parted[0], converted, path=(*path, name))
            if expected:
                place.report(here, value, f"expected {expected}")
            else:
                result[parted[0]] = converted
    return result


def _entries(
    table: Mapping[str, object],
    struct: type[msgspec.Struct],
    *,
    place: Place,
    path: tuple[str, ...],
) -> Table:
    result: Table = {}
    for entry, value in table.items():
        if isinstance(value, dict):
            result[entry] = to_base(value, struct, place=place, path=(*path, entry))
        else:
            place.report((*path, entry), value, "expected a table")
    return result


def _tables(
    items: list[object], struct: type[msgspec.Struct], *, place: Place, path: tuple[str, ...]
) -> list[Table]:
    result: list[Table] = []
    for position, item in enumerate(items):
        numbered = (*path[:-1], f"{path[-1]}[{position}]")
        if isinstance(item, dict):
            result.append(to_base(item, struct, place=place, path=numbered))
        else:
            place.report(numbered, item, "expected a table")
    return result


def settable_keys(value: object, *, prefix: str = "") -> Iterator[str]:
    """Dotted base-unit keys of every figure of a loaded profile that an override may set."""
    if isinstance(value, Announcement):
        yield from _keys_of(Accelerator)
        return
    if not isinstance(value, msgspec.Struct):
        return
    for name, shape in fields_of(type(value)).items():
        if name in _NOT_SETTABLE or shape.holds in ("tables", "texts"):
            continue
        held = getattr(value, name)
        key = f"{prefix}{name}"
        if shape.holds == "table":
            yield from settable_keys(held, prefix=f"{key}.")
        elif shape.holds == "entries":
            for entry, struct in held.items():
                yield from settable_keys(struct, prefix=f"{key}.{entry}.")
        elif shape.holds == "numbers":
            yield from (f"{key}.{dtype}" for dtype in DTYPES)
        else:
            yield key


def _keys_of(struct: type[msgspec.Struct], *, prefix: str = "") -> Iterator[str]:
    """Dotted base-unit keys of every figure that a profile of this kind needs or may have.

    Tables that may be missing are left out: their names cannot be set.
    """
    for name, shape in fields_of(struct).items():
        if name in _NOT_SETTABLE or shape.holds in ("tables", "texts", "entries"):
            continue
        if shape.holds == "table" and shape.struct:
            if not shape.is_required:
                continue
            yield from _keys_of(shape.struct, prefix=f"{prefix}{name}.")
        elif shape.holds == "numbers":
            yield from (f"{prefix}{name}.{dtype}" for dtype in DTYPES)
        else:
            yield f"{prefix}{name}"
