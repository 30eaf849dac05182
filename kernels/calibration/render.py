"""Calibrations as TOML tables, as they stand in accelerator profiles and families."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import msgspec

from hardware_profiles.calibration import Calibration

__all__ = ["rendered_array", "rendered_calibration"]

SIGNIFICANT_DIGITS = 4
"""More digits than a fit determines would only make differences hard to read."""

LINE_LENGTH = 100

GRID = "values_permille"
"""The one text that is longer than a line should be: numbers, so that it can be wrapped."""

LARGEST_EXACT = 1e6
"""Whole numbers below this are written as they are."""


def _value(value: object) -> str:
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, int | float | str):
        message = f"cannot write {value!r} into a calibration table"
        raise TypeError(message)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, int):
        return str(value)
    if value.is_integer() and abs(value) < LARGEST_EXACT:
        return repr(value)  # a limit of a library, such as 49152 bytes, not something fitted
    return repr(float(f"{value:.{SIGNIFICANT_DIGITS}g}"))


def _key(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() else f'"{name}"'


def _entry(name: str, value: object) -> list[str]:
    line = f"{_key(name)} = {_value(value)}"
    if len(line) <= LINE_LENGTH or name != GRID:
        return [line]
    body = str(value)
    wrapped = textwrap.wrap(body, LINE_LENGTH, break_long_words=False, break_on_hyphens=False)
    return [f'{_key(name)} = """', *wrapped, '"""']


def _lines(path: str, table: Mapping[str, object]) -> list[str]:
    values = {name: value for name, value in table.items() if not isinstance(value, Mapping)}
    written = [(name, value) for name, value in values.items() if value is not None]
    lines = []
    if written:
        lines.append(f"[{path}]")
        for name, value in written:
            lines += _entry(name, value)
        lines.append("")
    for name, value in table.items():
        if isinstance(value, Mapping):
            lines += _lines(f"{path}.{_key(name)}" if path else _key(name), value)
    return lines


def _without_defaults(one: msgspec.Struct) -> dict[str, object]:
    """What constants say beyond their defaults: most belong to few kernels, or to processors."""
    table = msgspec.to_builtins(one)
    defaults = {field.encode_name: field.default for field in msgspec.structs.fields(one)}
    return {name: value for name, value in table.items() if value != defaults[name]}


def rendered_calibration(calibration: Calibration, *, path: str = "calibration") -> str:
    """TOML text of the tables of a calibration, below a table of that name; "" for none."""
    table = msgspec.to_builtins(calibration)
    for dtype, products in calibration.gemm.items():
        table["gemm"][dtype] = _without_defaults(products) | {
            "implementations": {
                name: _without_defaults(one) for name, one in products.implementations.items()
            }
        }
    if calibration.memory_bound is not None:
        table["memory_bound"]["operations"] = {
            name: _without_defaults(one)
            for name, one in calibration.memory_bound.operations.items()
        }
    return "\n".join(_lines(path, table))


def rendered_array(name: str, structs: Sequence[msgspec.Struct]) -> str:
    """TOML text of structs as an array of tables, ``[[name]]`` before each."""
    parts = []
    for one in structs:
        first, *rest = _lines(name, msgspec.to_builtins(one))
        parts.append("\n".join([f"[{first}]", *rest]))
    return "\n".join(parts)
