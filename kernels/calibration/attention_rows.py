"""Attention rows of all sources, by accelerator profile and implementation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hardware_profiles.accelerator import Accelerator
from kernels.calibration.session import Session
from kernels.measurement_tables import Table
from kernels.prediction.attention import attention_names, peak_of

__all__ = ["ATTENTION_COLUMNS", "ATTENTION_TABLES", "DeviceRows", "attention_rows"]

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


def joined(tables: Sequence[Table]) -> Table:
    """Rows of several tables with the same columns."""
    names = tables[0].columns
    return Table(columns={name: np.concatenate([one[name] for one in tables]) for name in names})


def attention_rows(session: Session) -> list[DeviceRows]:
    """Rows by accelerator profile; what a device has no rate for is left out.

    Parameters
    ----------
    session
        Gives the tables of public measurements and own surveys, and the profile of a device name.
    """
    tables = [
        session.table(name, ATTENTION_COLUMNS)
        for name in ATTENTION_TABLES
        if session.has_table(name)
    ]
    tables += session.survey_tables(SURVEY_TABLE, ATTENTION_COLUMNS)
    everything = joined(tables)
    return [
        _device_rows(accelerator, _with_rates(accelerator, rows))
        for accelerator, rows in session.by_accelerator(everything).values()
    ]


def _with_rates(accelerator: Accelerator, rows: Table) -> Table:
    """Rows of dtypes that the device has a rate for."""
    rates = {dtype: peak_of(accelerator, str(dtype)) for dtype in set(rows["dtype"])}
    return rows.where(np.array([rates[dtype] is not None for dtype in rows["dtype"]], dtype=bool))


def _device_rows(accelerator: Accelerator, rows: Table) -> DeviceRows:
    return DeviceRows(accelerator=accelerator, rows=rows, names=attention_names(rows))
