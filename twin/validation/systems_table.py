"""Published HPL figures of systems: the table that comes with the twin, or one in its columns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from twin.validation.csv_rows import CsvRow, TableError, csv_rows

__all__ = ["PUBLIC_SYSTEMS", "PublishedSystem", "read_systems"]

PUBLIC_SYSTEMS = Path(__file__).with_name("public_systems.csv")
"""The table that comes with the twin; each row says where its figures were read."""

PFLOP = 1e15
KILOWATT_W = 1e3
REQUIRED = ("system",)
OPTIONAL = (
    *("cluster", "nodes", "power_cap_w", "hpl_pflops", "hpl_power_kw", "sources"),
    *("recalled_fields", "notes"),
    # Columns of wider tables of systems, which say nothing about HPL.
    *("site", "country", "status_year", "partition", "accelerators_per_node", "accelerator"),
    *("accelerators_total", "cpu", "host_memory_gib", "intra_node", "nics_per_node"),
    *("nic_gb_s_per_dir", "fabric", "topology", "nodes_per_rack", "storage", "storage_bw_gb_s"),
    *("node_or_rack_power", "cooling", "cost_meur", "cost_meaning", "computed_fields"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSystem:
    """One system as the lists have it; None is not known, or only from memory."""

    where: str
    """File and line."""
    name: str
    cluster: str
    """Cluster profile that describes its nodes and network, by name or alias."""
    has_stated_cluster: bool
    """Whether the table names that profile, rather than the system being called so."""
    n_nodes: int | None
    """Nodes that ran; those of the profile where not stated. [1]"""
    power_cap_w: float | None
    """Cap of a device; its own limit where not stated. [W]"""
    hpl_flop_per_s: float | None
    """Rmax. [flop/s]"""
    hpl_power_w: float | None
    recalled: tuple[str, ...]
    """Figures of the row that were left aside, since their source was not read."""


def read_systems(path: Path) -> tuple[PublishedSystem, ...]:
    """Read a table of systems.

    Raises
    ------
    TableError
        For a file that is no such table, an unknown or missing column, a line with too few or too
        many cells, a figure that is no number above 0, a system that stands twice, and a table
        without rows.
    """
    systems: dict[str, PublishedSystem] = {}
    for row in csv_rows(path, required=REQUIRED, optional=OPTIONAL, holds="systems with HPL"):
        system = _system(row)
        if system.name in systems:
            raise row.fault(column="system", expected="each system once")
        systems[system.name] = system
    if not systems:
        msg = f"{path}: holds no rows; expected systems with HPL"
        raise TableError(msg)
    return tuple(systems.values())


def _system(row: CsvRow) -> PublishedSystem:
    name = row.required("system")
    recalled = re.findall(r"hpl_\w+", row.text("recalled_fields"))
    rate = row.number("hpl_pflops")
    power = row.number("hpl_power_kw")
    return PublishedSystem(
        where=row.where,
        name=name,
        cluster=row.text("cluster") or _slug(name),
        has_stated_cluster=bool(row.text("cluster")),
        n_nodes=row.count("nodes") if row.text("nodes") else None,
        power_cap_w=row.number("power_cap_w"),
        hpl_flop_per_s=None if rate is None or "hpl_pflops" in recalled else rate * PFLOP,
        hpl_power_w=None if power is None or "hpl_power_kw" in recalled else power * KILOWATT_W,
        recalled=tuple(recalled),
    )


def _slug(name: str) -> str:
    """A name as names of profiles are written; what stands in brackets is no part of it."""
    words = re.findall(r"[a-z0-9.]+", re.sub(r"\(.*?\)", " ", name.lower()))
    return "-".join(words)
