"""One profile for people and for JSON: each figure with its class and source."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from hardware_profiles.accelerator import Accelerator, Announcement
from hardware_profiles.calibration import Provenance
from hardware_profiles.catalogue import Loaded
from hardware_profiles.check import figures
from hardware_profiles.sources import figure_source
from twin.cli.output import table

__all__ = ["details", "figure_rows", "show_lines"]

_HEAD = frozenset({"schema_version", "kind", "name", "title", "aliases", "sources"})


def details(loaded: Loaded, *, kind: str, also: Sequence[str]) -> dict[str, object]:
    """Payload of ``twin profiles show --json``, in base units."""
    thing = loaded.thing
    return {
        "kind": kind,
        "name": loaded.name,
        "also_kinds": list(also),
        "path": loaded.path,
        "profile": _with_unknowns(loaded) if isinstance(thing, Announcement) else thing,
        "figures": figure_rows(loaded),
    }


def _with_unknowns(loaded: Loaded) -> dict[str, object]:
    """The table of an announced part, with each figure that is not known yet as None."""
    thing = cast("Announcement", loaded.thing)
    whole = copy.deepcopy(loaded.table)
    for dotted in thing.missing_keys:
        *tables, name = dotted.split(".")
        target = whole
        for step in tables:
            target = cast("dict[str, object]", target.setdefault(step, {}))
        target[name] = None
    return whole


def figure_rows(loaded: Loaded) -> list[dict[str, object]]:
    """Every number of a profile with its class and its source, in the order of the file.

    Figures of an announced part that nobody has published follow, with None for all three.
    """
    thing = loaded.thing
    calibration = cast("Mapping[str, object]", loaded.table.get("calibration", {}))
    pairs = [
        *figures({key: held for key, held in loaded.table.items() if key != "calibration"}),
        *(pair for pair in figures(calibration, "calibration.") if "provenance" not in pair[0]),
    ]
    rows: list[dict[str, object]] = []
    for key, value in pairs:
        source = figure_source(thing, key)
        figure_class = source.figure_class if source else None
        rows.append(
            {"key": key, "value": value, "figure_class": figure_class}
            | {"source": source.text if source else None}
        )
    missing = thing.missing_keys if isinstance(thing, Announcement) else ()
    rows.extend(
        {"key": key, "value": None, "figure_class": None, "source": None} for key in missing
    )
    return rows


def show_lines(loaded: Loaded, *, kind: str, also: Sequence[str]) -> Iterator[str]:
    """Lines of ``twin profiles show``; calibrated parameters stand together by table."""
    thing = loaded.thing
    yield f"{thing.title} ({kind} {thing.name})"
    if thing.aliases:
        yield f"  also called {', '.join(thing.aliases)}"
    if isinstance(thing, Accelerator | Announcement) and thing.status == "announced":
        yield "  announced, not measured by anybody"
    if isinstance(thing, Announcement):
        yield "  nothing can be predicted with it until the figures shown as unknown are there"
    if also:
        yield f"  the {' and the '.join(also)} of this name: --kind {also[0]}"
    yield f"  {loaded.path}"
    yield ""
    texts = [[key, value, "", ""] for key, value in _texts(loaded.table)]
    numbers = [
        _number_cells(row)
        for row in figure_rows(loaded)
        if not str(row["key"]).startswith("calibration.")
    ]
    yield from table([*texts, *numbers], align="lrll", header=["key", "value", "class", "source"])
    fits = list(_fits(thing)) if isinstance(thing, Accelerator) else []
    if fits:
        yield ""
        header = ["calibrated", "class", "samples", "held-out error", "spread", "source"]
        yield from table(fits, align="llrrrl", header=header)


def _number_cells(row: Mapping[str, object]) -> list[str]:
    if row["value"] is None:
        return [str(row["key"]), "unknown", "", ""]
    return [str(row["key"]), f"{row['value']:g}", str(row["figure_class"]), str(row["source"])]


def _texts(held: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in held.items():
        if (not prefix and key in _HEAD) or key == "calibration":
            continue
        if isinstance(value, dict):
            yield from _texts(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            tables = [item for item in value if isinstance(item, dict)]
            for item in tables:
                yield from _texts(item, f"{prefix}{key}.{item.get('name', '')}.")
        elif isinstance(value, bool):
            yield f"{prefix}{key}", "yes" if value else "no"
        elif isinstance(value, str):
            yield f"{prefix}{key}", value


def _fits(device: Accelerator) -> Iterator[list[str]]:
    calibration = device.calibration
    for dtype, gemm in calibration.gemm.items():
        yield _fit(f"gemm {dtype}", gemm.provenance)
    for implementation, attention in calibration.attention.items():
        yield _fit(f"attention {implementation}", attention.provenance)
    for operation, collective in calibration.collective.items():
        yield _fit(f"collective {operation}", collective.provenance)
    for family, fit in (("memory bound", calibration.memory_bound), ("power", calibration.power)):
        if fit is not None:
            yield _fit(family, fit.provenance)


def _fit(name: str, provenance: Provenance) -> list[str]:
    n_samples, error = provenance.n_samples, provenance.heldout_median_ape_fraction
    return [
        name,
        provenance.figure_class,
        "" if n_samples is None else f"{n_samples:,}",
        "" if error is None else f"{100 * error:.1f} %",
        f"{100 * provenance.relative_spread_fraction:.0f} %",
        provenance.source,
    ]
