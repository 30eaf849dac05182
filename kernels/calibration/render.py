"""Calibration structs as TOML tables, as they stand in accelerator profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from hardware_profiles.calibration import Calibration

__all__ = ["rendered_array", "rendered_tables"]

SIGNIFICANT_DIGITS = 4
"""More digits than a fit determines would only make differences hard to read."""


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
    return repr(float(f"{value:.{SIGNIFICANT_DIGITS}g}"))


def _key(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() else f'"{name}"'


def _lines(path: str, table: Mapping[str, object]) -> list[str]:
    values = {name: value for name, value in table.items() if not isinstance(value, Mapping)}
    lines = []
    if values:
        lines.append(f"[{path}]")
        lines += [f"{_key(k)} = {_value(v)}" for k, v in values.items() if v is not None]
        lines.append("")
    for name, value in table.items():
        if isinstance(value, Mapping):
            lines += _lines(f"{path}.{_key(name)}", value)
    return lines


def rendered_tables(calibrations: Mapping[str, Calibration]) -> str:
    """TOML text: a comment with the accelerator's name, then its ``[calibration]`` tables.

    The part of one accelerator can be put into its profile as it stands.
    """
    parts = []
    for name, calibration in calibrations.items():
        tables = msgspec.to_builtins(calibration)
        parts.append("\n".join([f"# ==== {name} ====", "", *_lines("calibration", tables)]))
    return "\n".join(parts)


def rendered_array(name: str, structs: Sequence[msgspec.Struct]) -> str:
    """TOML text of structs as an array of tables, ``[[name]]`` before each."""
    parts = []
    for one in structs:
        first, *rest = _lines(name, msgspec.to_builtins(one))
        parts.append("\n".join([f"[{first}]", *rest]))
    return "\n".join(parts)
