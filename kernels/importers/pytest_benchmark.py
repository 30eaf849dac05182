"""JSON of pytest-benchmark (``--benchmark-json``) whose ``extra_info`` says what was timed.

Format: pytest-benchmark.readthedocs.io; ``benchmarks[i].stats.median`` is in seconds. The keys that
tell the case are those of the project's benches (``docs/benches.md``) and of its tables: device,
dtype, library, and m, n, k of a product; op, rows and cols of an operation; heads and lengths of
attention; op, ranks and message_bytes of a collective; op and bytes of a stream. ``family`` (gemm,
attention, collectives, ops, membw) is taken where it stands there, and ``profile`` before
``device`` where the catalogue has it. Benchmarks without such keys are other people's, and left
aside; so is attention in a sliding window, of which the tables know nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hardware_profiles.accelerator import Accelerator
from kernels.importers.cells import Place, count, positive
from kernels.importers.devices import Devices
from kernels.importers.dtypes import tidy_dtype
from kernels.importers.json_text import json_document
from kernels.importers.request import Aside, ImportRequest, Rows
from kernels.importers.tidy_rows import (
    FAMILIES,
    TidyRow,
    column_defaults,
    columns_of,
    family_of,
    size_columns,
)
from kernels.measurement_tables import MeasurementError
from kernels.prediction.gemm import LAYOUTS
from kernels.prediction.operations import operation_names

__all__ = ["SOURCE", "import_pytest_benchmark", "is_pytest_benchmark"]

logger = logging.getLogger(__name__)

SOURCE = "PYTEST-BENCHMARK"
US_PER_S = 1e6
BYTES_PER_GB = 1e9

TIMED = ("gemm", "attention", "collectives", "ops")
"""Families whose rows are times, and can be told from their columns."""

NAMED = (*TIMED, "membw")
"""Families that ``family`` may name; a bandwidth needs ``bytes`` beside the median."""

SCHEME_VERSION = 1
"""Of the keys that the project's benches write."""


def is_pytest_benchmark(text: str) -> bool:
    """Whether a text begins as such a document does."""
    return text.lstrip().startswith("{") and ('"machine_info"' in text or '"benchmarks"' in text)


def import_pytest_benchmark(path: Path, request: ImportRequest) -> Rows:
    """Median time of every benchmark that says what it timed.

    Raises
    ------
    MeasurementError
        No JSON (line and column), or a key that is missing or wrong (the key).
    """
    benchmarks = _benchmarks(path)
    aside, devices, found = Aside(path), request.devices(), Rows()
    parts: Counter[str] = Counter()
    for number, benchmark in enumerate(benchmarks):
        place = Place(path, f"benchmarks[{number}]")
        if not isinstance(benchmark, dict):
            complaint = "expected an object"
            raise place.error(complaint)
        extra = benchmark.get("extra_info") or {}
        family = _family(extra, place, name=str(benchmark.get("name")))
        if family is None:
            aside.count("benchmarks whose extra_info names no kernel")
            continue
        if family == "attention" and extra.get("window") is not None:
            aside.count("benchmarks of attention in a sliding window")
            continue
        row = _row(benchmark, family, place, devices=devices, request=request)
        found.setdefault(family, []).append(row)
        if family != "collectives" and _is_part(extra, row.device, request):
            parts[f"{extra['n_threads']} threads, profile {row.device}"] += 1
    aside.report()
    for what, n_benchmarks in parts.items():
        logger.warning(
            "%s: %d benchmarks ran on a part of their device (%s has more cores); a fit on them "
            "is of that part",
            *(path, n_benchmarks, what),
        )
    if not found:
        message = (
            f"{path}: none of {len(benchmarks)} benchmarks says in extra_info what it timed "
            "(device, dtype, and m n k, or op rows cols)"
        )
        raise MeasurementError(message)
    return found


def _benchmarks(path: Path) -> list[Any]:
    document = json_document(path)
    benchmarks = document.get("benchmarks") if isinstance(document, dict) else None
    if not isinstance(benchmarks, list):
        message = f"{path}: key 'benchmarks' is missing; expected a list of benchmarks"
        raise MeasurementError(message)
    return benchmarks


def _family(extra: object, place: Place, *, name: str) -> str | None:
    """Which table the keys of a benchmark belong to; None for someone else's."""
    if not isinstance(extra, Mapping):
        return None
    named = extra.get("family")
    if isinstance(named, str) and named in NAMED:
        return named
    family = family_of(extra)
    # Others may mean something else by the word, but not beside the keys of a kernel.
    if named is not None and (family is not None or "scheme_version" in extra):
        complaint = f"family = {named!r} of {name!r}; expected one of {', '.join(NAMED)}"
        raise Place(place.path, f"{place.spot}.extra_info").error(complaint)
    return family if family in TIMED else None


def _row(
    benchmark: Mapping[str, Any],
    family: str,
    place: Place,
    *,
    devices: Devices,
    request: ImportRequest,
) -> TidyRow:
    inside = Place(place.path, f"{place.spot}.extra_info")
    extra, defaults = benchmark["extra_info"], column_defaults(family)
    _require_version(extra, inside)
    median_s = _median_s(benchmark, place)
    values: dict[str, Any] = {
        name: extra[name] if name in extra else defaults.get(name)
        for name in columns_of(family)
        if name not in {"latency_us", "source_id"}
    }
    if family == "membw":
        n_bytes = positive(extra.get("bytes"), "bytes", inside)
        values["GBps"] = n_bytes / median_s / BYTES_PER_GB
    else:
        values["latency_us"] = US_PER_S * median_s
    missing = [name for name, value in values.items() if value is None and name != "device"]
    if missing:
        complaint = f"key {missing[0]!r} is missing"
        raise inside.error(complaint)
    for name in size_columns(family):
        if name in values and name not in {"GBps", "latency_us"}:
            values[name] = count(values[name], name, inside)
    for name in ("op", "direction", "library", "flag", "link", "layout"):
        if name in values:
            values[name] = _text(values[name], name, inside)
    if values.get("layout", "") not in LAYOUTS:
        expected = ", ".join(filter(None, LAYOUTS))
        complaint = f"layout = {values['layout']!r}; expected one of {expected}"
        raise inside.error(complaint)
    if "causal" in values and not isinstance(values["causal"], bool):
        complaint = f"causal = {values['causal']!r}; expected true or false"
        raise inside.error(complaint)
    if family == "ops" and not values["direction"]:
        values["op"] = _operation(values["op"])
    if family == "collectives":
        values["link"] = values["link"] or request.link
    if "dtype" in values:
        values["dtype"] = tidy_dtype(_text(values["dtype"], "dtype", inside), "dtype", inside)
    values["device"] = _device(extra, inside, devices=devices, request=request)
    row: Callable[..., TidyRow] = FAMILIES[family]
    return row(**values, source_id=SOURCE)


def _is_part(extra: Mapping[str, Any], device: str, request: ImportRequest) -> bool:
    """Whether a bench used fewer threads of the host than its profile has cores."""
    n_threads = extra.get("n_threads")
    if extra.get("backend") != "cpu" or not isinstance(n_threads, int):
        return False
    thing = request.catalogue.load("accelerator", device).thing
    return isinstance(thing, Accelerator) and n_threads < thing.compute.n_units


def _require_version(extra: Mapping[str, Any], place: Place) -> None:
    """Refuse keys of another scheme than the one that is read here."""
    version = extra.get("scheme_version", SCHEME_VERSION)
    if version != SCHEME_VERSION:
        complaint = f"scheme_version = {version!r}; expected {SCHEME_VERSION}"
        raise place.error(complaint)


def _device(
    extra: Mapping[str, Any], place: Place, *, devices: Devices, request: ImportRequest
) -> str:
    """Profile that the bench took its device for, else the one that carries the device's name."""
    profile, device = extra.get("profile"), extra.get("device")
    if isinstance(profile, str) and request.catalogue.find("accelerator", profile) is not None:
        return devices.profile(profile, place)
    return devices.profile(None if device is None else _text(device, "device", place), place)


def _text(value: object, name: str, place: Place) -> str:
    if not isinstance(value, str):
        complaint = f"{name} = {value!r}; expected text"
        raise place.error(complaint)
    return " ".join(value.split())


def _operation(text: str) -> str:
    """Name in the project's tables: benches write rmsnorm/fwd, and adamw for its one direction."""
    name = text.replace("/", "-")
    known = operation_names()
    return f"{name}-fwd" if name not in known and f"{name}-fwd" in known else name


def _median_s(benchmark: Mapping[str, Any], place: Place) -> float:
    inside = Place(place.path, f"{place.spot}.stats")
    stats = benchmark.get("stats")
    if not isinstance(stats, Mapping) or "median" not in stats:
        complaint = "key 'median' is missing"
        raise inside.error(complaint)
    return positive(stats["median"], "median", inside)
