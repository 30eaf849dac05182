"""`twin profiles list`: every profile in a line, with what tells it from its neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hardware_profiles.accelerator import Accelerator, Announcement
from hardware_profiles.catalogue import Catalogue
from hardware_profiles.cluster import Cluster, Node, Site
from hardware_profiles.errors import ProfileError
from hardware_profiles.schema import Thing
from twin.cli.output import table

__all__ = ["entries_of", "list_lines"]

Entry = Mapping[str, object]

_LAST = "9999"
"""Year that sorts behind all others."""

_HEADERS = {
    "accelerator": ("name", "vendor", "architecture", "year", "title"),
    "node": ("name", "devices", "accelerator", "title"),
    "cluster": ("name", "status", "site", "title"),
    "site": ("name", "country", "PUE", "title"),
}
_ALIGN: dict[str, str] = {"accelerator": "lllrl", "node": "lrll", "cluster": "llll", "site": "llrl"}


def entries_of(
    catalogue: Catalogue, kinds: Sequence[str], *, hashes: dict[str, str]
) -> list[dict[str, object]]:
    """Entries of ``twin profiles list --json``; `hashes` takes those of the files read.

    A broken file stands there with what is wrong with it.
    """
    return [
        _entry(catalogue, kind, name, hashes=hashes)
        for kind in kinds
        for name in catalogue.names(kind)
    ]


def _entry(
    catalogue: Catalogue, kind: str, name: str, *, hashes: dict[str, str]
) -> dict[str, object]:
    entry: dict[str, object] = {"kind": kind, "name": name, "path": catalogue.path(kind, name)}
    unknown = dict.fromkeys(("vendor", "architecture", "status"))
    try:
        loaded = catalogue.load(kind, name)
    except ProfileError as error:
        title = f"cannot be loaded: {error}"
        return entry | {"title": title, "aliases": (), "is_broken": True} | unknown
    hashes.update(loaded.hashes)
    thing = loaded.thing
    facts = {"title": thing.title, "aliases": thing.aliases, "is_broken": False}
    return entry | facts | unknown | _distinction(thing)


def _distinction(thing: Thing) -> dict[str, object]:
    match thing:
        case Accelerator() | Announcement():
            return {
                "vendor": thing.vendor,
                "architecture": thing.architecture,
                "status": thing.status,
            }
        case Cluster():
            return {"status": thing.status}
        case _:
            return {}


def list_lines(catalogue: Catalogue, kinds: Sequence[str]) -> Iterator[str]:
    """Lines of ``twin profiles list``: one table for each kind, accelerators by family."""
    for position, kind in enumerate(kinds):
        if position:
            yield ""
        entries = entries_of(catalogue, [kind], hashes={})
        broken = [entry for entry in entries if entry["is_broken"]]
        things = [catalogue.load(kind, str(e["name"])).thing for e in entries if e not in broken]
        blanks = [""] * (len(_HEADERS[kind]) - 2)
        rows = [
            *([thing.name, *_cells(thing), thing.title] for thing in _in_order(things)),
            *([str(entry["name"]), *blanks, str(entry["title"])] for entry in broken),
        ]
        yield f"{kind}s ({len(rows)})"
        yield from table(rows, align=_ALIGN[kind], header=_HEADERS[kind])


def _in_order(things: Sequence[Thing]) -> list[Thing]:
    """Accelerators by vendor, family (the oldest first) and age; everything else by name."""
    births: dict[str, str] = {}
    for thing in things:
        if isinstance(thing, Accelerator | Announcement):
            earlier = births.get(thing.architecture, _LAST)
            births[thing.architecture] = min(earlier, _year(thing) or _LAST)

    def order(thing: Thing) -> tuple[str, ...]:
        if not isinstance(thing, Accelerator | Announcement):
            return (thing.name,)
        family = thing.architecture
        return (thing.vendor, births[family], family, _year(thing) or _LAST, thing.name)

    return sorted(things, key=order)


def _year(thing: Accelerator | Announcement) -> str:
    return "" if thing.launch_year is None else str(thing.launch_year)


def _cells(thing: Thing) -> list[str]:
    match thing:
        case Accelerator() | Announcement():
            year = "announced" if thing.status == "announced" else _year(thing)
            return [thing.vendor, thing.architecture, year]
        case Node():
            return [str(thing.n_devices), thing.accelerator]
        case Cluster():
            return [thing.status, thing.site]
        case Site():
            return [thing.country, f"{thing.pue:g}"]
