"""What every verb writes: one JSON document, or aligned text.

Results go to stdout and nothing else does; progress and notes go to stderr.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Literal

import click

from hardware_profiles.own_version import tweeling_version

__all__ = [
    "JsonError",
    "bar",
    "current_command",
    "emit_json",
    "json_document",
    "plain",
    "progress_on_stderr",
    "table",
]

HEADER_KEYS = ("tweeling_version", "command", "profile_hashes")


class JsonError(ValueError):
    """A result cannot be written as JSON; this is a defect, never the user's fault."""


def emit_json(
    payload: Mapping[str, object], *, command: str, profile_hashes: Mapping[str, str]
) -> None:
    """Write one JSON document to stdout.

    Parameters
    ----------
    payload
        Keys of the verb, in the order in which they shall stand.
    command
        The command line that produced the result; see `current_command`.
    profile_hashes
        SHA-256 of each profile file used, by ``kind/name``.
    """
    document = json_document(payload, command=command, profile_hashes=profile_hashes)
    click.echo(json.dumps(document, indent=2, allow_nan=False))


def json_document(
    payload: Mapping[str, object], *, command: str, profile_hashes: Mapping[str, str]
) -> dict[str, object]:
    """The document of `emit_json`: the three header keys, then the payload in plain types."""
    clash = [key for key in HEADER_KEYS if key in payload]
    if clash:
        msg = f"the payload carries {clash[0]}, which the header writes"
        raise JsonError(msg)
    header = {
        "tweeling_version": tweeling_version(),
        "command": command,
        "profile_hashes": dict(profile_hashes),
    }
    return header | {key: plain(value, where=key) for key, value in payload.items()}


def current_command() -> str:
    """The command line in execution, as it could be typed again."""
    context = click.get_current_context(silent=True)
    if context is None:
        return "twin"
    line = context.find_root().obj
    return line if isinstance(line, str) else "twin"


def plain(value: object, *, where: str = "value") -> object:
    """Turn results into dicts, lists, strings, numbers, booleans and None.

    Parameters
    ----------
    value
        A dataclass, a msgspec struct, a mapping, a sequence or a scalar.
    where
        Dotted key of the value, for the message.

    Raises
    ------
    JsonError
        For a number that is not finite, since an unknown number is None, and for types that
        have no place in JSON.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return _finite(value, where=where)
    if isinstance(value, PurePath):
        return str(value)
    fields = _fields(value)
    if fields is not None:
        return {key: plain(item, where=f"{where}.{key}") for key, item in fields}
    if isinstance(value, Sequence | frozenset | set):
        items = value if isinstance(value, Sequence) else sorted(value)
        return [plain(item, where=f"{where}[{index}]") for index, item in enumerate(items)]
    msg = f"{where}: no JSON form for {type(value).__name__}"
    raise JsonError(msg)


def _fields(value: object) -> Iterable[tuple[str, object]] | None:
    """Names and values of a mapping, dataclass or msgspec struct; None for anything else."""
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in value.items()]
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
    else:
        names = list(getattr(value, "__struct_fields__", ()))
    if not names:
        return None
    return [(name, getattr(value, name)) for name in names]


def _finite(value: float, *, where: str) -> float:
    if not math.isfinite(value):
        msg = f"{where} is {value}; a number that is not known must be None"
        raise JsonError(msg)
    # NumPy scalars are floats whose repr is not JSON's.
    return float(value)


def table(
    rows: Sequence[Sequence[str]],
    *,
    align: str = "",
    header: Sequence[str] | None = None,
    indent: int = 2,
) -> list[str]:
    """Lines of an aligned table.

    Parameters
    ----------
    rows
        Cells; shorter rows leave the rest empty.
    align
        One letter per column, ``l`` or ``r``; columns beyond it are left-aligned.
    header
        Names of the columns; None leaves the line out.
    indent
        Spaces before the first column. [1]
    """
    lines = [list(header), *map(list, rows)] if header is not None else list(map(list, rows))
    n_columns = max((len(line) for line in lines), default=0)
    padded = [line + [""] * (n_columns - len(line)) for line in lines]
    widths = [max(len(line[column]) for line in padded) for column in range(n_columns)]
    sides: list[Literal["l", "r"]] = [
        "r" if align[column : column + 1] == "r" else "l" for column in range(n_columns)
    ]
    return [(" " * indent + "  ".join(map(_pad, line, widths, sides))).rstrip() for line in padded]


def _pad(text: str, width: int, side: Literal["l", "r"]) -> str:
    return text.rjust(width) if side == "r" else text.ljust(width)


def bar(fraction: float, *, width: int = 30) -> str:
    """A bar of `width` cells for a fraction of the whole; anything above zero shows one cell."""
    if fraction <= 0:
        return ""
    return "#" * max(1, round(min(fraction, 1.0) * width))


class _OnceEach(logging.Filter):
    """Lets a warning through that was not said before; a file may be looked into twice."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        text = record.getMessage()
        is_new = text not in self._said
        self._said.add(text)
        return is_new


@contextlib.contextmanager
def progress_on_stderr() -> Iterator[None]:
    """Show what the libraries of this project log while something long runs, each warning once."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_OnceEach())
    handler.setFormatter(logging.Formatter("twin: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("kernels", "twin")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
