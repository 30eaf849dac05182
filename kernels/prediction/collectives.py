"""Predicted times of measured collectives: rows of a table, one device at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_profiles.accelerator import Accelerator, Link
from hardware_profiles.calibration import Calibration, CollectiveCalibration
from kernels.all_reduce.groups import (
    PATTERNS,
    CollectiveGroup,
    CollectiveMachine,
    CollectivePattern,
    NetworkMachine,
)
from kernels.all_reduce.implementation import (
    VENDOR,
    ImplementationMachine,
    implementation_time_s,
)
from kernels.all_reduce.networks import MeasuredNetwork, measured_network
from kernels.all_reduce.wires import (
    Wires,
    exchange_bandwidth_bytes_per_s,
    measured_wires,
    wire_bandwidth_bytes_per_s,
)
from kernels.compiled_formula import FormulaCompiler, PlainFormulas
from kernels.measurement_tables import Table
from kernels.prediction.entries import collective_library, collective_operation
from kernels.prediction.machines import collective_machine, implementation_machine

__all__ = [
    "CollectiveSetting",
    "CollectiveTimes",
    "row_sizes",
    "switch_adds",
]

FloatArray = npt.NDArray[np.float64]

_BandwidthFinder = Callable[[Wires, int, Link | None], float]

IN_SWITCH_DTYPES = ("fp16", "bf16", "fp32", "fp32/unknown")
"""The switch adds these; integers of 8 bit take the ring."""

NO_NETWORK = NetworkMachine(1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)

NO_WIRES = 1e30
"""Bandwidth of what takes no time. [byte/s]"""


@dataclass(frozen=True, slots=True)
class CollectiveSetting:
    """What rows have in common that one call of the compiled formula predicts."""

    operation: str
    library: str
    switch_adds: bool
    network: MeasuredNetwork | None
    is_covered: bool


def switch_adds(dtype: str, link: str) -> bool:
    """Whether the switch of these wires could add numbers of this dtype."""
    wires = measured_wires(link)
    return wires is not None and wires.kind == "switch" and dtype in IN_SWITCH_DTYPES


class _Models(NamedTuple):
    """What all rows of one call have in common."""

    pattern: CollectivePattern
    library: ImplementationMachine
    machine: CollectiveMachine
    network: NetworkMachine


def _fill_times(sizes: FloatArray, models: _Models, times_s: FloatArray) -> None:
    """Times of rows (message bytes, ranks, ranks per node, link, network door); compiled."""
    for row in range(len(times_s)):
        group = CollectiveGroup(
            sizes[row, 1], sizes[row, 2], sizes[row, 3], sizes[row, 4], models.network
        )
        times_s[row] = implementation_time_s(
            sizes[row, 0], models.pattern, models.library, models.machine, group
        )


class CollectiveTimes:
    """Predicts rows of collective measurements; keeps the compiled model between calls."""

    def __init__(self, compiler: FormulaCompiler | PlainFormulas | None = None) -> None:
        self._fill = (compiler or FormulaCompiler()).compile(_fill_times)

    def times_s(
        self, rows: Table, accelerator: Accelerator, calibration: Calibration
    ) -> FloatArray:
        """Predicted time of each row of one device.

        Parameters
        ----------
        rows
            Columns device, op, dtype, ranks, nodes, link, message_bytes, library.
        accelerator
            The device of the rows: its links and memory.
        calibration
            Its fitted parameters.

        Returns
        -------
        ndarray
            NaN where the model does not cover a row: buffers in host memory, runs reported as
            faulty and networks that ``networks.toml`` does not list, wires that ``links.toml``
            does not know for that number of ranks, ranks that do not spread evenly over nodes,
            an operation without parameters. [s]
        """
        times_s = np.full(len(rows), np.nan)
        for setting, mask in self._settings(rows):
            fitted = calibration.collective.get(setting.operation)
            if setting.is_covered and fitted is not None:
                times_s[mask] = self._setting_times_s(
                    rows.where(mask), setting, accelerator, fitted
                )
        return times_s

    def _settings(self, rows: Table) -> list[tuple[CollectiveSetting, npt.NDArray[np.int64]]]:
        """Row numbers by what one call can predict."""
        found: dict[CollectiveSetting, list[int]] = {}
        for number in range(len(rows)):
            found.setdefault(_setting(rows, number), []).append(number)
        return [(setting, np.array(numbers)) for setting, numbers in found.items()]

    def _setting_times_s(
        self,
        rows: Table,
        setting: CollectiveSetting,
        accelerator: Accelerator,
        fitted: CollectiveCalibration,
    ) -> FloatArray:
        sizes = row_sizes(rows, accelerator, setting.network)
        library = implementation_machine(
            fitted.implementations.get(setting.library), accelerator.memory.bandwidth_bytes_per_s
        )
        machine = collective_machine(fitted, switch_adds=setting.switch_adds)
        pattern = PATTERNS[setting.operation]
        if setting.network is None:
            return self.filled(sizes, pattern, library, machine, NO_NETWORK)
        network = setting.network.fitted.machine()
        return self.network_times_s(sizes, setting, library, machine, network)

    def network_times_s(
        self,
        sizes: FloatArray,
        setting: CollectiveSetting,
        library: ImplementationMachine,
        machine: CollectiveMachine,
        network: NetworkMachine,
    ) -> FloatArray:
        """Times across nodes; a staged library adds the part inside the node. [s]"""
        pattern = PATTERNS[setting.operation]
        if setting.network is None or not setting.network.is_staged:
            return self.filled(sizes, pattern, VENDOR, machine, network)
        inside, outside = sizes.copy(), sizes.copy()
        inside[:, 1] = inside[:, 2]
        outside[:, 3] = NO_WIRES
        inside_s = self.filled(inside, pattern, library, machine, NO_NETWORK)
        return inside_s + self.filled(outside, pattern, VENDOR, machine, network)

    def filled(
        self,
        sizes: FloatArray,
        pattern: CollectivePattern,
        library: ImplementationMachine,
        machine: CollectiveMachine,
        network: NetworkMachine,
    ) -> FloatArray:
        """Times of rows of sizes, as `row_sizes` makes them. [s]"""
        times_s = np.empty(len(sizes))
        is_known = np.isfinite(sizes).all(axis=1)
        models = _Models(pattern, library, machine, network)
        self._fill(np.ascontiguousarray(sizes, dtype=np.float64), models, times_s)
        # Minima and maxima lose a NaN on the way.
        times_s[~is_known] = np.nan
        return times_s


def _setting(rows: Table, number: int) -> CollectiveSetting:
    link, library = str(rows["link"][number]), str(rows["library"][number])
    operation = collective_operation(str(rows["op"][number]))
    adds = switch_adds(str(rows["dtype"][number]), link)
    known = collective_library(library)
    network = None
    is_covered = operation in PATTERNS
    if rows["nodes"][number] > 1:
        network = measured_network(str(rows["device"][number]), link, library)
        is_covered &= network is not None and rows["ranks"][number] % rows["nodes"][number] == 0
    return CollectiveSetting(operation, known, adds, network, bool(is_covered))


def row_sizes(rows: Table, accelerator: Accelerator, network: MeasuredNetwork | None) -> FloatArray:
    """Message bytes, ranks, ranks per node, link and network bandwidth of each row."""
    on_node = rows["ranks"] / rows["nodes"]
    finders = [_bandwidth_finder(str(op)) for op in rows["op"]]
    known: dict[tuple[str, int, _BandwidthFinder], float] = {}
    link = np.empty(len(rows))
    for number, key in enumerate(
        zip(rows["link"], on_node.astype(int).tolist(), finders, strict=True)
    ):
        if key not in known:
            known[key] = _link_bytes_per_s(*key, accelerator=accelerator)
        link[number] = known[key]
    door = np.ones(len(rows))
    if network is not None:
        share = np.minimum(on_node / network.node_n_devices, 1.0)
        door = share * network.node_bandwidth_bytes_per_s
    return np.column_stack([rows["message_bytes"], rows["ranks"], on_node, link, door])


def _bandwidth_finder(operation: str) -> _BandwidthFinder:
    pattern = PATTERNS.get(collective_operation(operation))
    is_exchange = pattern is not None and pattern.exchanges > 0.0
    return exchange_bandwidth_bytes_per_s if is_exchange else wire_bandwidth_bytes_per_s


def _link_bytes_per_s(
    link: str, n_ranks: int, finder: _BandwidthFinder, *, accelerator: Accelerator
) -> float:
    if n_ranks <= 1:
        return NO_WIRES
    wires = measured_wires(link)
    return float("nan") if wires is None else finder(wires, n_ranks, accelerator.link)
