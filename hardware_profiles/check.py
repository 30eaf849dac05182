"""Proof that profiles can be trusted: every figure has a source, every reference leads somewhere.

Loading refuses what is impossible; the checks here also find what is incomplete or implausible.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from hardware_profiles.accelerator import Accelerator, Announcement
from hardware_profiles.catalogue import Catalogue
from hardware_profiles.cluster import Cluster, Node
from hardware_profiles.errors import ProfileError, nearest
from hardware_profiles.folders import peek_aliases, peek_kind
from hardware_profiles.loader import ProfileFile, calibration_problems, read_file
from hardware_profiles.physics import impossible_together
from hardware_profiles.plausibility import implausible, unlike_its_siblings
from hardware_profiles.schema import KINDS, Table, Thing
from hardware_profiles.sources import matches

__all__ = [
    "PLACEHOLDER",
    "Finding",
    "check_families",
    "check_files",
    "figures",
    "of_architecture",
]

PLACEHOLDER = "placeholder"
"""First word of a source that stands for no source yet."""

Severity = Literal["error", "warning", "note"]

# Numbers about the file itself.
_NO_FIGURES = frozenset({"schema_version", "sources", "calibration"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong with a file, or doubtful."""

    path: Path
    severity: Severity
    """note: nothing is wrong, but the reader should know."""
    message: str
    """One line that begins with the file."""


def check_files(paths: Sequence[Path], catalogue: Catalogue) -> tuple[Finding, ...]:
    """Check each file by itself, with what it refers to, and all of them against each other.

    Parameters
    ----------
    paths
        Files to judge.
    catalogue
        Where references are looked for; the folder of each file counts too.
    """
    each = [finding for path in paths for finding in _check_file(path, catalogue)]
    return (*each, *_shared_names(paths, catalogue))


def check_families(paths: Iterable[Path]) -> tuple[Finding, ...]:
    """Check files of constants of architectures, as ``twin calibrate`` writes them.

    They are no profiles: neither kind nor name stands in them, and every table has its provenance.
    """
    return tuple(
        Finding(path=path, severity="error", message=line)
        for path in paths
        for line in _problems_of_family(path)
    )


def _problems_of_family(path: Path) -> tuple[str, ...]:
    try:
        return calibration_problems(path)
    except ProfileError as error:
        return (str(error),)


def _check_file(path: Path, catalogue: Catalogue) -> Iterator[Finding]:
    try:
        file = read_file(path)
    except ProfileError as error:
        yield Finding(path=path, severity="error", message=str(error))
        return
    errors = [*file.problems, *(f"{path}: {line}" for line in _in_the_file(file, path))]
    nearby = catalogue.beside(path)
    if not file.problems:
        errors += _in_what_it_makes(file, path, nearby)
    for message in dict.fromkeys(errors):
        yield Finding(path=path, severity="error", message=message)
    if errors:
        return
    thing = nearby.load(file.kind, str(path)).thing
    for line in _doubts_about_sources(file):
        yield Finding(path=path, severity="warning", message=f"{path}: {line}")
    # Figures of an announced part are the vendor's preview: odd ones are noted, nobody can check.
    is_announced = isinstance(thing, Accelerator | Announcement) and thing.status == "announced"
    for line in _doubts_about_physics(thing, nearby):
        severity: Severity = "note" if is_announced else "warning"
        yield Finding(path=path, severity=severity, message=f"{path}: {line}")
    if isinstance(thing, Announcement):
        line = f"announced; not known: {', '.join(thing.missing_keys)}"
        yield Finding(path=path, severity="note", message=f"{path}: {line}")


def _in_the_file(file: ProfileFile, path: Path) -> Iterator[str]:
    if file.table.get("name", path.stem) != path.stem:
        yield f'name = "{file.name}": expected "{path.stem}", the name of the file'
    own = _patterns(file.table)
    for key, value in figures(file.table):
        if not any(matches(pattern, key) for pattern in own):
            yield f"{key} = {value:g}: expected a source that names it in this file"
    for source in _sources(file.table):
        if not str(source.get("text", "")).strip():
            yield 'sources: text = "": expected the document behind the figures, or the reasoning'


def _sources(table: Table) -> list[Table]:
    return cast("list[Table]", table.get("sources", []))


def _patterns(table: Table) -> list[str]:
    return [key for source in _sources(table) for key in cast("list[str]", source.get("keys", []))]


def _idle_patterns(file: ProfileFile, whole: Table) -> Iterator[str]:
    """Keys of sources that name no figure, as a slip of the pen does."""
    known = [*(key for key, _ in figures(whole)), *_all_keys(whole)]
    for pattern in _patterns(file.table):
        if not any(matches(pattern, key) for key in known):
            close = nearest(pattern, known, n=1)
            hint = f"; nearest is {close[0]}" if close else ""
            yield f'sources: keys = "{pattern}": names no figure of this profile{hint}'


def _all_keys(table: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    for key, value in table.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _all_keys(value, f"{prefix}{key}.")


def figures(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Dotted key and number of every figure that needs a source.

    Calibrated parameters are not among them, since each table of them carries its provenance.
    """
    for key, value in table.items():
        if not prefix and key in _NO_FIGURES:
            continue
        if isinstance(value, dict):
            yield from figures(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    yield from figures(item, f"{prefix}{key}.{item.get('name', '')}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{key}", value


def _in_what_it_makes(file: ProfileFile, path: Path, catalogue: Catalogue) -> list[str]:
    """What is wrong with the finished thing and with what it refers to."""
    try:
        loaded = catalogue.load(file.kind, str(path))
    except ProfileError as error:
        return [str(error)]
    thing = loaded.thing
    problems = [f"{path}: {line}" for line in _idle_patterns(file, loaded.table)]
    if isinstance(thing, Accelerator) and (part := thing.power.same_silicon_as):
        try:
            catalogue.accelerator(part)
        except ProfileError as error:
            problems.append(f'{path}: power.same_silicon_as = "{part}": {error}')
    for kind, reference in _references(thing):
        try:
            referred = catalogue.load(kind, reference).thing
        except ProfileError as error:
            problems.append(f"{path}: {error}")
            continue
        if isinstance(referred, Announcement):
            problems.append(f'{path}: accelerator = "{reference}": {referred.refusal}')
        if isinstance(thing, Node) and isinstance(referred, Accelerator):
            problems += [f"{path}: {line}" for line in impossible_together(thing, referred)]
    return problems


def _references(thing: object) -> Iterator[tuple[str, str]]:
    match thing:
        case Node():
            yield "accelerator", thing.accelerator
        case Cluster():
            yield "site", thing.site
            for partition in thing.partitions:
                yield "node", partition.node


def _doubts_about_sources(file: ProfileFile) -> Iterator[str]:
    for source in _sources(file.table):
        if str(source.get("text", "")).lower().startswith(PLACEHOLDER):
            keys = ", ".join(cast("list[str]", source.get("keys", [])))
            yield f"sources: {keys}: still a placeholder; expected the document behind the figures"


def _doubts_about_physics(thing: Thing, catalogue: Catalogue) -> Iterator[str]:
    yield from implausible(thing)
    if isinstance(thing, Accelerator):
        yield from unlike_its_siblings(thing, _siblings(thing, catalogue))


def _siblings(device: Accelerator, catalogue: Catalogue) -> Iterator[Accelerator]:
    family = of_architecture(catalogue, device.architecture)
    return (other for other in family if other.name != device.name)


def of_architecture(catalogue: Catalogue, architecture: str) -> Iterator[Accelerator]:
    """Every accelerator of one family whose figures are all known."""
    for name in catalogue.names("accelerator"):
        try:
            found = catalogue.accelerator(name)
        except ProfileError:  # a broken neighbour is reported where it is judged itself
            continue
        if found.architecture == architecture:
            yield found


def _shared_names(paths: Iterable[Path], catalogue: Catalogue) -> Iterator[Finding]:
    """Names and aliases that would lead to two things of one kind."""
    # A user's file of the same name takes the shipped one's place, so it is one thing with it.
    owners: dict[tuple[str, str], str] = {}
    for path in (*catalogue.files(), *paths):
        for kind, name in _own_names(path):
            owners.setdefault((kind, name), path.stem)
    for path in paths:
        for kind, name in _own_names(path):
            owner = owners[kind, name]
            if owner != path.stem:
                message = f'{path}: aliases: "{name}" already stands for {kind} {owner}'
                yield Finding(path=path, severity="error", message=message)


def _own_names(path: Path) -> Iterator[tuple[str, str]]:
    kind = peek_kind(path)
    if kind in KINDS:
        yield from {(kind, name.lower()): None for name in (path.stem, *peek_aliases(path))}
