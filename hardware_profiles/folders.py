"""Folders of profiles: which files hold which kind of thing, found without parsing them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from hardware_profiles.errors import ProfileError
from hardware_profiles.schema import KINDS

__all__ = ["Folder"]

# A peek at two keys keeps one broken file from spoiling the search for another.
_KIND = re.compile(rb"""^kind\s*=\s*["'](\w+)["']""", re.MULTILINE)
_ALIASES = re.compile(rb"^aliases\s*=\s*\[[^\]]*\]", re.MULTILINE)


class Folder:
    """One folder of TOML files, with everything below it or without."""

    def __init__(self, root: Path, *, is_recursive: bool = True) -> None:
        if not root.is_dir():
            msg = f"{root}: expected a folder of profiles; there is none"
            raise ProfileError(msg)
        self.root = root
        found = root.rglob("*.toml") if is_recursive else root.glob("*.toml")
        self._by_stem: dict[str, list[Path]] = {}
        self._peeked: dict[Path, tuple[str | None, tuple[str, ...]]] = {}
        for path in sorted(path for path in found if path.is_file()):
            self._by_stem.setdefault(path.stem, []).append(path)

    def __iter__(self) -> Iterator[Path]:
        """Every TOML file."""
        return (path for paths in self._by_stem.values() for path in paths)

    def find(self, kind: str, name: str) -> Path | None:
        """File of that kind whose stem is `name`."""
        return next((p for p in self._by_stem.get(name, []) if self._holds(p, kind)), None)

    def paths(self, kind: str) -> Iterator[Path]:
        """Every file of one kind."""
        return (path for path in self if self._holds(path, kind))

    def find_alias(self, kind: str, alias: str) -> Path | None:
        """File of that kind with this alias, or with this name in other case."""
        wanted = alias.lower()
        for path in self.paths(kind):
            names = (path.stem, *self.aliases(path))
            if any(name.lower() == wanted for name in names):
                return path
        return None

    def aliases(self, path: Path) -> tuple[str, ...]:
        """Other names that a file of the folder gives itself."""
        return self._peek(path)[1]

    def _peek(self, path: Path) -> tuple[str | None, tuple[str, ...]]:
        """Kind and aliases of a file, looked up once."""
        if path not in self._peeked:
            self._peeked[path] = (peek_kind(path), peek_aliases(path))
        return self._peeked[path]

    def _holds(self, path: Path, kind: str) -> bool:
        # The shipped folders are named by kind; what a user's folder holds stands in its files.
        above = {f"{known}s": known for known in KINDS}
        for parent in path.relative_to(self.root).parts[:-1]:
            if parent in above:
                return above[parent] == kind
        return self._peek(path)[0] == kind


def peek_kind(path: Path) -> str | None:
    """Kind that a file says it holds; None when it does not say so in a plain line."""
    found = _KIND.search(_content(path))
    return found[1].decode() if found else None


def peek_aliases(path: Path) -> tuple[str, ...]:
    """Other names that a file gives itself."""
    found = _ALIASES.search(_content(path))
    if not found:
        return ()
    try:
        aliases = tomllib.loads(found[0].decode("utf-8"))["aliases"]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return ()
    return tuple(alias for alias in aliases if isinstance(alias, str))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
