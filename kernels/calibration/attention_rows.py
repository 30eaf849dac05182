"""Attention rows of all sources, by accelerator profile and implementation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hardware_profiles.accelerator import Accelerator
from kernels.calibration.measurements import Table, read_table
from kernels.calibration.session import Session
from kernels.prediction.attention import attention_names, peak_of

__all__ = ["ATTENTION_COLUMNS", "ATTENTION_TABLES", "DeviceRows", "attention_rows", "profile_of"]

logger = logging.getLogger(__name__)

ATTENTION_COLUMNS = (
    "device",
    "dtype",
    "batch",
    "heads_q",
    "heads_kv",
    "seq_q",
    "seq_kv",
    "head_dim",
    "causal",
    "direction",
    "library",
    "latency_us",
    "source_id",
)

ATTENTION_TABLES = ("attention.parquet", "attention_more.csv")
SURVEY_TABLE = "attention.csv"

VENDORS = ("NVIDIA ", "AMD ")
"""Words that drivers put before the name that catalogues use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRows:
    """All rows of one accelerator profile."""

    accelerator: Accelerator
    rows: Table
    names: np.ndarray[tuple[int], np.dtype[np.object_]]
    """Implementation of each row."""

    def of(self, *implementations: str) -> Table:
        """Rows of some implementations."""
        return self.rows.where(np.isin(self.names, implementations))


def profile_of(device: str, session: Session) -> Accelerator | None:
    """The profile of a device by its name in a measurement table; none where there is none.

    Names of public tables and of drivers differ by the vendor's name at most.
    """
    short = device
    for word in VENDORS:
        short = short.removeprefix(word)
    found = session.accelerator(device) or session.accelerator(short)
    if found is None:
        logger.warning("attention: no profile of %s, its rows are left out", device)
    return found


def joined(tables: Sequence[Table]) -> Table:
    """Rows of several tables with the same columns."""
    names = tables[0].columns
    return Table(columns={name: np.concatenate([one[name] for one in tables]) for name in names})


def attention_rows(session: Session, survey_folders: Sequence[Path] = ()) -> list[DeviceRows]:
    """Rows by accelerator profile; what a device has no rate for is left out.

    Parameters
    ----------
    session
        Gives the tables of public measurements and the profile of a device name.
    survey_folders
        Folders of own surveys, each with an ``attention.csv``.
    """
    tables = [
        session.table(name, ATTENTION_COLUMNS)
        for name in ATTENTION_TABLES
        if session.has_table(name)
    ]
    tables += [read_table(folder / SURVEY_TABLE, ATTENTION_COLUMNS) for folder in survey_folders]
    everything = joined(tables)
    found: dict[str, tuple[Accelerator, list[Table]]] = {}
    for device in sorted(set(everything["device"])):
        accelerator = profile_of(str(device), session)
        if accelerator is None:
            continue
        rows = everything.where(everything["device"] == device)
        rates = {dtype: peak_of(accelerator, str(dtype)) for dtype in set(rows["dtype"])}
        rows = rows.where(np.array([rates[dtype] is not None for dtype in rows["dtype"]]))
        found.setdefault(accelerator.name, (accelerator, []))[1].append(rows)
    return [_device_rows(accelerator, joined(parts)) for accelerator, parts in found.values()]


def _device_rows(accelerator: Accelerator, rows: Table) -> DeviceRows:
    return DeviceRows(accelerator=accelerator, rows=rows, names=attention_names(rows))
