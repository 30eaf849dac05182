"""What the calibrations of all families share: tables on disk, devices, the day, the log."""

from __future__ import annotations

import datetime
import functools
import hashlib
import logging
import shutil
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import Provenance
from hardware_profiles.catalogue import Catalogue
from hardware_profiles.own_version import tweeling_version
from kernels.calibration.report import FitReport
from kernels.calibration.simplex import FittedErrors
from kernels.families.inheritance import family_hashes
from kernels.importers.request import ImportRequest
from kernels.importers.tidy import with_link, with_profile
from kernels.measurement_tables import (
    MeasurementError,
    Table,
    column_names,
    read_table,
    require_positive,
    require_texts,
    require_whole,
)
from kernels.own_measurements import MEASURED

__all__ = ["SURVEY_TABLES", "Session"]

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Struct = TypeVar("Struct", bound=msgspec.Struct)

DEFAULTS: dict[str, float | str] = {
    "batch": 1.0,
    "nodes": 1.0,
    "library": "",
    "link": "",
    "source_id": "",
    "flag": "",
    "direction": "",
}
"""What a column that a table leaves out means."""

RESULTS = frozenset({"families", "measured", "networks.toml"})
"""Files below ``kernels`` that fits and surveys write: no code, and no rules of fits."""

POSITIVE_COLUMNS = frozenset(
    {
        *("m", "n", "k", "batch", "heads_q", "heads_kv", "seq_q", "seq_kv", "head_dim"),
        *("ranks", "nodes", "message_bytes", "rows", "cols", "latency_us", "GBps"),
    }
)
"""Columns that hold numbers above 0 in every row."""

VALUE_COLUMNS = frozenset({"latency_us", "GBps"})
"""Those of them that were measured; the others are sizes and counts, and whole."""

SURVEY_TABLES = ("memory_bound.csv", "bandwidth.csv")
"""Tables under names that only surveys give them."""

SUFFIXES = (".parquet", ".csv")

UNNAMED_SOURCE = "measurements that name no source"

SMALLEST_SPREAD = 0.03
"""Two libraries differ by this on one shape: no interval is narrower. [1]"""


def _today() -> str:
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


def _digest(parts: Sequence[object]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            is_text = part.dtype == object
            digest.update("\n".join(part).encode() if is_text else part.tobytes())
        elif isinstance(part, msgspec.Struct):
            digest.update(msgspec.json.encode(part))
        else:
            digest.update(str(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


@functools.cache
def _code_hash(code: tuple[str, ...]) -> str:
    """Of the source files named, and of all below the folders named, relative to ``kernels``."""
    top = Path(__file__).resolve().parents[1]
    files: list[Path] = []
    for name in code:
        found = [top / name] if (top / name).is_file() else sorted((top / name).rglob("*.py"))
        if not found:
            # A hash of nothing would never change.
            message = f"{name}: no code of that name below {top}"
            raise ValueError(message)
        files += found
    return _digest([file.read_bytes() for file in files])


def _fit_version() -> str:
    """The package's version, and a hash that tells fits of one version apart.

    It is that of the code and of the rules of the kernel models, not of what fits have written.
    """
    top = Path(__file__).resolve().parents[1]
    tables = [file for suffix in ("toml", "csv") for file in sorted(top.rglob(f"*.{suffix}"))]
    rules = [file.relative_to(top) for file in tables]
    own = [str(file) for file in rules if not RESULTS.intersection((file.name, *file.parts))]
    return f"{tweeling_version()}+{_code_hash(('.', *own))[:8]}"


def _read_checked(path: Path, columns: tuple[str, ...]) -> Table:
    table = read_table(path, columns, defaults=DEFAULTS)
    require_texts(table, ("device",), path=path)
    positive = [column for column in columns if column in POSITIVE_COLUMNS]
    require_positive(table, positive, path=path)
    require_whole(table, [name for name in positive if name not in VALUE_COLUMNS], path=path)
    return table


@functools.cache
def _source_names() -> dict[str, str]:
    with (Path(__file__).parent / "sources.toml").open("rb") as file:
        return tomllib.load(file)


@dataclass(slots=True, kw_only=True)
class Session:
    """One run of the calibration on one folder of measurements.

    A device name of a table means the profile that carries it as name or alias, and nothing else;
    rows of devices without a profile are left out.
    """

    folder: Path
    catalogue: Catalogue = field(default_factory=Catalogue)
    date: str = field(default_factory=_today)
    code_version: str = field(default_factory=_fit_version)
    cache: Path | None = None
    """Folder of finished fits, so that an interrupted calibration goes on where it stopped."""
    imported: Mapping[str, Table] = field(default_factory=dict)
    """Rows by family that were read from files of other formats."""
    request: ImportRequest | None = None
    """What the user says of rows whose own device no profile carries."""
    noted: list[FitReport] = field(default_factory=list)
    """Errors beside those of single fits, in the order in which they were judged."""
    _tables: dict[str, Table] = field(default_factory=dict)
    _hashes: dict[str, str] = field(default_factory=dict)
    _devices: set[str] | None = None

    def table(self, name: str, columns: tuple[str, ...]) -> Table:
        """A table of the folder, read once and checked; CSV stands in for Parquet and back.

        Raises
        ------
        MeasurementError
            No such table, a column missing, or a size or time that is no number above 0.
        """
        if name not in self._tables:
            path, imported = self._path(name), self._imported(name)
            parts = [] if imported is None else [imported]
            if path is not None or imported is None:
                file = path or self.folder / name
                parts.insert(0, self._named(_read_checked(file, columns), file))
            self._tables[name] = Table(
                columns={
                    column: np.concatenate([part[column] for part in parts]) for column in columns
                }
            )
        return self._tables[name]

    def _named(self, table: Table, path: Path) -> Table:
        """A table of the folder with what the user says of its unknown device and its wires."""
        if self.request is None:
            return table
        table = with_link(table, self.request.link)
        if self.request.device is None or "device" not in table.columns:
            return table
        return with_profile(table, self.request.devices(), path=path)

    def has_table(self, name: str) -> bool:
        """Whether the folder holds this table, or rows of it were imported."""
        if name in SURVEY_TABLES:
            return (self.folder / name).is_file()
        return self._path(name) is not None or self._imported(name) is not None

    def _imported(self, name: str) -> Table | None:
        """Imported rows join the first table of their family, not the one of later additions."""
        return self.imported.get(name.rsplit(".", 1)[0])

    def require_tables(self, names: Sequence[str]) -> None:
        """Raise `MeasurementError` where the folder is missing or holds none of these tables."""
        if not self.folder.is_dir() and not self.imported:
            message = f"--from {self.folder}: no such file or folder; expected measured kernels"
            raise MeasurementError(message)
        if not any(self.has_table(name) for name in names):
            message = f"--from {self.folder}: holds none of {', '.join(names)}"
            raise MeasurementError(message)

    def _path(self, name: str) -> Path | None:
        stem = name.rsplit(".", 1)[0]
        for candidate in (name, f"{stem}.parquet", f"{stem}.csv"):
            if (self.folder / candidate).is_file():
                return self.folder / candidate
        return None

    def survey_tables(self, name: str, columns: tuple[str, ...]) -> list[Table]:
        """The project's own surveys of devices that the folder has measurements of too.

        A table that only surveys have, in the folder itself, comes with them.
        """
        known = self._folder_devices()
        paths = [path for path in sorted(MEASURED.glob(f"*/{name}")) if path.parent.name in known]
        own = self.folder / name
        if name not in SURVEY_TABLES:
            paths = [path for path in paths if path != own.resolve()]  # it is read as a table
        elif own.is_file() and own.resolve() not in paths:
            paths.append(own)
        tables = [(path, read_table(path, columns, defaults=DEFAULTS)) for path in paths]
        return [self._named(table, path) if path == own else table for path, table in tables]

    def _folder_devices(self) -> set[str]:
        """Profiles that the folder has rows for: surveys of others would be news to its owner."""
        if self._devices is None:
            names = {str(name) for table in self.imported.values() for name in table["device"]}
            names |= self._devices_on_disk()
            if self.request is not None and self.request.device is not None:
                names.add(self.request.device)
            found = [self.accelerator(name) for name in names]
            self._devices = {one.name for one in found if one is not None}
        return self._devices

    def _devices_on_disk(self) -> set[str]:
        """Devices that the tidy tables of the folder name."""
        if not self.folder.is_dir():  # one file, which was imported
            return set()
        files = [file for file in sorted(self.folder.iterdir()) if file.suffix in SUFFIXES]
        tables = [file for file in files if "device" in column_names(file)]
        return {str(name) for file in tables for name in read_table(file, ("device",))["device"]}

    def accelerator(self, device: str) -> Accelerator | None:
        """Profile of a device named in a table; None where no profile carries the name."""
        if self.catalogue.find("accelerator", device) is None:
            return None
        loaded = self.catalogue.load("accelerator", device)
        if not isinstance(loaded.thing, Accelerator):
            return None
        self._hashes |= {**loaded.hashes, **family_hashes(loaded.thing)}
        return loaded.thing

    def by_accelerator(self, table: Table) -> dict[str, tuple[Accelerator, Table]]:
        """Rows by the profile of their device; devices of one profile are joined."""
        names: dict[str, list[str]] = {}
        for device in sorted({str(name) for name in table["device"]}):
            accelerator = self.accelerator(device)
            if accelerator is None:
                logger.warning("device %r: no profile of this name; its rows are left out", device)
                continue
            names.setdefault(accelerator.name, []).append(device)
        return {
            name: (self.catalogue.accelerator(name), table.where(np.isin(table["device"], devices)))
            for name, devices in names.items()
        }

    @property
    def profile_hashes(self) -> dict[str, str]:
        """SHA-256 of each profile that rows were found for, and of families it takes over. [hex]"""
        return dict(self._hashes)

    def cached(
        self,
        key: Sequence[object],
        kind: type[Struct],
        fit: Callable[[], Struct],
        *,
        code: tuple[str, ...],
    ) -> Struct:
        """A fit, or what an earlier run with the same key, data and code has left.

        Parameters
        ----------
        key
            Everything the fit depends on; arrays count by their bytes.
        kind
            Struct that the fit yields.
        fit
            What to do when it is not there.
        code
            Files and folders, below this package's, that the fit runs through.
        """
        if self.cache is None:
            return fit()
        path = self.cache / f"{_digest([_code_hash(code), *key])}.json"
        if path.is_file():
            return msgspec.json.decode(path.read_bytes(), type=kind)
        found = fit()
        self.cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        partial.write_bytes(msgspec.json.encode(found))
        partial.replace(path)
        return found

    def drop_cache(self) -> None:
        """Forget finished fits: the calibration is complete."""
        if self.cache is not None and self.cache.is_dir():
            shutil.rmtree(self.cache)

    def sources(self, source_ids: Iterable[object]) -> str:
        """Names of the sources behind rows, in words."""
        known = {"": UNNAMED_SOURCE, **_source_names()}
        return ", ".join(known.get(name, name) for name in sorted({str(s) for s in source_ids}))

    def progress(self, what: str, items: Sequence[Item]) -> Iterator[Item]:
        """The items one by one, with a line of progress and the time left before each."""
        began_s = time.monotonic()
        for number, item in enumerate(items):
            left = ""
            if number:
                left_s = (time.monotonic() - began_s) / number * (len(items) - number)
                left = f", about {left_s:.0f} s left"
            logger.info("%s: %d of %d%s", what, number + 1, len(items), left)
            yield item

    def provenance(
        self,
        source: str,
        *,
        figure_class: str = "fitted",
        n_samples: int | None = None,
        heldout: FittedErrors | None = None,
        spread: float | None = None,
    ) -> Provenance:
        """Provenance of a fit; the spread is that of the rows set aside unless given. [1]"""
        if spread is None:
            spread = heldout.log_spread if heldout else 0.2
        return Provenance(
            figure_class=figure_class,
            source=source,
            date=self.date,
            code_version=self.code_version,
            n_samples=n_samples,
            n_heldout=heldout.n_rows if heldout else None,
            heldout_median_ape_fraction=heldout.median_ape_fraction if heldout else None,
            heldout_mean_ape_fraction=heldout.mean_ape_fraction if heldout else None,
            heldout_p90_ape_fraction=heldout.p90_ape_fraction if heldout else None,
            relative_spread_fraction=max(spread, SMALLEST_SPREAD),
        )

    def note_errors(
        self,
        errors: FittedErrors | None,
        *,
        device: str | None,
        family: str,
        dtype: str | None = None,
        part: str | None = None,
        n_fitted: int | None = None,
    ) -> None:
        """Note errors on rows set aside that no constants of their own stand for.

        Parameters
        ----------
        errors
            Errors of some rows; nothing is noted for None.
        device, family, dtype, part
            Whose rows, as in `FitReport`.
        n_fitted
            Rows of this kind that fits have seen; None where that is not counted. [1]
        """
        if errors is not None:
            provenance = self.provenance("rows set aside", n_samples=n_fitted, heldout=errors)
            found = FitReport(
                device=device,
                family=family,
                dtype=dtype,
                part=part,
                is_part=True,
                provenance=provenance,
            )
            self.noted.append(found)

    def report(self, what: str, **parts: FittedErrors | None) -> None:
        """Log the errors of one fit, by part of the rows."""
        for label, errors in parts.items():
            if errors is not None:
                logger.info("%s, %s: %s", what, label, errors.in_words)
