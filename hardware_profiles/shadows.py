"""Profiles that share a name or an alias, of which all but one are never found under it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hardware_profiles.catalogue import SHIPPED, Catalogue
from hardware_profiles.folders import Folder
from hardware_profiles.schema import KINDS

__all__ = ["replacements", "shadows"]


def shadows(user_dirs: Sequence[Path]) -> Iterator[str]:
    """Say in one line of each pair of profiles under which aliases one hides the other.

    A file under the name of another one takes its place: that is no shadow; see `replacements`.

    Parameters
    ----------
    user_dirs
        Folders of the user's own files. Shipped profiles do not hide each other.

    Raises
    ------
    ProfileError
        A folder is not there.
    """
    catalogue = Catalogue(user_dirs)
    own = [Folder(Path(folder)) for folder in user_dirs]
    for kind in KINDS:
        # By path: a file may be found through two folders, of which one lies in the other.
        mine = {path: _spellings(path, one) for one in own for path in one.paths(kind)}
        if not mine:
            continue
        shipped = Folder(SHIPPED)
        known = mine | {path: _spellings(path, shipped) for path in shipped.paths(kind)}
        paths = list(known)
        for number, path in enumerate(mine):
            for other in paths[number + 1 :]:
                if other.stem != path.stem:
                    shared = _shared(known[path], known[other])
                    yield from _lines(shared, (path, other), kind=kind, catalogue=catalogue)


def replacements(user_dirs: Sequence[Path]) -> Iterator[str]:
    """Say in one line of each folder and kind which shipped profiles its files take the place of.

    Parameters
    ----------
    user_dirs
        Folders of the user's own files.

    Raises
    ------
    ProfileError
        A folder is not there.
    """
    shipped = Folder(SHIPPED)
    for user_dir in user_dirs:
        folder = Folder(Path(user_dir))
        for kind in KINDS:
            pairs = [
                (path, other)
                for path in folder.paths(kind)
                if (other := shipped.find(kind, path.stem)) and not path.samefile(other)
            ]
            if len(pairs) == 1:
                path, other = pairs[0]
                yield f"{path} takes the place of {_named(other)}"
            elif pairs:
                names = ", ".join(sorted(path.stem for path, _ in pairs))
                yield (
                    f"{user_dir}: {len(pairs)} {kind}s take the place of shipped ones of their "
                    f"name: {names}"
                )


def _spellings(path: Path, folder: Folder) -> dict[str, tuple[str, bool]]:
    """Name and aliases of a file by what look-ups make of them: as spelled, and if an alias."""
    found = {path.stem.lower(): (path.stem, False)}
    return found | {alias.lower(): (alias, True) for alias in folder.aliases(path)}


def _shared(one: dict[str, tuple[str, bool]], other: dict[str, tuple[str, bool]]) -> Iterator[str]:
    """What both files are called, as the one spells it whose alias it is."""
    for key in sorted(one.keys() & other.keys()):
        yield one[key][0] if one[key][1] else other[key][0]


def _lines(
    shared: Iterator[str], pair: tuple[Path, Path], *, kind: str, catalogue: Catalogue
) -> Iterator[str]:
    """One line for each of two files that hides the other."""
    found: dict[Path, list[str]] = {}
    for text in shared:
        first = catalogue.find(kind, text)
        if first in pair:
            found.setdefault(first, []).append(text)
    for first, texts in found.items():
        (second,) = (path for path in pair if path != first)
        said = ", ".join(f'"{text}"' for text in texts)
        yield f"{_named(first)} shadows {_named(second)}: both are called {said}"


def _named(path: Path) -> str:
    """A shipped file as in the catalogue's folder; the rest of its path helps nobody."""
    if path.is_relative_to(SHIPPED):
        return f"hardware_profiles/{path.relative_to(SHIPPED)}"
    return str(path)
