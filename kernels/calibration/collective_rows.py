"""Rows of collective measurements as the fits take them: by device, operation and library."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from hardware_profiles.accelerator import Accelerator
from kernels.all_reduce.groups import PATTERNS
from kernels.all_reduce.networks import MeasuredNetwork, measured_network
from kernels.all_reduce.wires import measured_wires
from kernels.calibration.session import Session
from kernels.calibration.simplex import FloatArray
from kernels.calibration.split import is_heldout
from kernels.importers.dtypes import is_known_dtype, known_dtype
from kernels.measurement_tables import Mask, Table
from kernels.prediction.collectives import row_sizes, switch_adds
from kernels.prediction.entries import collective_library, collective_operation

__all__ = [
    "COLLECTIVE_COLUMNS",
    "COLLECTIVE_TABLES",
    "MESSAGE_FLOOR_BYTES",
    "CollectiveRows",
    "is_of_another_machine",
    "is_set_aside",
    "node_rows",
    "weights",
]

COLLECTIVE_COLUMNS = (
    "device",
    "op",
    "dtype",
    "ranks",
    "nodes",
    "link",
    "message_bytes",
    "latency_us",
    "library",
    "source_id",
    "flag",
)

logger = logging.getLogger(__name__)

COLLECTIVE_TABLES = ("collectives.csv", "collectives_more.csv")

MESSAGE_FLOOR_BYTES = float(2**20)
"""Errors are judged from this size on. [byte]"""

COARSE_SOURCES = ("VIDUR",)
"""Sources with a time resolution of a microsecond: small messages tell nothing of the latency."""

SMALL_MESSAGE_WEIGHT = 0.3
"""Weight of a size class below a mebibyte over that of one above. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectiveRows:
    """Rows of one device, operation and library inside a node or over one network."""

    accelerator: Accelerator
    operation: str
    library: str
    switch_adds: bool
    wires_kind: str
    network: MeasuredNetwork | None
    sizes: FloatArray
    measured_s: FloatArray
    heldout: Mask
    weights: FloatArray
    source_ids: frozenset[str] = frozenset()
    dtypes: npt.NDArray[np.object_] | None = None
    """Type of the elements of each row; None where nobody asks."""

    def where(self, mask: Mask) -> CollectiveRows:
        """The rows at which the mask holds."""
        return CollectiveRows(
            accelerator=self.accelerator,
            operation=self.operation,
            library=self.library,
            switch_adds=self.switch_adds,
            wires_kind=self.wires_kind,
            network=self.network,
            sizes=self.sizes[mask],
            measured_s=self.measured_s[mask],
            heldout=self.heldout[mask],
            weights=self.weights[mask],
            source_ids=self.source_ids,
            dtypes=None if self.dtypes is None else self.dtypes[mask],
        )

    @property
    def n_fitted(self) -> int:
        """Rows that tell something of the device. [1]"""
        return int((self.weights > 0.0).sum())

    @property
    def is_large(self) -> Mask:
        """Messages that errors are judged on."""
        return np.asarray(self.sizes[:, 0] >= MESSAGE_FLOOR_BYTES)


class _OtherMachine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows that a machine unlike the others of its device gave."""

    source_id: str
    """Whose table: anyone else's rows of the same device and library are taken as they are."""
    device: str
    ranks: int
    libraries: tuple[str, ...]
    """Beginnings of the library column."""
    reason: str


@functools.cache
def _other_machines() -> tuple[_OtherMachine, ...]:
    text = (Path(__file__).parent / "other_machines.toml").read_bytes()
    return msgspec.toml.decode(text, type=dict[str, tuple[_OtherMachine, ...]])["rows"]


def is_of_another_machine(rows: Table) -> Mask:
    """Whether ``other_machines.toml`` lists a row: nothing is fitted to it."""
    found = np.zeros(len(rows), dtype=bool)
    for one in _other_machines():
        chosen = (rows["source_id"] == one.source_id) & (rows["device"] == one.device)
        chosen &= rows["ranks"] == one.ranks
        for number in np.flatnonzero(chosen):
            found[number] |= str(rows["library"][number]).startswith(one.libraries)
    return found


def is_set_aside(rows: Table) -> Mask:
    """Whole groups (device, operation, ranks, nodes, library) that no judged fit may see."""
    keys = zip(*(rows[name] for name in ("device", "op", "ranks", "nodes", "library")), strict=True)
    return np.array(
        [
            is_heldout("collective", (device, op, int(ranks), int(nodes), library))
            for device, op, ranks, nodes, library in keys
        ],
        dtype=bool,
    )


def weights(rows: Table) -> FloatArray:
    """Each (ranks, nodes, size class) of a set of rows counts alike, small messages less.

    What tells nothing of the device counts 0.
    """
    octave = np.round(np.log2(np.maximum(rows["message_bytes"], 1.0)))
    key = np.column_stack([rows["ranks"], rows["nodes"], octave])
    _, where, counts = np.unique(key, axis=0, return_inverse=True, return_counts=True)
    large = rows["message_bytes"] >= MESSAGE_FLOOR_BYTES
    found = np.where(large, 1.0, SMALL_MESSAGE_WEIGHT) / counts[where.ravel()]
    coarse = np.isin(rows["source_id"], COARSE_SOURCES) & ~large & (rows["op"] != "p2p")
    return np.where(coarse | is_of_another_machine(rows), 0.0, found)


def _label(rows: Table, number: int) -> tuple[object, ...]:
    link, library = str(rows["link"][number]), str(rows["library"][number])
    nodes = int(rows["nodes"][number])
    device = str(rows["device"][number])
    return (
        device,
        collective_operation(str(rows["op"][number])),
        collective_library(library),
        switch_adds(str(rows["dtype"][number]), link),
        link,
        measured_network(device, link, library) if nodes > 1 else None,
        nodes > 1,
    )


def node_rows(session: Session, *, across_nodes: bool = False) -> list[CollectiveRows]:
    """All measured rows inside nodes, or across them, that the model covers."""
    found: list[CollectiveRows] = []
    for name in filter(session.has_table, COLLECTIVE_TABLES):
        table = session.table(name, COLLECTIVE_COLUMNS)
        on_host = table["flag"] == "host_memory"
        if on_host.any() and not across_nodes:
            logger.warning(
                "collectives: rows flagged host_memory (%d) are left out: nothing of a device",
                int(on_host.sum()),
            )
        table = table.where((table["latency_us"] > 0) & ~on_host)
        found += _labelled_rows(session, table, across_nodes=across_nodes)
    return found


def _labelled_rows(session: Session, table: Table, *, across_nodes: bool) -> list[CollectiveRows]:
    if not across_nodes:
        table = _known_rows(session, table)
    by_label: dict[tuple[object, ...], list[int]] = {}
    for number in range(len(table)):
        by_label.setdefault(_label(table, number), []).append(number)
    found = []
    for label, numbers in by_label.items():
        rows = table.where(np.array(numbers))
        made = _made(session, label, rows) if label[-1] is across_nodes else None
        if made is not None:
            found.append(made)
    return found


def _known_rows(session: Session, table: Table) -> Table:
    """Rows whose device, operation, wires and type mean something; the others are named."""
    devices = {name for name in set(table["device"]) if session.accelerator(str(name)) is None}
    operations = {op for op in set(table["op"]) if collective_operation(str(op)) not in PATTERNS}
    tidy = np.array([known_dtype(str(text)) or str(text) for text in table["dtype"]], dtype=object)
    table = Table(columns=dict(table.columns) | {"dtype": tidy})
    dtypes = {dtype for dtype in set(tidy.tolist()) if not is_known_dtype(dtype)}
    links = {link for link in set(table["link"]) if measured_wires(str(link)) is None}
    needs_wires = (table["nodes"] == 1) & (table["ranks"] > 1)
    unknown = {
        "device {!r}: no profile of this name": np.isin(table["device"], list(devices)),
        "operation {!r} is not known": np.isin(table["op"], list(operations)),
        "dtype {!r} is not known": np.isin(table["dtype"].astype(str), list(dtypes)),
        "wires {!r} are not known": np.isin(table["link"], list(links)) & needs_wires,
    }
    columns = ("device", "op", "dtype", "link")
    left_out = np.zeros(len(table), dtype=bool)
    for (words, rows), column in zip(unknown.items(), columns, strict=True):
        values, counts = np.unique(table[column][rows & ~left_out].astype(str), return_counts=True)
        for value, count in zip(values, counts, strict=True):
            logger.warning(
                "collectives: %s; its rows (%d) are left out", words.format(str(value)), count
            )
        left_out |= rows
    return table.where(~left_out)


def _made(session: Session, label: Sequence[object], rows: Table) -> CollectiveRows | None:
    device, operation, library, adds, link, network, is_across = label
    accelerator = session.accelerator(str(device))
    wires = measured_wires(str(link))
    if accelerator is None or (is_across and network is None):
        return None
    assert network is None or isinstance(network, MeasuredNetwork)
    sizes = row_sizes(rows, accelerator, network)
    made = CollectiveRows(
        accelerator=accelerator,
        operation=str(operation),
        library=str(library),
        switch_adds=bool(adds),
        wires_kind=wires.kind if wires else "",
        network=network,
        sizes=sizes,
        measured_s=rows["latency_us"] * 1e-6,
        heldout=is_set_aside(rows),
        weights=weights(rows),
        source_ids=frozenset(map(str, rows["source_id"])),
        dtypes=rows["dtype"],
    )
    known = np.asarray(np.isfinite(sizes).all(axis=1))
    return made.where(known) if known.any() else None
