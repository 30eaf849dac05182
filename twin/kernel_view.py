"""Kernels of the devices of a catalogue: roofs, predicted layers, measured tables.

Arrays are imported when the first kernels are asked for, and readers of tables when one is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hardware_profiles.accelerator import Accelerator
from hardware_profiles.errors import TweelingError
from kernels.own_measurements import Measured, measured_by, own_measurements
from twin.calibration_view import FitRow, fit_rows
from twin.layer_kernels import layer_columns, layer_kernels
from twin.roofline import DeviceRoofs, device_roofs
from twin.scenario.resolve import Catalogues

if TYPE_CHECKING:
    from twin.kernel_columns import KernelColumns
    from twin.kernel_tables import Progress
    from twin.kernel_times import KernelPredictors

__all__ = ["KernelView"]


class KernelView:
    """Answers about the kernels of one device at a time, and keeps what was computed."""

    def __init__(self, catalogues: Catalogues) -> None:
        self._catalogues = catalogues
        self._layers: dict[str, KernelColumns] = {}
        self._predictors: KernelPredictors | None = None

    def devices(self) -> tuple[str, ...]:
        """Names of all accelerators."""
        return self._catalogues.profiles.names("accelerator")

    def title(self, device: str) -> str:
        """What people call a device; the problem where its profile cannot be used."""
        try:
            return str(self._catalogues.profiles.load("accelerator", device).table["title"])
        except TweelingError as error:
            return str(error)

    def roofs(self, device: str) -> DeviceRoofs:
        """Ceilings of a device; raises where figures that this needs are unknown."""
        return device_roofs(self._device(device))

    def fits(self, device: str) -> tuple[FitRow, ...]:
        """How its kernel families are calibrated."""
        return fit_rows(self._device(device))

    def layers(self, device: str) -> KernelColumns:
        """Predicted kernels of the layers of some models."""
        if device not in self._layers:
            kernels = layer_kernels(self._device(device), self._catalogues)
            self._layers[device] = layer_columns(kernels)
        return self._layers[device]

    def own(self, device: str) -> Measured | None:
        """Measurements of the device that come with the twin."""
        accelerator = self._device(device)
        return own_measurements((accelerator.name, *accelerator.aliases))

    def measured(self, device: str, path: Path) -> Iterator[Progress]:
        """Rows of the device in a table or a folder of tables, batch by batch."""
        from twin.kernel_tables import read_kernels, table_files
        from twin.kernel_times import KernelPredictors

        if self._predictors is None:
            self._predictors = KernelPredictors()
        survey = measured_by(path) if path.is_dir() else None
        own = self.own(device)
        return read_kernels(
            table_files(path),
            self._device(device),
            self._predictors,
            origin=f"measured {survey.date}".strip() if survey else "",
            also_called=own.device if own else "",
        )

    def _device(self, name: str) -> Accelerator:
        return self._catalogues.profiles.accelerator(name)
