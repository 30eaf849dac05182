"""One figure of the catalogue set in a file of the user's; what was shipped stays as it is.

The file carries the name of what it overrides and extends it, so it says only what differs. A file
that is there already is edited line by line, so that its comments stay.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from hardware_profiles.catalogue import SHIPPED, Catalogue
from hardware_profiles.errors import ProfileError
from hardware_profiles.schema import KINDS, UNIT_PER_ENTRY, settable_keys
from hardware_profiles.sources import base_pattern
from hardware_profiles.units import split_unit
from hardware_profiles.whole_files import write_text_whole
from twin.figures import shown_figure
from twin.scenario.resolve import Catalogues
from twin.workload.catalogue import read_model

__all__ = ["SET_BY_USER", "FileChange", "Wish", "override"]

SET_BY_USER = "set by the user"
"""First words of the source of an override."""

_HEADER = re.compile(r"^\s*\[(?!\[)([^\]]+)\]")
_LIST_HEADER = re.compile(r"^\s*\[\[")
_ASSIGNMENT = re.compile(r"^(\s*)([\w.-]+)(\s*=\s*)([^#\n]*?)(\s*(?:#.*)?)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which figure is to have which value."""

    kind: str
    name: str
    key: str
    """Dotted name in base units."""
    value: float
    """In base units."""
    before: float | str | bool | None
    """What the catalogue says now."""
    figure_class: str | None
    day: str
    """Of the change, ISO format."""

    @property
    def words(self) -> str:
        """The change in a line."""
        old, new = (" ".join(shown_figure(self.key, one)) for one in (self.before, self.value))
        return f"{self.name} {self.key}: {old.strip()} -> {new.strip()}"

    @property
    def source(self) -> str:
        """What the file says about where the figure comes from."""
        old = " ".join(shown_figure(self.key, self.before)).strip()
        return f"{SET_BY_USER} on {self.day}; before: {old} ({self.figure_class or 'no source'})"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """A file before and after; both can be brought about."""

    path: Path
    before: str | None
    """None: there was no such file."""
    after: str
    words: str

    def make(self) -> None:
        """Write the file, whole or not at all."""
        self._write(self.after)

    def take_back(self) -> None:
        """Bring back what was there; refuse when somebody else changed the file meanwhile."""
        if _text(self.path) != self.after:
            msg = f"{self.path}: changed since; nothing is taken back"
            raise ProfileError(msg)
        if self.before is None:
            self.path.unlink()
        else:
            self._write(self.before)

    def _write(self, text: str) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text_whole(self.path, text)
        except OSError as error:
            msg = f"{self.path}: cannot be written: {error.strerror or error}"
            raise ProfileError(msg) from error


def override(wish: Wish, catalogues: Catalogues, folder: Path) -> FileChange:
    """What has to be written so that a figure has the wished value; nothing is written yet.

    Parameters
    ----------
    wish
        Figure and value.
    catalogues
        Where the thing comes from now.
    folder
        The user's folder of profiles.

    Raises
    ------
    TweelingError
        When the figure cannot be set, or the value is impossible: file, key, value, expectation.
    """
    if wish.kind == "model":
        return _model_override(wish, catalogues, folder)
    loaded = catalogues.profiles.load(wish.kind, wish.name)
    missing = getattr(loaded.thing, "missing_keys", ())
    if wish.key not in {*settable_keys(loaded.thing), *missing}:
        msg = f"{wish.key}: cannot be set alone; edit a file of your own: {loaded.path.name}"
        raise ProfileError(msg)
    path = folder / f"{wish.kind}s" / f"{wish.name}.toml"
    if SHIPPED not in loaded.path.parents:
        path = loaded.path
    before = _text(path)
    aliases = cast("list[str]", loaded.table.get("aliases", []))
    text = before if before is not None else _head(wish, aliases)
    text = _with_source(_with_value(text, wish), wish)
    _prove_profile(wish, text, catalogues.profiles)
    return FileChange(path=path, before=before, after=text, words=wish.words)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None


def _head(wish: Wish, aliases: Sequence[str]) -> str:
    names = ", ".join(f'"{alias}"' for alias in aliases)
    return (
        f"# What differs from the {wish.kind} {wish.name} that comes with the twin.\n"
        f'schema_version = 1\nkind = "{wish.kind}"\nextends = "{wish.name}"\n'
        f'name = "{wish.name}"\naliases = [{names}]\n'
    )


def _with_value(text: str, wish: Wish) -> str:
    """The text with the value in its line, or in a new line of its table."""
    table, _, name = wish.key.rpartition(".")
    lines = text.splitlines()
    struct = KINDS[wish.kind]
    here, in_list, end_of_table = "", False, len(lines) if table else None
    for number, line in enumerate(lines):
        header = _HEADER.match(line)
        if header or _LIST_HEADER.match(line):
            if not table and end_of_table is None:
                end_of_table = number
            here, in_list = (header[1].strip() if header else ""), header is None
            if _table_base(here) == table and not in_list:
                end_of_table = number + 1
            continue
        found = _ASSIGNMENT.match(line)
        if found and not in_list:
            written = f"{here}.{found[2]}" if here else found[2]
            if base_pattern(written, struct) == wish.key:
                key = _base_spelling(found[2])
                lines[number] = f"{found[1]}{key}{found[3]}{_number(wish.value)}{found[5]}"
                return "\n".join(lines) + "\n"
    line = f"{name} = {_number(wish.value)}"
    has_table = any((found := _HEADER.match(one)) and found[1].strip() == table for one in lines)
    if table and not has_table:
        return "\n".join([*lines, "", f"[{table}]", line]) + "\n"
    at = len(lines) if end_of_table is None else end_of_table
    return "\n".join([*lines[:at], line, *lines[at:]]) + "\n"


def _table_base(table: str) -> str:
    *above, last = table.split(".")
    return ".".join([*above, UNIT_PER_ENTRY.get(last, last)])


def _base_spelling(key: str) -> str:
    """The key in base units, as it is spelled in its table."""
    parted = split_unit(key)
    return parted[0] + parted[1].base if parted else key


def _number(value: float) -> str:
    is_whole = float(value).is_integer() and abs(value) < 1e6
    return str(int(value)) if is_whole else repr(float(value))


def _with_source(text: str, wish: Wish) -> str:
    """The text with a source for the figure; calibrated parameters have none of this sort."""
    if wish.key.startswith("calibration."):
        return text
    entry = f'[[sources]]\nkeys = ["{wish.key}"]\nfigure_class = "assumed"\ntext = "{SET_BY_USER}'
    start = text.find(entry)
    if start >= 0:  # a second change of the same figure
        end = text.index("\n", start + len(entry))
        text = text[:start] + text[end + 1 :]
    quoted = wish.source.replace('"', "'")
    source = f'[[sources]]\nkeys = ["{wish.key}"]\nfigure_class = "assumed"\ntext = "{quoted}"\n'
    return f"{text.rstrip()}\n\n{source}"


def _prove_profile(wish: Wish, text: str, profiles: Catalogue) -> None:
    """Load the text as a file in front of all others and look whether the figure took."""
    from hardware_profiles.check import figures

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"{wish.kind}s" / f"{wish.name}.toml"
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
        loaded = profiles.in_front(Path(name)).load(wish.kind, wish.name)
        found = dict(figures({"all": {**loaded.table, "sources": []}}))
    if found.get(f"all.{wish.key}") != wish.value:
        msg = f"{wish.key} = {wish.value!r}: cannot be set in this file by itself; edit it by hand"
        raise ProfileError(msg)


def _model_override(wish: Wish, catalogues: Catalogues, folder: Path) -> FileChange:
    """A model has no base to extend: the user gets the whole file with one line changed."""
    origin = catalogues.models.path(wish.name)
    is_own = folder in origin.parents
    path = origin if is_own else folder / "models" / f"{wish.name}.toml"
    text = origin.read_text(encoding="utf-8")
    line = re.compile(rf"^{re.escape(wish.key)}\s*=.*$", re.MULTILINE)
    changed = f"{wish.key} = {_number(wish.value)} # {wish.source}"
    after = line.sub(lambda _: changed, text, count=1)
    if after == text:
        msg = f"{wish.key}: not in {origin.name}; write the file by hand"
        raise ProfileError(msg)
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / path.name
        copy.write_text(after, encoding="utf-8")
        read_model(copy)
    return FileChange(path=path, before=_text(path), after=after, words=wish.words)
