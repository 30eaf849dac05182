"""The catalogue as somebody looks through it: things, their figures with sources, what uses what.

Everything is read from the tables of profiles and not from their types, since an announced
accelerator has no figure where nobody has published one.
"""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.catalogue import SHIPPED, Catalogue, Loaded
from hardware_profiles.check import figures
from hardware_profiles.errors import TweelingError
from hardware_profiles.sources import figure_source
from twin.calibration_view import FitRow, calibration_summary, fit_rows
from twin.figures import parse_figure
from twin.filter_expression import Filter, Term, holds, parse_filter
from twin.model_figures import model_figures
from twin.profile_override import SET_BY_USER, FileChange, Wish, override
from twin.scenario.resolve import Catalogues

if TYPE_CHECKING:
    from hardware_profiles.cluster import Cluster, Node, Site

    Sourced = Accelerator | Node | Cluster | Site

__all__ = [
    "FIELDS",
    "KINDS",
    "CatalogueView",
    "Details",
    "Entry",
    "Figure",
    "Value",
    "matches",
    "show_command",
]

KINDS = ("accelerator", "node", "cluster", "site", "model")
"""Kinds of things in the order of the tree."""

Value = float | str | bool | None

_TEXTS = ("vendor", "architecture", "status", "site", "country", "accelerator")
_HEAD = frozenset({"schema_version", "kind", "name", "title", "aliases", "sources"})
_PEAKS = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "fp6", "fp4", "int8")

FIELDS: Mapping[str, str] = {
    "mem": "memory.capacity_bytes",
    "bw": "memory.bandwidth_bytes_per_s",
    "l2": "memory.l2_bytes",
    "tdp": "power.tdp_w",
    "idle": "power.idle_w",
    "link": "link.bandwidth_bytes_per_s",
    "clock": "compute.boost_clock_hz",
    "units": "compute.n_units",
    "year": "launch_year",
    "devices": "n_devices",
    "nics": "network.n_nics",
    "nic": "network.nic_bandwidth_bytes_per_s",
    "pue": "pue",
    "params": "parameters",
    "layers": "n_layers",
    "hidden": "hidden",
    "heads": "n_heads",
    "vocab": "vocabulary",
    **{dtype: f"compute.peak_flop_per_s.{dtype}" for dtype in _PEAKS},
    **{name: name for name in ("vendor", "kind", "status", "site", "country", "name", "title")},
    "arch": "architecture",
    "acc": "accelerator",
}
"""What may be typed in a filter, and the figure or text that it names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing of the catalogue in a line."""

    kind: str
    name: str
    title: str = ""
    vendor: str = ""
    """Maker of an accelerator; empty for other kinds."""
    aliases: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    """Texts that a filter may ask for, by name."""
    numbers: Mapping[str, float | None] = field(default_factory=dict)
    """Figures by dotted key in base units, those of its accelerator too; None: not published."""
    problem: str | None = None
    """Why its file cannot be read: file, key, value, what was expected."""
    is_own: bool = False
    """Whether it comes from a file of the user's."""

    @property
    def is_announced(self) -> bool:
        """Whether it can be bought one day only."""
        return self.texts.get("status") == "announced"

    @property
    def words(self) -> tuple[str, ...]:
        """Texts in which a word of a filter may occur."""
        return (self.name, self.title, *self.aliases, *self.texts.values(), self.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of a profile."""

    key: str
    """Dotted name in base units."""
    value: Value
    """In base units; None where nobody has published it."""
    figure_class: str | None
    """measured, fitted, datasheet, assumed, or user; None for a plain text."""
    source: str
    is_figure: bool = True
    """Whether it is a number that an override may set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """Everything about one thing."""

    entry: Entry
    path: Path
    figures: tuple[Figure, ...]
    fits: tuple[FitRow, ...] = ()
    """How its kernels are calibrated; those of its accelerator for a node or cluster."""
    device: str | None = None
    """Its accelerator, or itself."""

    @property
    def summary(self) -> tuple[tuple[str, str], ...]:
        """How much is calibrated: (class of figure for the mark, words) by family."""
        return calibration_summary(self.fits)


def show_command(kind: str, name: str, *, profile_dirs: Sequence[Path] = ()) -> str:
    """The command that shows the same figures."""
    verb = ["twin", "models", "show", name]
    if kind != "model":
        verb = ["twin", "profiles", "show", name, "--kind", kind]
    for folder in profile_dirs:
        verb += ["--profiles", str(folder)]
    return shlex.join(verb)


def matches(entry: Entry, wanted: Filter) -> bool:
    """Whether an entry satisfies every term of a filter."""
    return all(_matches(entry, term) is not term.is_negated for term in wanted.terms)


def _matches(entry: Entry, term: Term) -> bool:
    if term.field is None:
        return any(term.text in word.lower() for word in entry.words)
    plain = {"kind": entry.kind, "name": entry.name, "title": entry.title}
    texts = {**plain, **entry.texts}
    if term.field in texts:
        return holds(term, texts[term.field])
    return term.field in entry.numbers and holds(term, entry.numbers[term.field])


class CatalogueView:
    """Looks through the catalogues; reads a file when it is first asked for."""

    def __init__(self, catalogues: Catalogues) -> None:
        self._catalogues = catalogues
        self._profiles: Catalogue = catalogues.profiles
        self._models = catalogues.models
        self._entries: dict[tuple[str, str], Entry] = {}

    def names(self) -> tuple[tuple[str, str], ...]:
        """Kind and name of everything there is, in the order of the tree."""
        hardware = [(kind, name) for kind in KINDS[:-1] for name in self._profiles.names(kind)]
        return (*hardware, *(("model", name) for name in self._models.names()))

    def filter(self, text: str) -> Filter:
        """Read a filter over entries."""
        return parse_filter(text, fields=FIELDS, parse=parse_figure)

    def entry(self, kind: str, name: str) -> Entry:
        """One thing in a line; one whose file is broken says what is wrong with it."""
        found = self._entries.get((kind, name))
        if found is None:
            try:
                found = self._model(name) if kind == "model" else self._thing(kind, name)
            except TweelingError as error:
                found = Entry(kind=kind, name=name, problem=str(error))
            self._entries[kind, name] = found
        return found

    def details(self, kind: str, name: str) -> Details:
        """Every figure of one thing with its class and source."""
        entry = self.entry(kind, name)
        if kind == "model":
            path = self._models.path(name)
            found = () if entry.problem else tuple(self._model_figures(name))
            return Details(entry=entry, path=path, figures=found)
        path = self._profiles.path(kind, name)
        if entry.problem:
            return Details(entry=entry, path=path, figures=())
        loaded = self._profiles.load(kind, name)
        device = self._device_of(kind, loaded)
        return Details(
            entry=entry,
            path=loaded.path,
            figures=(*_texts(loaded), *_numbers(loaded), *_missing(loaded), *_derived(loaded)),
            fits=self._fits(device),
            device=device,
        )

    def clusters_with(self, kind: str, name: str) -> tuple[str, ...]:
        """Clusters that hold a node or device, with the partition where that is not the first."""
        found: list[str] = []
        for cluster in self._profiles.names("cluster"):
            try:
                partitions = self._profiles.cluster(cluster).partitions
                for number, partition in enumerate(partitions):
                    holder = f"{cluster}:{partition.name}" if number else cluster
                    node = self._profiles.load("node", partition.node)
                    inside = node.name if kind == "node" else str(node.table["accelerator"])
                    if self._is_same(kind, inside, name):
                        found.append(holder)
            except TweelingError:  # a broken file says so where it is looked at itself
                continue
        return tuple(found)

    def override(self, entry: Entry, figure: Figure, value: float, *, folder: Path) -> FileChange:
        """What has to be written to a folder of the user's so that a figure has another value."""
        wish = Wish(
            kind=entry.kind,
            name=entry.name,
            key=figure.key,
            value=value,
            before=figure.value,
            figure_class=figure.figure_class,
            day=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        )
        return override(wish, self._catalogues, folder)

    def device_of(self, kind: str, name: str) -> str | None:
        """Name of the accelerator of a thing; None where it has none or cannot be read."""
        try:
            return self._device_of(kind, self._profiles.load(kind, name))
        except TweelingError:
            return None

    def _is_same(self, kind: str, reference: str, name: str) -> bool:
        return reference == name or self._profiles.path(kind, reference).stem == name

    def _thing(self, kind: str, name: str) -> Entry:
        loaded = self._profiles.load(kind, name)
        table = loaded.table
        texts = {key: str(table[key]) for key in _TEXTS if key in table}
        numbers: dict[str, float | None] = {}
        device = self._device_of(kind, loaded)
        if device is not None:
            part = self._profiles.load("accelerator", device)
            numbers |= _known(part)
            texts |= {"accelerator": part.name} if kind != "accelerator" else {}
            for key in ("vendor", "architecture"):
                texts.setdefault(key, str(part.table.get(key, "")))
        if kind == "cluster":
            numbers |= _known(self._profiles.load("node", _first_node(loaded)))
        return Entry(
            kind=kind,
            name=name,
            title=str(table.get("title", "")),
            vendor=str(table.get("vendor", "")),
            aliases=tuple(cast("list[str]", table.get("aliases", ()))),
            texts=texts,
            numbers={**numbers, **_known(loaded)},
            is_own=_is_own(loaded.path),
        )

    def _device_of(self, kind: str, loaded: Loaded) -> str | None:
        if kind == "accelerator":
            return loaded.name
        if kind == "cluster":
            loaded = self._profiles.load("node", _first_node(loaded))
            kind = "node"
        return str(loaded.table["accelerator"]) if kind == "node" else None

    def _fits(self, device: str | None) -> tuple[FitRow, ...]:
        if device is None:
            return ()
        thing = self._profiles.load("accelerator", device).thing
        return fit_rows(thing) if isinstance(thing, Accelerator) else ()

    def _model(self, name: str) -> Entry:
        model = self._models.model(name)
        numbers: dict[str, float | None] = {
            figure.key: figure.value
            for figure in self._model_figures(name)
            if isinstance(figure.value, int | float) and not isinstance(figure.value, bool)
        }
        return Entry(
            kind="model",
            name=name,
            title=model.title,
            aliases=model.aliases,
            texts={"norm": model.norm},
            numbers=numbers,
            is_own=_is_own(self._models.path(name)),
        )

    def _model_figures(self, name: str) -> Iterator[Figure]:
        model = self._models.model(name)
        for key, value in model_figures(model):
            is_set = hasattr(model, key)
            yield Figure(
                key=key,
                value=value,
                figure_class="datasheet" if is_set else None,
                source=model.source if is_set else "computed from the shape",
                is_figure=is_set and isinstance(value, int) and not isinstance(value, bool),
            )


def _is_own(path: Path) -> bool:
    return SHIPPED not in path.parents and "workload" not in path.parts


def _first_node(cluster: Loaded) -> str:
    partitions = cast("list[dict[str, object]]", cluster.table["partitions"])
    return str(partitions[0]["node"])


def _missing_keys(loaded: Loaded) -> tuple[str, ...]:
    """Figures that an announced part lacks: only some catalogues know such parts."""
    return tuple(getattr(loaded.thing, "missing_keys", ()))


def _known(loaded: Loaded) -> dict[str, float | None]:
    found: dict[str, float | None] = dict(figures(loaded.table))
    return found | dict.fromkeys(_missing_keys(loaded))


def _texts(loaded: Loaded) -> Iterator[Figure]:
    for key, value in _plain(loaded.table):
        yield Figure(key=key, value=value, figure_class=None, source="", is_figure=False)


def _plain(held: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str | bool]]:
    """Texts and flags of a profile, those of lists under the name of their entry."""
    for key, value in held.items():
        if (not prefix and key in _HEAD) or key == "calibration":
            continue
        if isinstance(value, dict):
            yield from _plain(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    yield from _plain(item, f"{prefix}{key}.{item.get('name', '')}.")
        elif isinstance(value, str | bool):
            yield f"{prefix}{key}", value


def _numbers(loaded: Loaded) -> Iterator[Figure]:
    own = {key for key, _ in _all_numbers(loaded.own_table)} if _is_own(loaded.path) else set()
    for key, value in _all_numbers(loaded.table):
        source = figure_source(cast("Sourced", loaded.thing), key)
        figure_class: str = source.figure_class if source else "assumed"
        text = source.text if source else ""
        if key in own and (text.startswith(SET_BY_USER) or _is_bare_fit(loaded, key)):
            figure_class = "user"
        yield Figure(
            key=key,
            value=value,
            figure_class=figure_class,
            source=text,
            is_figure=not key.startswith("partitions."),
        )


def _is_bare_fit(loaded: Loaded, key: str) -> bool:
    """Whether the file sets a calibrated parameter without saying how it was fitted."""
    held: object = loaded.own_table
    for name in key.split(".")[:-1]:
        held = held.get(name, {}) if isinstance(held, dict) else {}
    return key.startswith("calibration.") and "provenance" not in cast("dict[str, object]", held)


def _all_numbers(table: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    yield from figures(table)
    calibration = cast("Mapping[str, object]", table.get("calibration", {}))
    for key, value in figures(calibration, "calibration."):
        if "provenance" not in key and ".residual" not in key:
            yield key, value


def _missing(loaded: Loaded) -> Iterator[Figure]:
    for key in _missing_keys(loaded):
        yield Figure(key=key, value=None, figure_class=None, source="nobody has published it")


def _derived(loaded: Loaded) -> Iterator[Figure]:
    """What architects divide in their heads: arithmetic and bandwidth per watt, the ridge."""
    known = dict(figures(loaded.table))
    tdp_w, bandwidth = known.get("power.tdp_w"), known.get("memory.bandwidth_bytes_per_s")
    words = "computed from the figures above"
    for dtype in ("bf16", "fp8"):
        peak = known.get(f"compute.peak_flop_per_s.{dtype}")
        if peak and tdp_w:
            yield _computed(f"derived.{dtype}_per_watt_flop_per_j", peak / tdp_w, words)
        if peak and bandwidth:
            yield _computed(f"derived.{dtype}_ridge_flop_per_byte", peak / bandwidth, words)
    if bandwidth and tdp_w:
        yield _computed("derived.memory_per_watt_bytes_per_j", bandwidth / tdp_w, words)


def _computed(key: str, value: float, source: str) -> Figure:
    return Figure(key=key, value=value, figure_class=None, source=source, is_figure=False)
