"""The kernel models against measured kernels: every row predicted for the library that made it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.calibration import Calibration
from hardware_profiles.catalogue import Catalogue
from kernels.calibration.simplex import FloatArray
from kernels.families.inheritance import completed_calibration, family_hashes
from kernels.importers.request import ImportRequest
from kernels.measurement_tables import Mask
from kernels.prediction.registry import row_predictor
from twin.validation.kernel_tables import KernelTable, find_tables, read_kernel_tables
from twin.validation.unpredicted import unpredicted_reasons

__all__ = ["KernelValidation", "PredictedTable", "validate_kernels"]

logger = logging.getLogger(__name__)

LARGE_GEMM = 1024.0
"""m, n and k of a product that weighs in training. [elements]"""

LARGE_MESSAGE_BYTES = float(2**20)
"""Message from which bandwidth rather than latency decides. [byte]"""

LARGE_SEQUENCE = 2048.0
LARGE_HEADS = 16.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedTable:
    """A table with what the models make of it."""

    table: KernelTable
    predicted: FloatArray
    """In the unit of the measured column; NaN where nothing covers the row."""
    why: npt.NDArray[np.object_]
    """Why nothing covers the row; empty where something does."""

    @property
    def relative_error(self) -> FloatArray:
        """Predicted over measured, less one; NaN where not covered. [1]"""
        return self.predicted / self.table.rows[self.table.family.measured] - 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelValidation:
    """Errors of the kernel models, and the tables they come from."""

    report: dict[str, Any]
    """What ``twin validate kernels --json`` writes."""
    tables: tuple[PredictedTable, ...]
    profile_hashes: dict[str, str]


def validate_kernels(path: Path, *, request: ImportRequest) -> KernelValidation:
    """Predict every measured kernel of a file or folder.

    Parameters
    ----------
    path
        A table, a file of another tool, or a folder of such files and of tables named by family.
    request
        Profiles, in which a device is looked up by name or alias and by nothing else, and what the
        user says of files that do not say it themselves.

    Raises
    ------
    MeasurementError
        Bad input, with file, row, column and value.
    """
    found = find_tables(path)
    devices = _Devices(request.catalogue)
    predicted = []
    for number, (file, family) in enumerate(found):
        logger.info("%s (%d of %d)", file.name, number + 1, len(found))
        tables = read_kernel_tables(file, family, request)
        predicted += [_predicted(table, devices) for table in tables]
    if devices.unknown:
        logger.warning("devices without a profile: %s", ", ".join(sorted(devices.unknown)))
    entries = [entry for one in _by_family(predicted) for entry in _entries(one)]
    covered = [entry for entry in entries if entry["covered"]]
    errors = np.concatenate([np.abs(one.relative_error) for one in predicted])
    report = {
        "rows": sum(entry["n"] for entry in entries),
        "covered": sum(entry["covered"] for entry in covered),
        **_errors(errors[np.isfinite(errors)]),
        "by_device": entries,
        "unpredicted": _unpredicted(predicted),
        "unknown_devices": sorted(devices.unknown),
        "unknown_dtypes": _unknown(predicted, "dtype"),
        "unknown_layouts": _unknown(predicted, "layout"),
        "unknown_operations": _unknown(predicted, "op"),
        "unknown_links": _unknown(predicted, "link"),
    }
    return KernelValidation(
        report=report, tables=tuple(predicted), profile_hashes=devices.profile_hashes
    )


def _unknown(predicted: Sequence[PredictedTable], column: str) -> list[str]:
    return sorted({word for one in predicted for word in one.table.unknown(column)})


def _unpredicted(predicted: Sequence[PredictedTable]) -> list[dict[str, Any]]:
    """Rows that nothing predicts, by family and reason, the most first."""
    found: Counter[tuple[str, str]] = Counter()
    for one in predicted:
        reasons = Counter(one.why.tolist())
        found.update({(one.table.family.name, why): n for why, n in reasons.items() if why})
    return [{"family": family, "why": why, "n": n} for (family, why), n in found.most_common()]


class _Devices:
    """Profiles of the devices that tables name, each looked up once."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._known: dict[str, tuple[Accelerator, Calibration] | None] = {}
        self.profile_hashes: dict[str, str] = {}

    @property
    def unknown(self) -> set[str]:
        """Names that no usable profile carries."""
        return {name for name, found in self._known.items() if found is None}

    def find(self, device: str) -> tuple[Accelerator, Calibration] | None:
        """Profile and completed calibration; None for a name that nothing carries."""
        if device not in self._known:
            self._known[device] = self._look_up(device)
        return self._known[device]

    def refusal(self, device: str) -> str:
        """Why the rows of a device that was not found are not predicted."""
        path = self._catalogue.find("accelerator", device)
        if path is None:
            return f"no profile carries device {device!r}"
        return f"{path.stem} is announced, and its profile lacks figures"

    def _look_up(self, device: str) -> tuple[Accelerator, Calibration] | None:
        if self._catalogue.find("accelerator", device) is None:
            return None
        loaded = self._catalogue.load("accelerator", device)
        if not isinstance(loaded.thing, Accelerator):
            return None
        self.profile_hashes |= {**loaded.hashes, **family_hashes(loaded.thing)}
        return loaded.thing, completed_calibration(loaded.thing)


def _predicted(table: KernelTable, devices: _Devices) -> PredictedTable:
    predict = row_predictor(table.family.name, n_rows=len(table.rows))
    values = np.full(len(table.rows), np.nan)
    why = np.full(len(table.rows), "", dtype=object)
    for device, chosen in _groups(table.rows["device"]):
        found = devices.find(device)
        if found is None:
            why[chosen] = devices.refusal(device)
            continue
        values[chosen] = predict(table.rows.where(chosen), *found)
        missing = chosen[~np.isfinite(values[chosen])]
        why[missing] = unpredicted_reasons(table.family.name, table.rows.where(missing), *found)
    return PredictedTable(table=table, predicted=values / table.family.to_base, why=why)


def _groups(labels: np.ndarray) -> Iterable[tuple[str, Mask]]:
    """Distinct texts and the rows of each, sorted by text."""
    texts, codes = np.unique(labels.astype(str), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    borders = np.searchsorted(codes[order], np.arange(1, len(texts)))
    return zip((str(text) for text in texts), np.split(order, borders), strict=True)


def _by_family(predicted: Sequence[PredictedTable]) -> list[list[PredictedTable]]:
    names = list(dict.fromkeys(one.table.family.name for one in predicted))
    return [[one for one in predicted if one.table.family.name == name] for name in names]


def _entries(tables: Sequence[PredictedTable]) -> list[dict[str, Any]]:
    """One entry for each device, dtype and direction of a family, in that order."""
    rows = {
        name: np.concatenate([one.table.rows[name] for one in tables])
        for name in tables[0].table.rows.columns
    }
    errors = np.concatenate([one.relative_error for one in tables])
    n_rows = len(errors)
    keys = [rows.get(name, np.full(n_rows, "")).astype(str) for name in ("dtype", "direction")]
    labels = np.array(["\t".join(parts) for parts in zip(rows["device"], *keys, strict=True)])
    large = _large(tables[0].table.family.name, rows)
    entries = []
    for label, chosen in _groups(labels):
        device, dtype, direction = label.split("\t")
        entries.append(
            {
                "device": device,
                "family": tables[0].table.family.name,
                "dtype": dtype or None,
                "direction": direction or None,
                **_statistics(errors[chosen]),
                "large": _statistics(errors[chosen][large[chosen]]),
                "by_library": _libraries(rows["library"][chosen], errors[chosen]),
            }
        )
    return entries


def _large(family: str, rows: dict[str, np.ndarray]) -> Mask:
    """Rows that weigh in training: large products, long sequences, messages of 1 MiB in a node."""
    match family:
        case "gemm":
            return np.asarray(np.minimum(np.minimum(rows["m"], rows["n"]), rows["k"]) >= LARGE_GEMM)
        case "attention":
            heads = rows["batch"] * rows["heads_q"]
            return np.asarray((rows["seq_q"] >= LARGE_SEQUENCE) & (heads >= LARGE_HEADS))
        case "collectives":
            in_node = rows["nodes"] <= 1.0
            return np.asarray(in_node & (rows["message_bytes"] >= LARGE_MESSAGE_BYTES))
        case _:
            return np.ones(len(rows["device"]), dtype=bool)


def _libraries(libraries: np.ndarray, errors: FloatArray) -> list[dict[str, Any]]:
    return [{"library": name, **_statistics(errors[chosen])} for name, chosen in _groups(libraries)]


def _statistics(errors: FloatArray) -> dict[str, Any]:
    """Counts and absolute relative errors of rows; null where no row is covered."""
    known = errors[np.isfinite(errors)]
    bias = float(np.mean(known)) if len(known) else None
    return {
        "n": len(errors),
        "covered": len(known),
        **_errors(np.abs(known)),
        "bias": bias,
    }


def _errors(absolute: FloatArray) -> dict[str, float | None]:
    if not len(absolute):
        return dict.fromkeys(("mape", "median_ape", "p90_ape"))
    return {
        "mape": float(np.mean(absolute)),
        "median_ape": float(np.median(absolute)),
        "p90_ape": float(np.quantile(absolute, 0.9)),
    }
